"""The book: what happened at the channel, on disk before anybody is told.

    book.note("paid", trade.account, trade.out_trade_no, amount=100)   # an entry; only ever added
    book.put(trade)                                                    # the state that follows from it
    await book.commit()                                                # now it survives kill -9

Everything noted and put between two awaits goes to disk in one commit, and so does what other requests
wrote meanwhile: one writer at a time, many waiters (group commit).  What has not been committed yet is
always found in memory, so a reader sees it; a reader must `commit()` too before it tells anybody.

Rule for callers: get a row, decide, put it, all without awaiting in between.
"""

import asyncio
import os
import sqlite3
import sys
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from guilder.simulators.model import Account, Callback, Dispute, Payout, Refund, Row, Statement, Trade

_KEYS: dict[type, int] = {  # how many of the first columns are the key
    Account: 1,
    Trade: 2,
    Refund: 3,
    Payout: 2,
    Dispute: 2,
    Callback: 1,
    Statement: 2,
}
_SAVE: dict[type, str] = {
    kind: f"INSERT OR REPLACE INTO {kind.__name__.lower()} VALUES ({','.join('?' * len(kind.__struct_fields__))})"  # noqa: S608 - our own names
    for kind in _KEYS
}
_RECENT = 6_000
R = TypeVar("R", Payout, Dispute)
_PATIENCE_S = 0.05


class _Batch:
    """What waits for one commit."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []
        self.rows: dict[type, dict[tuple[Any, ...], tuple[Any, ...]]] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Recent:
    """The rows touched lately, by any key.  Nothing leaves before the commit after the next."""

    def __init__(self) -> None:
        self._young: dict[Any, Any] = {}
        self._old: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        """The row, or None."""
        row = self._young.get(key)
        if row is None and (row := self._old.get(key)) is not None:
            self._young[key] = row
        return row

    def keep(self, key: Any, row: Any) -> None:
        """Remember a row."""
        self._young[key] = row

    def age(self) -> None:
        """Called after each commit: whatever is uncommitted now is younger than the generation dropped."""
        if len(self._young) > _RECENT:
            self._old, self._young = self._young, {}


class Book:
    """The simulators' memory.  One per data directory; needs a running event loop to write."""

    def __init__(self, file: Path, now: Callable[[], int]) -> None:
        """Open or make the book.  Raises `sqlite3.OperationalError` when the file cannot be used."""
        self._writer = self._connect(file)
        self._writer.executescript(resources.files("guilder.simulators").joinpath("schema.sql").read_text())
        self._reader = self._connect(file)
        self._thread = ThreadPoolExecutor(1, "book")
        self._recent = Recent()
        self._open: _Batch | None = None
        self._writing: _Batch | None = None
        self._drainer: asyncio.Task[None] | None = None
        self._seq: int = self._reader.execute("SELECT coalesce(max(seq), 0) FROM entry").fetchone()[0]
        self._now = now
        self.accounts = {row[0]: Account(*row) for row in self._reader.execute("SELECT * FROM account")}
        said = self._reader.execute("SELECT account, body FROM entry WHERE kind = 'endpoint' ORDER BY seq")
        self.endpoints: dict[str, str] = {account: msgspec.json.decode(body)["url"] for account, body in said}

    @staticmethod
    def _connect(file: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, cached_statements=64)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    # --- writing

    def serial(self) -> int:
        """A number that this book has never given and will never give again."""
        self._seq += 1
        return self._seq

    def note(self, kind: str, account: str = "", out_trade_no: str = "", **body: Any) -> None:
        """Add an entry: something happened."""
        text = msgspec.json.encode(body).decode()
        self._batch().entries.append((self.serial(), self._now(), kind, account, out_trade_no, text))

    def put(self, row: Row) -> None:
        """Save a row's state as it is now."""
        values = msgspec.structs.astuple(row)
        kind = type(row)
        self._batch().rows.setdefault(kind, {})[values[: _KEYS[kind]]] = values
        if isinstance(row, Account):
            self.accounts[row.id] = row
        elif isinstance(row, Trade):
            self._keep_trade(row)
        elif isinstance(row, Refund):
            self._keep_refund(row)
        elif isinstance(row, Payout):
            self._recent.keep(("payout", row.account, row.out_no), row)
        elif isinstance(row, Dispute):
            self._recent.keep(("dispute", row.account, row.ref), row)

    def point(self, account: str, url: str) -> None:
        """Where an account has registered that its callbacks go, at channels whose calls do not say."""
        self.endpoints[account] = url
        self.note("endpoint", account, url=url)

    def save_platform_keys(self, pems: Mapping[str, str]) -> None:
        """Save the channels' own keys, at the first start, before anything else is written."""
        self._writer.executemany("INSERT INTO platform_key VALUES (?, ?)", pems.items())

    async def commit(self) -> None:
        """Return when everything noted and put so far is on disk."""
        batch = self._open or self._writing
        if batch is not None:
            self._start()
            await asyncio.shield(batch.done)

    def _batch(self) -> _Batch:
        """The batch to write into.  If nobody commits it, it goes to disk after a moment by itself."""
        if self._open is None:
            self._open = _Batch()
            asyncio.get_running_loop().call_later(_PATIENCE_S, self._start)
        return self._open

    def _start(self) -> None:
        if self._open is not None and (self._drainer is None or self._drainer.done()):
            self._drainer = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._open is not None:
            batch, self._open = self._open, None
            self._writing = batch
            await loop.run_in_executor(self._thread, self._write, batch)
            self._writing = None
            self._recent.age()
            batch.done.set_result(None)

    def _write(self, batch: _Batch) -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.executemany("INSERT INTO entry VALUES (?,?,?,?,?,?)", batch.entries)
            for kind, rows in batch.rows.items():
                self._writer.executemany(_SAVE[kind], rows.values())
            self._writer.execute("COMMIT")
        except BaseException:  # a book that cannot write must not go on answering
            traceback.print_exc(file=sys.stderr)
            os._exit(70)

    async def close(self) -> None:
        """Write what is left and close the file."""
        await self.commit()
        self._thread.shutdown()
        self._reader.close()
        self._writer.close()

    # --- reading

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read what is committed.  For the control API and at the start; trades have their own way."""
        return self._reader.execute(sql, values).fetchall()

    def find_trade(self, account: str, out_trade_no: str) -> Trade | None:
        """The trade of a merchant's own number."""
        return self._find_trade((account, out_trade_no), "account = ? AND out_trade_no = ?", account, out_trade_no)

    def find_trade_by_ref(self, account: str, channel_ref: str) -> Trade | None:
        """The trade of the channel's number, if it is this account's."""
        trade = self._find_trade(("ref", channel_ref), "channel_ref = ?", channel_ref)
        return trade if trade is not None and trade.account == account else None

    def find_trade_by_token(self, token: str) -> Trade | None:
        """The trade that a phone has scanned."""
        return self._find_trade(("token", token), "token = ?", token)

    def refunds(self, account: str, out_trade_no: str) -> list[Refund]:
        """A trade's refunds, oldest first."""
        key = ("refunds", account, out_trade_no)
        refunds = self._recent.get(key)
        if refunds is None:
            sql = "SELECT * FROM refund WHERE account = ? AND out_trade_no = ? ORDER BY created_at, channel_ref"
            refunds = [Refund(*row) for row in self.rows(sql, account, out_trade_no)]
            self._recent.keep(key, refunds)
        return refunds

    def find_refund(self, account: str, out_refund_no: str) -> Refund | None:
        """The refund of a merchant's own number, whichever trade it belongs to."""
        refund = self._recent.get(("refund", account, out_refund_no))
        if refund is None:
            sql = "SELECT out_trade_no FROM refund WHERE account = ? AND out_refund_no = ?"
            for (out_trade_no,) in self.rows(sql, account, out_refund_no):
                for refund in self.refunds(account, out_trade_no):
                    if refund.out_refund_no == out_refund_no:
                        return refund
        return refund

    def find_payout(self, account: str, out_no: str) -> Payout | None:
        """The payout of a merchant's own number."""
        return self._find(Payout, ("payout", account, out_no), "account = ? AND out_no = ?", account, out_no)

    def find_payout_by_ref(self, account: str, channel_ref: str) -> Payout | None:
        """The payout of the channel's number, if it is this account's."""
        for (out_no,) in self.rows(
            "SELECT out_no FROM payout WHERE channel_ref = ? AND account = ?", channel_ref, account
        ):
            return self.find_payout(account, out_no)
        return None

    def find_dispute(self, account: str, ref: str) -> Dispute | None:
        """The dispute of the channel's number."""
        return self._find(Dispute, ("dispute", account, ref), "account = ? AND ref = ?", account, ref)

    def disputes(self, account: str, out_trade_no: str) -> list[Dispute]:
        """A trade's disputes, oldest first, as committed."""
        sql = "SELECT ref FROM dispute WHERE account = ? AND out_trade_no = ? ORDER BY created_at"
        found = [self.find_dispute(account, ref) for (ref,) in self.rows(sql, account, out_trade_no)]
        return [d for d in found if d is not None]

    def _find(self, kind: type[R], key: tuple[str, ...], where: str, *values: str) -> R | None:
        row = self._recent.get(key)
        if row is None:
            found = self.rows(f"SELECT * FROM {kind.__name__.lower()} WHERE {where}", *values)  # noqa: S608 - ours
            if not found:
                return None
            row = kind(*found[0])
            self._recent.keep(key, row)
        return row

    def _find_trade(self, key: tuple[str, ...], where: str, *values: str) -> Trade | None:
        trade = self._recent.get(key)
        if trade is None:
            found = self.rows(f"SELECT * FROM trade WHERE {where}", *values)  # noqa: S608 - `where` is ours
            if not found:
                return None
            trade = Trade(*found[0])
            # One trade is one object: the same row may have been read under another key.
            trade = self._recent.get((trade.account, trade.out_trade_no)) or trade
            self._keep_trade(trade)
        return trade

    def _keep_trade(self, trade: Trade) -> None:
        self._recent.keep((trade.account, trade.out_trade_no), trade)
        self._recent.keep(("token", trade.token), trade)
        self._recent.keep(("ref", trade.channel_ref), trade)

    def _keep_refund(self, refund: Refund) -> None:
        refunds = self.refunds(refund.account, refund.out_trade_no)
        if refund not in refunds:
            refunds.append(refund)
        self._recent.keep(("refunds", refund.account, refund.out_trade_no), refunds)
        self._recent.keep(("refund", refund.account, refund.out_refund_no), refund)
