"""What an operator sees."""

from io import StringIO

import pytest
from rich.console import Console

from guilder.core import ids
from guilder.core.errors import Invalid
from guilder.reconciliation.cli import run_cli
from guilder.reconciliation.render import render
from reconciliation.merchant import DAY, Merchant

pytestmark = pytest.mark.anyio


def shown(*things: object) -> str:
    console = Console(file=StringIO(), width=160)
    for thing in things:
        console.print(thing)
    return console.file.getvalue()  # pyrefly: ignore


async def test_the_report_shows_totals_that_add_up_and_every_break(merchant: Merchant):
    gone, changed, _ = [await merchant.pays(n) for n in (1000, 2000, 3000)]
    await merchant.closes(remove=[merchant.key(gone)], change={merchant.key(changed): -50})
    name = ids.show("ca", merchant.account.id)

    [report] = await run_cli(merchant.env, merchant.account.info.code, DAY, name, console=Console(file=StringIO()))

    page = shown(render(report))
    assert report.open == 2
    for text in (
        "49.50",
        "60.00",
        "missing_channel",
        "amount",
        ids.show("at", gone.id),
        "-10.00",
        "-0.50",
        "2 breaks want a person",
    ):
        assert text in page, page


async def test_all_accounts_of_a_channel_are_reconciled(merchant: Merchant):
    await merchant.pays(100)
    await merchant.closes()

    reports = await run_cli(merchant.env, merchant.account.info.code, DAY, console=Console(file=StringIO()))

    assert [r.account_id for r in reports] == [merchant.account.id]
    assert "No break is open." in shown(*map(render, reports))


async def test_an_account_that_is_not_there_is_named(merchant: Merchant):
    with pytest.raises(Invalid, match="no enabled channel account"):
        await run_cli(merchant.env, "unionpay", DAY)
