"""The first person comes from the machine itself."""

import os
import re
import subprocess
import sys

import pytest
from people_door import PASSWORD, Person, address, code_of, trail, until, with_app

import crew
from guilder.core import ids
from stack import Stack

pytestmark = pytest.mark.anyio


def guilder(door: Stack, *words: str, fails: bool = False) -> str:
    ours = {**{k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")}, **door.it.environ}
    port = door.api.rsplit(":", 1)[1]
    done = subprocess.run(
        [sys.executable, "-m", "guilder.app.cli", "people", *words], env={**ours, "GUILDER_API_PORT": port, "COLUMNS": "300"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


async def test_the_first_person_is_invited_at_the_machine_and_does_what_is_printed(door: Stack) -> None:
    email = address()
    said = guilder(door, "invite", email, "--role", "operator")
    assert "shown this once" in said
    [token] = set(re.findall(r"\bit_\w{32}\b", said))
    [accept, sign_in] = re.findall(r"curl (.*)", said)

    def curl(line: str) -> dict[str, str]:
        import json

        done = subprocess.run(f"printf %s '{PASSWORD}' | curl -s {line}", shell=True, capture_output=True, check=True)
        answer: dict[str, str] = json.loads(done.stdout)
        return answer

    user, session = curl(accept), curl(sign_in)
    assert user["email"] == email and session["user"] == user["id"] and token in accept
    assert crew.call(door.api, session["token"], "GET", "roles")[0] == 200
    [invited] = {
        i["id"] for i in crew.call(door.api, session["token"], "GET", "invitations")[1]["data"] if i["email"] == email
    }
    assert await trail(door, invited) == [("invitation.made", "operator"), ("invitation.accepted", user["id"])]


async def test_the_operator_of_the_machine_manages_people(door: Stack) -> None:
    shop = await door.merchant()
    email = address()
    token = re.findall(
        r"\bit_\w{32}\b", guilder(door, "invite", email, "--role", "merchant_staff", "--merchant", shop.demo.merchant)
    )[0]
    _, user = crew.call(door.api, "", "POST", "invitations/accept", {"token": token, "password": PASSWORD})
    id = ids.read("usr", user["id"])
    assert id is not None
    person = Person(door, id, email)
    session = person.signs_in()

    assert email in guilder(door, "list") and "merchant_staff at merchant" in guilder(door, "list")
    assert email in guilder(door, "sessions")
    assert "built in" in guilder(door, "roles")
    [grant] = re.findall(r"gra_\w+", guilder(door, "grant", email, "--role", "auditor"))
    await until(door, session, 200, "events")
    assert grant in guilder(door, "grants", email)
    guilder(door, "take", grant)
    await until(door, session, 403, "events")
    assert "no stores" in guilder(door, "grant", email, "--role", "auditor", "--at", "store", fails=True)
    assert "No such role" in guilder(door, "grant", email, "--role", "king", fails=True)
    assert "Nobody here" in guilder(door, "disable", address(), fails=True)

    await with_app(door, person)
    assert code_of(person.tries()) == (401, "code_required")
    guilder(door, "reset-totp", email)
    assert person.tries()[0] == 200
    guilder(door, "disable", email)
    assert person.tries()[0] == 401
    guilder(door, "enable", email)
    assert person.tries()[0] == 200
    assert {actor for _, actor in await trail(door, grant)} == {"operator"}
