"""The second factor: a code that was used, or seen, is worth nothing any more."""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from people_door import PASSWORD, Person, as_owner, at_once, code_of, joined, trail, with_app

import crew
from guilder.core.errors import GuilderError
from guilder.people import throttle, totp
from guilder.people.sign_in import Factor, use
from stack import Stack

pytestmark = pytest.mark.anyio

RFC_6238 = [(59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"), (1234567890, "89005924"), (2000000000, "69279037"),
            (20000000000, "65353130")]  # fmt: skip


def test_codes_are_those_of_rfc_6238() -> None:
    secret = b"12345678901234567890"
    assert [totp.code_at(secret, at // 30) for at, _ in RFC_6238] == [code[-6:] for _, code in RFC_6238]


def test_a_code_is_good_for_its_step_and_the_ones_beside_it() -> None:
    secret, now = b"12345678901234567890", datetime.fromtimestamp(1_790_000_010, UTC)
    here = 1_790_000_010 // 30
    assert [totp.step_of(secret, totp.code_at(secret, here + n), now) for n in (-2, -1, 0, 1, 2)] == [
        None, here - 1, here, here + 1, None,
    ]  # fmt: skip
    assert totp.step_of(secret, "12345六", now) is totp.step_of(secret, "", now) is None


async def test_a_code_is_asked_for_once_the_app_is_confirmed_and_not_before(door: Stack) -> None:
    person = await joined(door)
    token = person.signs_in()
    assert code_of(crew.call(door.api, token, "POST", "users/me/totp", {"password": "a wrong password"}))[0] == 401
    _, begun = crew.call(door.api, token, "POST", "users/me/totp", {"password": PASSWORD})
    assert begun["uri"].startswith("otpauth://totp/Guilder:") and begun["secret"] in begun["uri"]
    wrong = crew.call(door.api, token, "POST", "users/me/totp/confirm", {"code": "000000"})
    assert code_of(wrong) in {(401, "code_refused"), (200, None)}
    assert person.tries()[0] == 200, "whoever never confirms is not locked out"

    codes = await with_app(door, person)
    assert len(set(codes)) == totp.RECOVERY_CODES
    assert code_of(person.tries()) == (401, "code_required")
    assert code_of(person.tries(code="12")) == (401, "code_refused")
    assert code_of(person.tries("a wrong password", code=person.code())) == (401, "sign_in_refused")
    assert person.tries(code=person.code())[0] == 200
    assert code_of(crew.call(door.api, token, "POST", "users/me/totp", {"password": PASSWORD})) == (
        400,
        "totp_enrolled",
    )
    did = [action for action, _ in await trail(door, person.shown)]
    assert did == ["user.made", "totp.begun", "totp.begun", "totp.confirmed", "recovery_codes.made"]


async def test_a_stolen_code_is_used_twice_the_second_time_is_refused(door: Stack) -> None:
    person = await joined(door)
    await with_app(door, person)
    seen = person.code()

    assert person.tries(code=seen)[0] == 200
    assert code_of(person.tries(code=seen)) == (401, "code_refused")
    assert code_of(person.tries(code=person.code(-1))) == (401, "code_refused"), "it confirmed the app"
    assert person.tries(code=person.code(1))[0] == 200, "the next one is another"
    assert code_of(person.tries(code=seen)) == (401, "code_refused"), "and none that is older counts after it"


async def test_a_stolen_code_is_used_twenty_times_at_once_one_gets_in(door: Stack) -> None:
    person = await joined(door)
    await with_app(door, person)
    seen = person.code()
    answers = await at_once(20, lambda _: person.tries(code=seen))
    told = [code_of(a) for a in answers]
    assert told.count((200, None)) == 1
    assert set(told) <= {(200, None), (401, "code_refused"), (429, "too_many_tries")}
    [row] = await as_owner(door, "SELECT count(*) AS n FROM people.session WHERE person_id = $1", person.id)
    assert row["n"] == 2, "this one, and that in which the app was enrolled"


async def test_a_stolen_code_is_used_once_by_twenty_transactions_that_nobody_held_back(door: Stack) -> None:
    person = await joined(door)
    codes = await with_app(door, person)
    step = int(time.time()) // totp.STEP_S
    for factor in (Factor(step=step), Factor(recovery=totp.recovery_digest(codes[0]))):
        async with door.world() as world:

            async def one(factor: Factor = factor, control=world.control) -> bool:
                try:
                    await control.transact(lambda tx: use(tx, person.id, factor))
                except GuilderError:
                    return False
                return True

            assert sum(await asyncio.gather(*(one() for _ in range(20)))) == 1


async def test_a_recovery_code_lets_in_once_however_it_is_typed(door: Stack) -> None:
    person = await joined(door)
    codes = await with_app(door, person)
    assert person.tries(code=codes[0])[0] == 200
    assert code_of(person.tries(code=codes[0])) == (401, "code_refused")
    assert person.tries(code=codes[1].replace("-", "").upper())[0] == 200
    assert code_of(person.tries(code="0000-0000-0000-0000")) == (401, "code_refused")
    assert [a for a, _ in await trail(door, person.shown)].count("recovery_code.used") == 2


async def test_new_recovery_codes_end_the_old_ones(door: Stack) -> None:
    person = await joined(door)
    old = await with_app(door, person)
    token = person.signs_in(code=person.code())
    refused = crew.call(door.api, token, "POST", "users/me/recovery_codes", {"password": "a wrong password"})
    assert code_of(refused) == (401, "sign_in_refused")
    _, new = crew.call(door.api, token, "POST", "users/me/recovery_codes", {"password": PASSWORD})
    assert code_of(person.tries(code=old[0])) == (401, "code_refused")
    assert person.tries(code=new["codes"][9])[0] == 200


async def test_removing_it_wants_the_password_and_takes_the_recovery_codes_along(door: Stack) -> None:
    person = await joined(door)
    codes = await with_app(door, person)
    token = person.signs_in(code=person.code())
    assert crew.call(door.api, token, "POST", "users/me/totp/remove", {"password": "a wrong password"})[0] == 401
    status, me = crew.call(door.api, token, "POST", "users/me/totp/remove", {"password": PASSWORD})
    assert (status, me["totp"]) == (200, False)
    assert person.tries()[0] == 200
    left = await as_owner(door, "SELECT * FROM people.recovery_code WHERE person_id = $1", person.id)
    assert left == [] and len(codes) == 10
    without = crew.call(door.api, token, "POST", "users/me/recovery_codes", {"password": PASSWORD})
    assert code_of(without) == (400, "totp_not_enrolled")


async def test_codes_are_guessed_no_faster_than_passwords(door: Stack) -> None:
    person = await joined(door)
    await with_app(door, person)
    for n in range(throttle.PERSON_FREE):
        assert code_of(person.tries(code=f"{n}")) == (401, "code_refused")
    assert code_of(person.tries(code=person.code())) == (429, "too_many_tries")


async def test_the_secret_lies_sealed_and_bound_to_its_person(door: Stack) -> None:
    person, thief = await joined(door), await joined(door)
    await with_app(door, person)
    [row] = await as_owner(door, "SELECT totp FROM people.person WHERE id = $1", person.id)
    assert person.secret not in row["totp"]
    await as_owner(door, "UPDATE people.person SET totp = $2 WHERE id = $1", thief.id, row["totp"])
    status, _ = Person(door, thief.id, thief.email).tries(code=person.code())
    assert status == 500, "a sealed secret that was moved to another row does not open"
