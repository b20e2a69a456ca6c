"""Approvals: A1 to A7, on a database, with an effect that can be counted."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from changed import replace
from guilder.core import clock, ids
from guilder.core.check import Impossible
from guilder.core.errors import Forbidden, GuilderError, Invalid, NotFound, WrongState
from guilder.platform import approval, case, chains, context, deciding
from guilder.platform.approval import EVERY, Approval, Chain, Command, Need, Rules, Step
from guilder.platform.db import Tx
from guilder.platform.deciding import May, NotDecided, Said, Spoiled
from guilder.platform.environment import Env
from guilder.platform.sql import Query
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

ONE, TWO = (Step(role="finance"),), (Step(role="finance", people=2),)
ANNA, BO, CHEN, MAKER = "usr_anna", "usr_bo", "usr_chen", "usr_maker"


def anyone(step: Step) -> bool:
    return True


def no_more(step: Step) -> bool:
    return False


async def effect(tx: Tx, command: Command) -> dict[str, Any]:
    """A case that counts how often it was done; what is told to fail fails when it has written."""
    case.open_many(tx, [case.Case(command.book_id, "done", command.do["what"], "Done.", {})])
    await tx.flush()
    match command.do.get("then"):
        case "refuse":
            raise WrongState("There is nothing left.")
        case "die" if DYING:
            raise ConnectionAbortedError(DYING.pop())
    return {"did": command.do["what"]}


DYING: list[str] = []


@pytest.fixture(autouse=True)
def _registered() -> None:
    approval.register({"thing": effect, "secret": None})
    DYING.clear()


async def ask(env: Env, steps: tuple[Step, ...] = ONE, *, kind: str = "thing", s: int = 60, **do: Any) -> Approval:
    by = context.mint(actor=MAKER, env="test")
    wanted = approval.ask(ids.new_id(), kind, "pi_1", "Do it.", {"what": "it", **do}, Need(steps, s), by)
    await env.db.transact(lambda tx: _opened(tx, wanted))
    return wanted


async def _opened(tx: Tx, wanted: Approval) -> None:
    approval.open_one(tx, wanted)


async def say(
    env: Env, a: Approval, actor: str, *, yes: bool = True, hash: bytes | None = None, spoiled: Any = None, **may: May
) -> Approval:
    """Decide; everybody may, but those who are said to."""
    said = Said(a.book_id, a.id, actor, yes, a.hash if hash is None else hash, "because", env, spoiled)
    standing = {ANNA: anyone, BO: anyone, CHEN: anyone, MAKER: anyone, actor: anyone, **may}
    return await env.db.transact(lambda tx: deciding.decide(tx, said, standing))


async def done(env: Env, a: Approval) -> int:
    """How often it was done."""
    found = await env.db.rows(Query("done", "SELECT seen FROM platform.case WHERE book_id = $1"), a.book_id)
    return sum(r["seen"] for r in found)


async def trail(env: Env, a: Approval) -> list[str]:
    noted = Query("trail", "SELECT action FROM platform.trail WHERE subject = $1 ORDER BY id")
    return [r["action"] for r in await env.db.rows(noted, ids.show("apr", a.id))]


async def state(env: Env, a: Approval) -> str:
    return (await deciding.find(env.db, a.book_id, a.id)).state


async def test_the_last_yes_does_it_in_its_commit(env: Env) -> None:
    a = await ask(env, TWO)

    assert (await say(env, a, ANNA)).state == "open"
    assert await done(env, a) == 0
    last = await say(env, a, BO)

    assert (last.state, last.result, await done(env, a)) == ("executed", {"did": "it"}, 1)
    assert await trail(env, a) == ["approval.opened", "approval.decided", "approval.decided", "approval.executed"]
    found = await deciding.find(env.db, a.book_id, a.id)
    assert (found.state, [d.actor for d in found.decisions]) == ("executed", [ANNA, BO])


async def test_A1_the_maker_decides_nothing(env: Env) -> None:
    a = await ask(env)

    for yes in (True, False):
        with pytest.raises(Forbidden, match="yourself"):
            await say(env, a, MAKER, yes=yes)

    assert (await state(env, a), await done(env, a)) == ("open", 0)


async def test_A2_a_decision_about_another_hash_is_refused(env: Env) -> None:
    a, other = await ask(env), await ask(env, what="else")
    assert a.hash != other.hash

    with pytest.raises(NotDecided) as stale:
        await say(env, a, ANNA, hash=other.hash)

    assert (stale.value.code, await state(env, a), await done(env, a)) == ("approval_hash_stale", "open", 0)


async def test_A3_what_is_expired_is_decided_no_more_whether_or_not_a_sweep_came_by(env: Env, place: Place) -> None:
    a, later = await ask(env, s=1), await ask(env)
    await asyncio.sleep(1.05)

    with pytest.raises(NotDecided) as late:
        await say(env, a, ANNA)
    assert (late.value.code, await state(env, a)) == ("approval_expired", "open")

    assert await env.db.transact(lambda tx: deciding.expire(tx, 100)) == 1
    assert (await state(env, a), await state(env, later)) == ("expired", "open")
    assert await trail(env, a) == ["approval.opened", "approval.expired"]


async def test_A4_everybody_decides_once(env: Env) -> None:
    a = await ask(env, TWO)
    await say(env, a, ANNA)

    for yes in (True, False):
        with pytest.raises(NotDecided) as twice:
            await say(env, a, ANNA, yes=yes)
        assert twice.value.code == "approval_decided_before"

    assert (await state(env, a), await done(env, a)) == ("open", 0)


async def test_A5_a_yes_counts_no_more_when_its_author_may_not_give_it(env: Env) -> None:
    a = await ask(env, TWO)
    await say(env, a, ANNA)

    assert (await say(env, a, BO, **{ANNA: no_more})).state == "open"
    assert (await done(env, a)) == 0
    assert (await say(env, a, CHEN, **{ANNA: no_more})).state == "executed"


async def test_A5_a_step_that_lost_its_yes_is_decided_again_before_the_next(env: Env) -> None:
    steps = (Step(role="finance"), Step(role="risk"))
    a = await ask(env, steps)
    await say(env, a, ANNA)

    again = await say(env, a, BO, **{ANNA: no_more})
    assert [(d.actor, d.step) for d in again.decisions] == [(ANNA, 0), (BO, 0)]
    assert (await say(env, a, CHEN, **{ANNA: no_more})).state == "executed"


async def test_A5_whoever_may_not_agree_to_the_step_at_hand_is_refused(env: Env) -> None:
    a = await ask(env, (Step(role="finance"), Step(role="risk")))

    with pytest.raises(Forbidden, match="role finance"):
        await say(env, a, BO, **{BO: lambda step: step.role == "risk"})
    assert (await say(env, a, BO, yes=False)).state == "refused"


async def test_A5_what_an_earlier_decider_may_do_must_be_known(env: Env) -> None:
    a = await ask(env, TWO)
    await say(env, a, "usr_unread")

    with pytest.raises(deciding.Unread):
        await say(env, a, BO)


@pytest.mark.parametrize("people", [1, 10])
async def test_A6_of_fifty_at_once_it_is_done_once(env: Env, people: int) -> None:
    a = await ask(env, (Step(role="finance", people=people),))
    crowd = [f"usr_{n}" for n in range(50)]
    everybody = dict.fromkeys(crowd, anyone)

    said = await asyncio.gather(*(say(env, a, one, **everybody) for one in crowd), return_exceptions=True)

    states = [s.state for s in said if isinstance(s, Approval)]
    assert (states.count("executed"), states.count("open")) == (1, people - 1)
    refused = [s for s in said if not isinstance(s, Approval)]
    assert len(refused) == 50 - people and all(isinstance(r, NotDecided) for r in refused)
    assert await done(env, a) == 1


async def test_A6_what_dies_in_the_effect_leaves_nothing_and_can_be_decided_again(env: Env) -> None:
    a = await ask(env, then="die")
    DYING.append("in the middle")

    with pytest.raises(GuilderError):
        await say(env, a, ANNA)
    assert (await state(env, a), await done(env, a), await trail(env, a)) == ("open", 0, ["approval.opened"])

    assert (await say(env, a, ANNA)).state == "executed"
    assert await done(env, a) == 1


async def test_A6_a_command_that_is_refused_leaves_nothing_but_why(env: Env) -> None:
    a = await ask(env, then="refuse")

    with pytest.raises(Spoiled) as spoiled:
        await say(env, a, ANNA)
    assert (await state(env, a), await done(env, a)) == ("open", 0)

    ended = await say(env, a, ANNA, spoiled=spoiled.value.why)
    assert (ended.state, ended.reason) == ("refused", "It could not be done: There is nothing left.")
    assert await done(env, a) == 0
    assert await trail(env, a) == ["approval.opened", "approval.decided", "approval.refused"]
    with pytest.raises(NotDecided):
        await say(env, a, BO)


async def test_A6_an_approval_that_is_over_stays_over(env: Env) -> None:
    a = await ask(env)
    await say(env, a, ANNA)

    for again in (say(env, a, BO), say(env, a, BO, yes=False)):
        with pytest.raises(NotDecided, match="it is done"):
            await again
    with pytest.raises(NotDecided):
        await env.db.transact(lambda tx: deciding.cancel(tx, a.book_id, a.id, MAKER))
    assert await done(env, a) == 1


async def test_A7_what_was_asked_for_never_changes(env: Env, place: Place) -> None:
    a = await ask(env)
    async with place.connect() as app:
        for column in ("command", "maker", "steps", "hash", "units", "expires_at"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(f"UPDATE platform.approval SET {column} = {column} WHERE id = $1", a.id)
    async with place.owner() as owner:
        await owner.execute("UPDATE platform.approval SET command = $2 WHERE id = $1", a.id, '{"what":"other"}')

    with pytest.raises(Impossible, match="A7"):
        await say(env, a, ANNA)
    assert await done(env, a) == 0


async def test_a_no_ends_it_and_the_maker_takes_it_back(env: Env) -> None:
    a, b = await ask(env, TWO), await ask(env, TWO)
    await say(env, a, ANNA)

    refused = await say(env, a, BO, yes=False)
    assert (refused.state, refused.reason) == ("refused", "because")

    with pytest.raises(Forbidden):
        await env.db.transact(lambda tx: deciding.cancel(tx, b.book_id, b.id, ANNA))
    await env.db.transact(lambda tx: deciding.cancel(tx, b.book_id, b.id, MAKER, "no need"))
    assert (await state(env, b), (await trail(env, b))[-1]) == ("cancelled", "approval.cancelled")
    with pytest.raises(NotDecided):
        await say(env, b, ANNA)


async def test_what_is_claimed_is_claimed_once_by_its_maker(env: Env) -> None:
    a = await ask(env, kind="secret")

    async def claim(actor: str = MAKER, subject: str = "pi_1") -> Approval:
        return await env.db.transact(lambda tx: deciding.claim(tx, a.book_id, a.id, "secret", subject, actor))

    with pytest.raises(NotDecided, match="not decided yet"):
        await claim()
    assert (await say(env, a, ANNA)).state == "approved"
    with pytest.raises(Forbidden):
        await claim(ANNA)
    with pytest.raises(NotFound):
        await claim(subject="pi_2")

    said = await asyncio.gather(*(claim() for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(s, Approval) for s in said) == 1
    assert await trail(env, a) == ["approval.opened", "approval.decided", "approval.approved", "approval.executed"]


# --- chains ----------------------------------------------------------------------------------------------------------

BOOK, OTHER = ids.new_id(), ids.new_id()


def chain(name: str, book: UUID = EVERY, *, asset: str = "", over: int = 0, by_platform: bool = True) -> Chain:
    steps = (Step(role=name),)
    return Chain(book, ids.new_id(), "refund", by_platform, asset, over, 60, steps, "operator", clock.now())


RULES = Rules([
    chain("every", over=100), chain("every high", over=1000), chain("yuan", asset="CNY", over=500), chain("yuan high", asset="CNY", over=5000),
    chain("book", BOOK, over=2000), chain("own", BOOK, by_platform=False, over=10),
])  # fmt: skip


@pytest.mark.parametrize(
    ("book", "amounts", "who"),
    [
        (OTHER, {"USD": 100}, None), (OTHER, {"USD": 101}, ["every"]), (OTHER, {"USD": 1001}, ["every high"]),
        (OTHER, {"CNY": 500}, ["every"]), (OTHER, {"CNY": 501}, ["yuan"]), (OTHER, {"CNY": 5001}, ["yuan high"]),
        (BOOK, {"CNY": 5}, None), (BOOK, {"CNY": 11}, ["own"]), (BOOK, {"CNY": 101}, ["every", "own"]),
        (BOOK, {"CNY": 9000}, ["book", "own"]), (OTHER, {"CNY": 600, "USD": 200}, ["yuan", "every"]), (OTHER, {}, None), (OTHER, None, None),
    ],
)  # fmt: skip
def test_the_most_specific_and_highest_rule_applies_and_a_merchants_own_beside_it(
    book: UUID, amounts: Any, who: Any
) -> None:
    need = RULES.need(book, amounts)
    assert (None if need is None else [s.role for s in need.steps]) == who


def test_a_rule_over_nothing_is_for_everything() -> None:
    assert Rules([chain("all")]).need(BOOK) is not None
    assert Rules([chain("all")]).need(BOOK, {"POINT": 0}) is not None
    assert Rules([chain("all", OTHER)]).need(BOOK) is None


async def test_chains_are_rows_and_who_changes_them_is_in_the_trail(env: Env) -> None:
    made = replace(chain("finance", BOOK, over=7), kind="thing", steps=(*ONE, *TWO))
    await env.db.transact(lambda tx: chains.make(tx, made))
    with pytest.raises(Invalid) as twice:
        await env.db.transact(lambda tx: chains.make(tx, replace(made, id=ids.new_id())))
    assert twice.value.code == "approval_chain_exists"
    with pytest.raises(Invalid, match="kind"):
        await env.db.transact(lambda tx: chains.make(tx, replace(made, id=ids.new_id(), kind="nothing")))

    async def needed(units: int) -> Need | None:
        return await env.db.transact(lambda tx: _need(tx, units))

    need = await needed(8)
    assert need is not None and (need.steps, await needed(7)) == ((*ONE, *TWO), None)

    async def remove(book: UUID | None) -> None:
        await env.db.transact(lambda tx: chains.delete(tx, book, made.id, ids.show("apc", made.id)))

    with pytest.raises(NotFound):  # a merchant deletes no rule of the platform's
        await remove(BOOK)
    await remove(None)
    assert await needed(8) is None
    noted = Query("trail", "SELECT action FROM platform.trail WHERE subject = $1 ORDER BY id")
    rows = await env.db.rows(noted, ids.show("apc", made.id))
    assert [r["action"] for r in rows] == ["approval_chain.made", "approval_chain.deleted"]


async def _need(tx: Tx, units: int) -> Need | None:
    return (await approval.rules(tx, "thing", [BOOK])).need(BOOK, {"CNY": units})


async def test_what_is_sealed_in_a_command_is_shown_to_nobody(env: Env) -> None:
    a = await ask(env, config="sealed:AAAA", parts=[{"key": "sealed:BBBB"}])

    shown = approval.present(a, livemode=False)

    assert shown.command == {"what": "it", "config": "sealed:", "parts": [{"key": "sealed:"}]}
    assert shown.expires_at == clock.unix(a.created_at + timedelta(seconds=60))
