"""Signing in: who may, who may not, and what a stranger can learn from it."""

import asyncio
import json
import re
import statistics
import time
from datetime import UTC, datetime, timedelta

import pytest
from people_door import PASSWORD, address, as_owner, at_once, code_of, forget_tries, joined, raw, trail, until

import crew
from guilder.app import domains
from guilder.core.errors import RateLimited
from guilder.people import passwords, throttle
from stack import Stack

pytestmark = pytest.mark.anyio


async def test_a_person_who_was_invited_signs_in_and_is_told_who_he_is(door: Stack) -> None:
    person = await joined(door, "auditor")

    status, session = person.tries()
    assert (status, session["object"], session["user"], session["current"]) == (200, "session", person.shown, True)
    assert session["expires_at"] - session["created"] == 12 * 3600
    status, me = crew.call(door.api, session["token"], "GET", "users/me")
    assert (status, me["email"], me["name"], me["totp"]) == (200, person.email, "Otter", False)
    assert crew.call(door.api, session["token"], "GET", "events")[0] == 200
    assert await trail(door, session["id"]) == [("session.made", person.shown)]


async def test_an_address_is_the_same_in_capitals(door: Stack) -> None:
    person = await joined(door)
    status, _ = crew.call(door.api, "", "POST", "sessions", {"email": person.email.upper(), "password": PASSWORD})
    assert status == 200


def test_two_calls_are_open_to_everybody_and_no_more() -> None:
    assert {r.path for r in domains.ROUTES if r.scope is None} == {"/v1/sessions", "/v1/invitations/accept"}


# --- enumeration ---------------------------------------------------------------------------------------------------------


async def test_enumeration_by_text_a_stranger_reads_the_same_bytes_whoever_he_asks_for(door: Stack) -> None:
    known, gone = await joined(door), await joined(door)
    await as_owner(door, "UPDATE people.person SET disabled_at = now() WHERE id = $1", gone.id)
    without = address()
    await as_owner(door, "INSERT INTO people.person (id, email) VALUES (gen_random_uuid(), $1)", without)
    asked = {
        "known": (known.email, "a wrong password"), "unknown": (address(), "a wrong password"), "without a password": (without, PASSWORD),
        "disabled": (gone.email, "a wrong password"), "disabled, right": (gone.email, PASSWORD), "empty": (known.email, " "),
        "too long": (known.email, "x" * 4000), "unknown with a code": (address(), PASSWORD),
    }  # fmt: skip

    said = {}
    for name, (email, password) in asked.items():
        status, headers, body = raw(door, "sessions", {"email": email, "password": password, "code": "123456"})
        own = {"request-id", "date"}
        said[name] = status, sorted((k, v) for k, v in headers.items() if k.lower() not in own), body
    assert {s[0] for s in said.values()} == {401}
    assert len({s[2] for s in said.values()}) == 1, said
    assert all(s == said["known"] for s in said.values())


async def test_enumeration_by_waiting_an_unknown_address_is_locked_like_a_known_one(door: Stack) -> None:
    known, nobody = await joined(door), address()
    locked = {}
    for email in (known.email, nobody):
        for _ in range(throttle.PERSON_FREE):
            status, _, _ = raw(door, "sessions", {"email": email, "password": "a wrong password"})
            assert status == 401
        locked[email] = raw(door, "sessions", {"email": email, "password": "a wrong password"})
    (a, _, mine), (b, _, theirs) = locked[known.email], locked[nobody]
    assert (a, mine) == (b, theirs) and a == 429


async def test_enumeration_by_timing_a_known_and_an_unknown_address_take_the_same_time(door: Stack) -> None:
    """Alternating, so that whatever else the machine does falls on both; more are asked while the machine is not quiet."""
    known = await joined(door)
    took: dict[str, list[float]] = {"known": [], "unknown": []}
    idle: list[float] = []

    async def one(kind: str) -> None:
        await forget_tries(door)
        email = known.email if kind == "known" else address()
        begun = time.perf_counter()
        status, _, _ = raw(door, "sessions", {"email": email, "password": "a wrong password"})
        took[kind].append(time.perf_counter() - begun)
        assert status == 401

    for n in range(120):
        for kind in ("known", "unknown") if n % 2 else ("unknown", "known"):
            await one(kind)
        begun = time.perf_counter()
        raw(door, "invitations/accept", {"token": "none", "password": PASSWORD})  # it hashes nothing
        idle.append(time.perf_counter() - begun)
        a, b = statistics.median(took["known"]), statistics.median(took["unknown"])
        if n >= 30 and 0.9 < a / b < 1.1:
            break
    assert 0.8 < a / b < 1.25, f"known {a * 1000:.1f} ms, unknown {b * 1000:.1f} ms"
    assert statistics.median(idle) < min(a, b) / 2, "without its hash an answer would be told by its time"


# --- brute force ---------------------------------------------------------------------------------------------------------


def waits(answer: tuple[int, dict[str, dict[str, str]]]) -> int:
    """How many seconds the answer says one has to wait."""
    assert code_of(answer) == (429, "too_many_tries"), answer
    return int(re.findall(r"in (\d+) seconds", answer[1]["error"]["message"])[0])


async def test_brute_force_waits_grow_and_the_right_password_is_refused_meanwhile(door: Stack) -> None:
    victim, other = await joined(door), await joined(door)
    for _ in range(throttle.PERSON_FREE):
        assert code_of(victim.tries("a wrong password")) == (401, "sign_in_refused")

    first = waits(victim.tries())
    assert first <= 1, "the right password, and it is not even looked at"
    assert other.tries()[0] == 200, "nobody else waits"
    await asyncio.sleep(first + 0.1)
    assert code_of(victim.tries("a wrong password")) == (401, "sign_in_refused")
    second = waits(victim.tries())
    assert second == 2
    assert waits(victim.tries("a wrong password")) <= second, "whoever asks while he should wait makes it no longer"
    await asyncio.sleep(second + 0.1)

    assert victim.tries()[0] == 200
    assert [code_of(victim.tries("a wrong password")) for _ in range(throttle.PERSON_FREE)] == [
        (401, "sign_in_refused")
    ] * throttle.PERSON_FREE, "whoever has signed in begins anew"


def test_waits_double_up_to_a_quarter_of_an_hour() -> None:
    assert [throttle.wait_s(n, 5) for n in range(1, 20)] == [
        0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *[900] * 5,
    ]  # fmt: skip
    assert throttle.wait_s(10**9, 5) == 900


async def test_brute_force_tries_are_counted_though_nobody_waits_for_their_answer(door: Stack) -> None:
    """Fifty at once: no more are looked at than are free, and one or two when a second or two have gone by."""
    person = await joined(door)
    answers = await at_once(50, lambda _: person.tries("a wrong password"))
    told = [code_of(a) for a in answers]
    looked_at = told.count((401, "sign_in_refused"))
    assert throttle.PERSON_FREE <= looked_at <= throttle.PERSON_FREE + 2
    assert told.count((429, "too_many_tries")) == 50 - looked_at


async def test_fifty_tries_of_different_people_at_once_are_all_free(door: Stack) -> None:
    """Of one address they share a row: who was first to look at the clock may be the last to lock it, and waits for nothing."""
    async with door.world() as world:
        tries = (throttle.of("sign in", f"{n}@y", "192.0.2.1") for n in range(throttle.ADDRESS_FREE))
        await asyncio.gather(*(throttle.count(world.control, t) for t in tries))
        [row] = await as_owner(
            door, "SELECT n FROM people.attempt WHERE key = $1", throttle.of("sign in", "", "192.0.2.1")[1][0]
        )  # fmt: skip
        assert row["n"] == throttle.ADDRESS_FREE


async def test_brute_force_of_many_people_from_one_address_waits_and_other_addresses_do_not(door: Stack) -> None:
    at = datetime.now(UTC)
    async with door.world() as world:
        for n in range(throttle.ADDRESS_FREE):
            await throttle.count(world.control, throttle.of("sign in", f"{n}@x", "2001:db8::1"), at)
        for one_of_the_same_line in ("2001:db8::1", "2001:db8::ffff:1"):
            with pytest.raises(RateLimited):
                await throttle.count(world.control, throttle.of("sign in", "new@x", one_of_the_same_line), at)
        await throttle.count(world.control, throttle.of("sign in", "new@x", "2001:db8:0:1::1"), at)
        later = at + throttle.QUIET + timedelta(seconds=1)
        await throttle.count(world.control, throttle.of("sign in", "more@x", "2001:db8::1"), later)
        await throttle.count(world.control, throttle.of("sign in", "more@x", "2001:db8::1"), later)


async def test_brute_force_with_a_stolen_session_of_the_password_is_counted_too(door: Stack) -> None:
    person = await joined(door)
    token = person.signs_in()
    wrong = {"current_password": "a wrong password", "password": "another good password"}
    for _ in range(throttle.PERSON_FREE):
        assert code_of(crew.call(door.api, token, "POST", "users/me/password", wrong)) == (401, "sign_in_refused")
    right = {**wrong, "current_password": PASSWORD}
    assert crew.call(door.api, token, "POST", "users/me/password", right)[0] == 429


# --- fixation ------------------------------------------------------------------------------------------------------------


async def test_fixation_a_token_that_was_sent_along_never_becomes_the_session(door: Stack) -> None:
    person = await joined(door)
    planted = "us_" + "A" * 32
    sent = {"Authorization": f"Bearer {planted}", "Cookie": f"session={planted}; token={planted}"}
    status, headers, body = raw(door, "sessions", {"email": person.email, "password": PASSWORD}, **sent)
    token = json.loads(body)["token"]

    assert status == 200 and token != planted and "set-cookie" not in {k.lower() for k in headers}
    assert crew.call(door.api, planted, "GET", "users/me")[0] == 401
    status, _, body = raw(door, "sessions", {"email": person.email, "password": PASSWORD, "token": planted})
    assert (status, json.loads(body)["error"]["code"]) == (400, "parameter_unknown")


async def test_fixation_signing_in_always_makes_a_new_session_and_leaves_the_old_one_alone(door: Stack) -> None:
    person = await joined(door)
    first = person.signs_in()
    _, _, body = raw(door, "sessions", {"email": person.email, "password": PASSWORD}, Authorization=f"Bearer {first}")
    second = json.loads(body)["token"]
    assert first != second
    assert [crew.call(door.api, t, "GET", "users/me")[0] for t in (first, second)] == [200, 200]


# --- what is kept --------------------------------------------------------------------------------------------------------


async def test_what_takes_or_answers_a_secret_takes_no_idempotency_key(door: Stack) -> None:
    person = await joined(door)
    key = {"Idempotency-Key": "once"}
    status, _, body = raw(door, "sessions", {"email": person.email, "password": PASSWORD}, **key)
    assert (status, json.loads(body)["error"]["param"]) == (400, "Idempotency-Key")
    token = person.signs_in()
    for path in ("users/me/totp", "users/me/recovery_codes", "users/me/totp/remove"):
        answer = crew.call(door.api, token, "POST", path, {"password": PASSWORD}, **key)
        assert code_of(answer) == (400, "parameter_unsupported"), path


async def test_a_password_is_kept_as_argon2id_and_is_hashed_anew_when_its_price_changes(door: Stack) -> None:
    from argon2 import PasswordHasher

    person = await joined(door)
    cheap = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    await as_owner(door, "UPDATE people.person SET password = $2 WHERE id = $1", person.id, cheap)
    assert person.tries("a wrong password")[0] == 401
    person.signs_in()
    [row] = await as_owner(door, "SELECT password FROM people.person WHERE id = $1", person.id)
    assert row["password"].startswith(f"$argon2id$v=19$m={passwords.MEMORY_KIB},t={passwords.ROUNDS},p=1$")
    person.signs_in()


async def test_no_error_repeats_a_password(door: Stack) -> None:
    secret = "an otter that nobody knows"
    for wrong in ([secret], {"a": secret}, secret * 400):
        status, _, body = raw(door, "sessions", {"email": address(), "password": wrong})
        assert status in (400, 401) and b"otter" not in body
    status, _, body = raw(door, "sessions", {"email": address(), "password": 123456789012})
    assert status == 400 and b"1234" not in body


# --- sessions ------------------------------------------------------------------------------------------------------------


async def test_sessions_are_listed_and_ended_one_by_one_and_all_others_at_once(door: Stack) -> None:
    person, other = await joined(door), await joined(door)
    tokens, stranger = [person.signs_in() for _ in range(4)], other.signs_in()

    _, listed = crew.call(door.api, tokens[3], "GET", "sessions")
    assert [s["current"] for s in listed["data"]] == [True, False, False, False]
    assert all(s["ip"] == "127.0.0.1" and "token" not in s for s in listed["data"])
    third = listed["data"][1]["id"]
    assert crew.call(door.api, stranger, "DELETE", f"sessions/{third}")[0] == 404
    assert crew.call(door.api, stranger, "GET", f"sessions?user={person.shown}")[0] == 403

    assert crew.call(door.api, tokens[3], "DELETE", f"sessions/{third}")[0] == 200
    await until(door, tokens[2], 401)
    _, gone = crew.call(door.api, tokens[3], "POST", "sessions/revoke_others")
    assert gone["revoked"] == 2
    for token in tokens[:2]:
        await until(door, token, 401)
    assert (
        crew.call(door.api, tokens[3], "GET", "users/me")[0]
        == crew.call(door.api, stranger, "GET", "users/me")[0]
        == 200
    )
    assert await trail(door, person.shown) == [("user.made", person.shown), ("sessions.revoked", person.shown)]


async def test_a_session_ends_after_twelve_hours_and_when_nobody_uses_it_for_two(door: Stack) -> None:
    person = await joined(door)
    old, idle, used = (person.signs_in() for _ in range(3))

    async def set_back(token: str, column: str, by: str) -> None:
        await as_owner(
            door, f"UPDATE people.session SET {column} = now() - interval '{by}' WHERE hash = sha256(convert_to($1, 'UTF8'))", token
        )  # fmt: skip

    assert crew.call(door.api, used, "GET", "users/me")[0] == 200
    await set_back(old, "expires_at", "1 second")
    await set_back(idle, "last_seen_at", "121 minutes")
    await set_back(used, "last_seen_at", "119 minutes")
    assert crew.call(door.api, old, "GET", "users/me")[0] == crew.call(door.api, idle, "GET", "users/me")[0] == 401
    await as_owner(door, "UPDATE control.revision SET n = n + 1")  # as known since the last change
    await asyncio.sleep(1)
    assert crew.call(door.api, used, "GET", "users/me")[0] == 200
    _, listed = crew.call(door.api, used, "GET", "sessions")
    assert len(listed["data"]) == 1 and time.time() - listed["data"][0]["last_seen_at"] < 60


async def test_that_a_session_is_used_is_written_once_a_minute(door: Stack) -> None:
    person = await joined(door)
    token = person.signs_in()
    versions = set()
    for _ in range(5):
        assert crew.call(door.api, token, "GET", "users/me")[0] == 200
        [row] = await as_owner(
            door, "SELECT xmin::text AS v FROM people.session WHERE hash = sha256(convert_to($1, 'UTF8'))", token
        )
        versions.add(row["v"])
    assert len(versions) == 1


async def test_disabling_ends_sessions_at_once_and_enabling_brings_none_back(door: Stack) -> None:
    person = await joined(door, "auditor")
    token = person.signs_in()
    async with door.world() as world:
        boss = await crew.somebody(world, ("operator", "platform", None))
    assert crew.call(door.api, token, "GET", "users/me")[0] == 200

    status, shown = crew.call(door.api, boss.token, "POST", f"users/{person.shown}/disable")
    assert (status, shown["disabled"]) == (200, True)
    await until(door, token, 401)
    assert code_of(person.tries()) == (401, "sign_in_refused")

    assert crew.call(door.api, boss.token, "POST", f"users/{person.shown}/enable")[1]["disabled"] is False
    assert person.tries()[0] == 200
    assert crew.call(door.api, token, "GET", "users/me")[0] == 401
    acts = [
        ("user.made", person.shown),
        ("sessions.revoked", boss.shown),
        ("user.disabled", boss.shown),
        ("user.enabled", boss.shown),
    ]
    assert await trail(door, person.shown) == acts


async def test_enabling_ends_the_wait(door: Stack) -> None:
    person = await joined(door)
    async with door.world() as world:
        boss = await crew.somebody(world, ("operator", "platform", None))
    await as_owner(
        door, "INSERT INTO people.attempt VALUES ($1, 99, now(), now() + interval '10 minutes')",
        throttle.of("sign in", person.email, "")[0][0],
    )  # fmt: skip
    assert person.tries()[0] == 429
    assert crew.call(door.api, boss.token, "POST", f"users/{person.shown}/enable")[0] == 200
    assert person.tries()[0] == 200


async def test_changing_the_password_ends_the_other_sessions(door: Stack) -> None:
    person = await joined(door)
    here, there = person.signs_in(), person.signs_in()

    def change(old: str, new: str) -> tuple[int, str | None]:
        body = {"current_password": old, "password": new}
        return code_of(crew.call(door.api, here, "POST", "users/me/password", body))

    assert change("a wrong password", "nine loud herons") == (401, "sign_in_refused")
    for weak in ("short", "password1234", "aaaaaaaaaaaaaaa", person.email, "x" * 60 + "yzab" * 20):
        assert change(PASSWORD, weak) == (400, "password_refused"), weak
    assert change(PASSWORD, "nine loud herons") == (200, None)
    await until(door, there, 401)
    assert crew.call(door.api, here, "GET", "users/me")[0] == 200
    assert (person.tries()[0], person.tries("nine loud herons")[0]) == (401, 200)
    assert ("password.changed", person.shown) in await trail(door, person.shown)


async def test_payments_are_answered_while_many_sign_in(door: Stack) -> None:
    """Forty try at once; whoever asks for payments meanwhile does not stand in their queue."""
    shop = await door.merchant()
    trying = asyncio.create_task(
        at_once(40, lambda _: raw(door, "sessions", {"email": address(), "password": PASSWORD}))
    )  # fmt: skip
    answered = 0
    while not trying.done():
        assert (await asyncio.to_thread(crew.call, door.api, shop.key, "GET", "payment_intents"))[0] == 200
        answered += 1
    assert {status for status, _, _ in await trying} == {401}
    assert answered >= 20


async def test_so_many_wait_for_a_turn_and_no_more() -> None:
    begun, done = asyncio.Event(), 0

    async def one() -> None:
        nonlocal done
        async with passwords.turn():
            await begun.wait()
            done += 1

    tasks = [asyncio.create_task(one()) for _ in range(passwords.MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(passwords.Busy):
        async with passwords.turn():
            pass
    begun.set()
    await asyncio.gather(*tasks)
    async with passwords.turn():
        assert done == passwords.MOST_WAITING


async def test_a_password_is_the_same_however_it_is_composed() -> None:
    stored = await passwords.hash("caf\u00e9 au lait, bitte")
    assert (await passwords.prove(stored, "cafe\u0301 au lait, bitte")).right
    assert not (await passwords.prove(None, "caf\u00e9 au lait, bitte")).right
