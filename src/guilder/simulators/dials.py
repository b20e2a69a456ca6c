"""The dials: everything that can go wrong at a channel, by name.

A dial is turned for one payment (in WeChat's `attach`, Alipay's `passback_params`, or by a magic amount)
or for an account (`POST /sim/dials`).  Written out it is `[operation:]name[=seconds][*times]`, and several
stand behind `sim:` with commas between: `sim:query:silence_after*2,callback_late=3`.

Dials on an answer strike one call of an operation (create, query, close, cancel, refund, refund_query,
bill); asked for by a payment they strike once, or `*times`.  The others shape what becomes of the
payment or refund and hold for its whole life.

Magic amount: 7777O0DD fen, where O is the operation (0 create, 1 query, 2 close, 3 refund) and DD the dial's
number in DIALS: 77770003 fen (777,700.03 yuan) is `create:silence_after`.
"""

import random
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from guilder.simulators.book import Book
from guilder.simulators.model import Account


class Spec(NamedTuple):
    """What a dial strikes by default, its seconds, and what it does."""

    op: str
    seconds: float
    effect: str


ANSWERS = {
    "delay": Spec("create", 2.0, "answers after some seconds"),
    "silence_before": Spec("create", 0, "does nothing and drops the connection without an answer"),
    "silence_after": Spec("create", 0, "acts, then drops the connection without an answer"),
    "hang_before": Spec("create", 0, "does nothing and never answers; the connection stays open"),
    "hang_after": Spec("create", 0, "acts and never answers; the connection stays open"),
    "error_before": Spec("create", 0, "does nothing and answers HTTP 500"),
    "error_after": Spec("create", 0, "acts and answers HTTP 500"),
    "garbage": Spec("create", 0, "does nothing and answers HTTP 502 with a page of HTML"),
    "bad_signature": Spec("create", 0, "acts and answers with a signature over another text"),
}
LIVES = {
    "callback_lost": Spec("create", 0, "the callback is never sent"),
    "callback_duplicate": Spec("create", 0, "the callback is sent five times at once, or `*times`"),
    "callback_late": Spec("create", 5.0, "the callback is sent some seconds late"),
    "callback_reordered": Spec("create", 60.0, "the payment's callback waits until a refund's has been sent"),
    "callback_forged": Spec("create", 0, "a callback with a wrong signature is sent first"),
    "wrong_amount": Spec("create", 0, "callbacks and queries tell one fen less; the book keeps the truth"),
    "paid_without_callback": Spec("create", 0, "paid at once, and no callback ever"),
    "decline": Spec("create", 0, "the payer's bank declines"),
    "autopay": Spec("create", 0, "paid at once, without a phone"),
    "late_success": Spec("close", 1.0, "closed when asked, and paid after all some seconds later"),
    "refund_fail": Spec("refund", 0, "WeChat: ends ABNORMAL; Alipay: the seller's balance is too low"),
    "refund_processing": Spec("refund", 5.0, "stays in progress for some seconds"),
    "payout_fail": Spec("payout", 0, "accepted, and ends as failed"),
    "payout_processing": Spec("payout", 5.0, "stays in progress for some seconds"),
}
DIALS = ANSWERS | LIVES
OPERATIONS = (
    "create",
    "query",
    "close",
    "refund",
    "cancel",
    "refund_query",
    "bill",
    "capture",
    "payout",
    "payout_query",
)
NUMBERS = dict(enumerate(DIALS, 1))


class Dial(NamedTuple):
    """One dial as asked for."""

    op: str
    name: str
    seconds: float
    times: int = 1

    def __str__(self) -> str:
        return f"{self.op}:{self.name}={self.seconds:g}*{self.times}"


class Setting(msgspec.Struct, forbid_unknown_fields=True):
    """An account's dial.  Without `probability` and `next` it always strikes."""

    probability: float | None = None
    next: int | None = None
    seconds: float | None = None


def parse_dial(text: str) -> Dial:
    """One dial from `[operation:]name[=seconds][*times]`.  Raises ValueError on an unknown one."""
    rest, _, times = text.strip().partition("*")
    rest, _, seconds = rest.partition("=")
    op, colon, name = rest.rpartition(":")
    if name not in DIALS or (colon and op not in OPERATIONS):
        raise ValueError(f"no such dial: {text!r}")
    spec = DIALS[name]
    return Dial(op or spec.op, name, float(seconds) if seconds else spec.seconds, int(times) if times else 1)


def asked(attach: str, amount: int) -> str:
    """The dials that a payment asks for, in canonical form; '' for none.  Unknown ones are ignored."""
    found = [number_to_dial(amount)] if 77_770_000 < amount < 77_780_000 else []
    if attach.startswith("sim:"):
        for text in attach[4:].split(","):
            try:
                found.append(parse_dial(text))
            except ValueError:
                continue  # a merchant may attach what it likes
    return join(dial for dial in found if dial is not None)


def number_to_dial(amount: int) -> Dial | None:
    """The dial of a magic amount."""
    op, number = divmod(amount - 77_770_000, 1000)
    name = NUMBERS.get(number)
    return None if name is None or op > 3 else parse_dial(f"{OPERATIONS[op]}:{name}" if op else name)


def join(dials: Iterable[Dial]) -> str:
    """As kept in the book."""
    return ",".join(map(str, dials))


def split(text: str) -> list[Dial]:
    """As kept in the book, back."""
    return [parse_dial(part) for part in text.split(",")] if text else []


def find(text: str, op: str, name: str) -> Dial | None:
    """The dial of this name for this operation among those kept in the book."""
    if name not in text:
        return None
    return next((dial for dial in split(text) if dial.name == name and dial.op == op), None)


class Dials:
    """Decides which dials strike, and counts them."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._settings: dict[str, dict[str, Setting]] = {}
        for account in book.accounts.values():
            self._settings[account.id] = msgspec.json.decode(account.dials, type=dict[str, Setting])
        self._struck: Counter[tuple[str, str, str, str]] = Counter()
        for account_id, out_trade_no, body in book.rows(
            "SELECT account, out_trade_no, body FROM entry WHERE kind = 'dial'"
        ):
            fact = msgspec.json.decode(body)
            self._struck[account_id, out_trade_no, fact["op"], fact["dial"]] += 1

    def turn(self, account: Account, settings: dict[str, Setting]) -> dict[str, Setting]:
        """Turn an account's dials, keyed `[operation:]name`; {} clears all.  Raises ValueError on an unknown one."""
        named = {(d := parse_dial(key)).op + ":" + d.name: setting for key, setting in settings.items()}
        current = {**self._settings.get(account.id, {}), **named} if settings else {}
        self._settings[account.id] = current
        self._save(account)
        self._book.note("dials", account.id, settings=current)
        return current

    def settings(self, account: str) -> dict[str, Setting]:
        """An account's dials."""
        return self._settings.get(account, {})

    def strike(self, account: Account, op: str, out_trade_no: str, kept: str) -> dict[str, float]:
        """The dials that strike this one answer, with their seconds."""
        settings = self._settings.get(account.id)
        if not kept and not settings:
            return {}
        struck: dict[str, float] = {}
        for dial in split(kept):
            struck_before = self._struck[account.id, out_trade_no, op, dial.name]
            if dial.op == op and dial.name in ANSWERS and struck_before < dial.times:
                struck[dial.name] = dial.seconds
        for dial in self._drawn(account, op, ANSWERS):
            struck[dial.name] = dial.seconds
        for name in struck:
            self.count(account.id, out_trade_no, op, name)
        return struck

    def stick(self, account: Account, op: str, kept: str) -> str:
        """The dials that shape a payment or refund from now on: those it asks for and those of its account."""
        own = split(kept)
        return join([*own, *(dial for dial in self._drawn(account, op, LIVES) if dial not in own)])

    def count(self, account: str, out_trade_no: str, op: str, name: str) -> None:
        """Note that a dial has struck."""
        self._struck[account, out_trade_no, op, name] += 1
        self._book.note("dial", account, out_trade_no, op=op, dial=name)

    def fired(self, account: str | None) -> dict[str, int]:
        """How often each dial has struck, keyed `operation:name`, for one account or for all."""
        counts: Counter[str] = Counter()
        for (of, _, op, name), count in self._struck.items():
            if account in (None, of):
                counts[f"{op}:{name}"] += count
        return dict(sorted(counts.items()))

    def _drawn(self, account: Account, op: str, among: dict[str, Spec]) -> list[Dial]:
        drawn: list[Dial] = []
        for key, setting in self._settings.get(account.id, {}).items():
            of, name = key.split(":")
            if of != op or name not in among or setting.next == 0:
                continue
            if setting.probability is not None and random.random() >= setting.probability:
                continue
            if setting.next is not None:
                setting.next -= 1
                self._save(account)
            seconds = among[name].seconds if setting.seconds is None else setting.seconds
            drawn.append(Dial(op, name, seconds))
        return drawn

    def _save(self, account: Account) -> None:
        account.dials = msgspec.json.encode(self._settings[account.id]).decode()
        self._book.put(account)
