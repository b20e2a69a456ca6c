"""People who join and sign in as people do, over HTTP, and what tests do to the control database."""

import asyncio
import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import crew
from guilder.app.environments import CONTROL, dsn
from guilder.core import ids
from guilder.people import invite, totp
from guilder.people.grants import Giver, Place
from guilder.people.model import At
from guilder.platform import db
from stack import Stack, eventually

T = TypeVar("T")
PASSWORD = "seven quiet otters"


@dataclass
class Person:
    """Somebody who has joined."""

    stack: Stack
    id: UUID
    email: str
    password: str = PASSWORD
    secret: bytes = b""

    @property
    def shown(self) -> str:
        return ids.show("usr", self.id)

    def tries(self, password: str | None = None, **more: str) -> tuple[int, Any]:
        """Try to sign in."""
        body = {"email": self.email, "password": self.password if password is None else password, **more}
        return crew.call(self.stack.api, "", "POST", "sessions", body)

    def signs_in(self, **more: str) -> str:
        """A new session's token."""
        status, answer = self.tries(**more)
        assert status == 200, answer
        return str(answer["token"])

    def code(self, ahead: int = 0) -> str:
        """What the app shows."""
        return totp.code_at(self.secret, int(time.time()) // totp.STEP_S + ahead)


def code_of(answer: tuple[int, Any]) -> tuple[int, str | None]:
    """The status, and the code of the error."""
    return answer[0], answer[1].get("error", {}).get("code")


async def at_once(n: int, do: Callable[[int], T]) -> list[T]:
    """Do it in as many threads: the loop's own are few, and would do it one after the other."""
    with ThreadPoolExecutor(n) as threads:
        loop = asyncio.get_running_loop()
        return list(await asyncio.gather(*(loop.run_in_executor(threads, do, i) for i in range(n))))


def address() -> str:
    return f"{ids.text(ids.new_id())}@guilder.test"


async def invited(
    stack: Stack, email: str, role: str = "read_only", at: At = At.PLATFORM, merchant: UUID | None = None
) -> str:
    """The token of an invitation by the machine's operator."""
    async with stack.world() as world:
        made = await world.control.transact(lambda tx: invite.invite(tx, Giver(), email, role, Place(at, merchant)))
    return made.token


async def joined(stack: Stack, role: str = "read_only", at: At = At.PLATFORM, merchant: UUID | None = None) -> Person:
    """A new person who has accepted an invitation."""
    email = address()
    token = await invited(stack, email, role, at, merchant)
    status, answer = crew.call(
        stack.api, "", "POST", "invitations/accept", {"token": token, "password": PASSWORD, "name": "Otter"}
    )
    assert status == 200, answer
    id = ids.read("usr", answer["id"])
    assert id is not None
    return Person(stack, id, email)


async def with_app(stack: Stack, person: Person) -> list[str]:
    """Enrol an authenticator app; the recovery codes.  The step before this one is used by it, this one and the next are not."""
    if time.time() % totp.STEP_S > totp.STEP_S - 10:  # what follows happens within one step
        await asyncio.sleep(totp.STEP_S - time.time() % totp.STEP_S + 0.1)
    token = person.signs_in()
    status, enrolled = crew.call(stack.api, token, "POST", "users/me/totp", {"password": person.password})
    assert status == 200, enrolled
    person.secret = base64.b32decode(enrolled["secret"])
    status, made = crew.call(stack.api, token, "POST", "users/me/totp/confirm", {"code": person.code(-1)})
    assert status == 200, made
    return list(made["codes"])


def raw(stack: Stack, path: str, body: dict[str, Any], **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A POST without anybody's key: status, headers and the bytes of the answer."""
    request = urllib.request.Request(
        f"{stack.api}/v1/{path}", json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


async def as_owner(stack: Stack, sql: str, *args: object) -> list[dict[str, Any]]:
    """Ask the control database as the owner of its schema, who may do what the application may not."""
    async with db.connected(dsn(stack.it.settings(), CONTROL, "owner")) as control:
        return [dict(r) for r in await control.fetch(sql, *args)]


async def forget_tries(stack: Stack) -> None:
    """All tests come from one address, and have as many tries as they like."""
    await as_owner(stack, "DELETE FROM people.attempt")


async def trail(stack: Stack, subject: str) -> list[tuple[str, str]]:
    """Who did what to something."""
    rows = await as_owner(stack, "SELECT action, actor FROM platform.trail WHERE subject = $1 ORDER BY id", subject)
    return [(r["action"], r["actor"]) for r in rows]


async def until(stack: Stack, token: str, status: int, path: str = "users/me", **more: Any) -> None:
    """Wait, a second and a half at most, until a call answers so."""
    await eventually(lambda: crew.call(stack.api, token, "GET", path, **more)[0] == status, within_s=1.5)
