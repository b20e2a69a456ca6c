"""Report: read back what became of a day."""

from uuid import UUID

from guilder.core import ids
from guilder.core.check import must
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.platform.db import Row, Tx, plan_freely
from guilder.platform.environment import Env
from guilder.platform.sql import load
from guilder.reconciliation.model import Break, BreakState, Reason, Report, Sums, Tally

Q = load(__package__)
LISTED = 1000  # breaks that a report carries; its tallies count all of them


async def report(rt: Env, account: ChannelAccount, statement_id: UUID) -> Report:
    """The report of a matched statement."""

    async def look(tx: Tx) -> Report:
        await plan_freely(tx)
        await tx.run(Q.take_turn, account.id)  # nobody changes it while we add up
        books = [account.book_id, account.id]
        s = await tx.row(Q.get_statement, account.book_id, statement_id)
        must(s is not None and s["our_payments"] is not None, "a report is of a matched statement")
        assert s is not None
        matched = sum(
            (Sums.of(r["kind"], r["rows"], r["units"]) for r in await tx.rows(Q.sum_matches, account.book_id, s["id"])),
            Sums(),
        )
        tallies = _tallies(await tx.rows(Q.sum_breaks, books, s["id"], s["currency"]))
        breaks = tuple(_break(r, account.book_id) for r in await tx.rows(Q.list_breaks, books, s["id"], LISTED))
        channel = Sums(s["payments"], s["paid"], s["refunds"], s["refunded"])
        ours = Sums(s["our_payments"], s["our_paid"], s["our_refunds"], s["our_refunded"])
        found = Report(
            account.id, account.name, account.info.code, s["day"], s["id"], s["version"], s["currency"], s["fee"],
            s["fee_exponent"], channel, ours, matched, tallies, breaks,
        )  # fmt: skip
        must(found.adds_up, f"R2: each side of {account.name} on {found.day} adds up")
        return found

    return await rt.db.transact(look, lock_timeout_ms=60_000)


def _tallies(rows: list[Row]) -> tuple[Tally, ...]:
    found: list[Tally] = []
    for reason in Reason:
        mine = [r for r in rows if r["reason"] == reason.value]
        if mine:
            channel = sum((Sums.of(r["kind"], r["channel_rows"], r["channel_units"]) for r in mine), Sums())
            ours = sum((Sums.of(r["kind"], r["our_rows"], r["our_units"]) for r in mine), Sums())
            found.append(Tally(reason, channel, ours, sum(r["open"] for r in mine)))
    return tuple(found)


def _break(r: Row, book_id: UUID) -> Break:
    key = r["key"] or ids.mint_key(r["about"], book_id)
    return Break(
        r["number"], r["kind"], Reason(r["reason"]), r["about"], key, r["channel_ref"], r["channel_amount"],
        r["channel_currency"], r["our_amount"], r["our_currency"], r["our_state"], r["difference"], r["at"],
        BreakState(r["state"]), r["resolution"], r["owner"],
    )  # fmt: skip
