"""What payouts and disputes tell of themselves, at their desks without a network."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from disputes.test_disputes import OPENED
from disputes.test_disputes import Desk as Disputed
from guilder.app import domains
from guilder.channels.model import DisputeState, State
from guilder.core import ids
from guilder.payouts import create
from guilder.platform import outbox, recorder, timeline
from guilder.platform.db import Database
from payments.scenes import an_env
from payouts.test_payouts import Desk, said

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def told() -> Iterator[None]:
    outbox.register(())
    timeline.register(domains.TIMELINE)
    recorder.know([a.name for a in domains.AUDITS])
    yield
    timeline.register(())


async def test_a_payout_is_told_by_its_id_its_key_and_the_channels_number(db: Database) -> None:
    desk = Desk(db)
    await desk.earn(1000)
    [begun] = await desk.begin(desk.wish(600))
    assert isinstance(begun, create.Begun)
    await desk.hear((begun.payout, said(begun.payout, State.SUCCEEDED)))
    id = begun.payout.id

    for name in (ids.show("po", id), ids.mint_key(id, desk.book), "po-1"):
        found = await timeline.tell(an_env(db), name, [desk.book])
        assert found is not None, name
        assert [(e.kind, e.says.partition(" in ")[0]) for e in found.entries if e.kind in ("payout", "state", "journal")] == [
            ("payout", f"6.00 CNY by alipay at {ids.show('ca', desk.account)}"), ("state", "unknown, by api"), ("journal", "payout_held"),
            ("state", "unknown → paid, by callback"), ("journal", "payout"),
        ]  # fmt: skip
    assert await timeline.tell(an_env(db), ids.show("po", id), [ids.new_id()]) is None, "it is nobody else's"


async def test_a_dispute_is_told_with_the_money_that_it_moved(db: Database) -> None:
    desk = Disputed(db)
    await desk.earn()
    await desk.hear(OPENED, replace(OPENED, state=DisputeState.LOST))
    dispute = await desk.look()

    found = await timeline.tell(an_env(db), ids.show("dp", dispute.id), [desk.book])

    assert found is not None
    assert [e.says for e in found.entries if e.kind == "state"] == [
        "needs_response, by callback", "needs_response → lost, by callback",
    ]  # fmt: skip
    assert [e.kind for e in found.entries].count("journal") == 1
    assert "in question at stripe" in next(e.says for e in found.entries if e.kind == "dispute")
