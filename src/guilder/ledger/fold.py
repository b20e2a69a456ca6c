"""Judge a batch: each journal in order, each seeing what those before it did.  Nothing is awaited and nothing written here.

`Books` is what was locked and read; `judge` answers every journal and leaves in it what is to be written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from guilder.core import ids
from guilder.core.amount import INT64
from guilder.core.check import never
from guilder.ledger.chart import Account
from guilder.ledger.model import DECISIONS, REST, Code, Journal, Posted, Transfer, in_range

AHEAD = timedelta(days=1)  # how far a date may lie ahead: other people's clocks and zones


@dataclass(slots=True)
class Stand:
    """An account, as the journals judged so far leave it."""

    balance: int
    held: int
    floor: int | None
    closed: bool
    id: UUID


@dataclass(slots=True)
class Held:
    """A hold, as the journals judged so far leave it."""

    account: UUID
    remaining: int
    expires_at: datetime | None


@dataclass(slots=True)
class Book:
    """What is known of one book, and what is to be written in it."""

    id: UUID
    last: int  # the newest id in it
    open_from: datetime | None = None
    accounts: dict[Account, Stand] = field(default_factory=dict)
    stands: dict[UUID, Stand] = field(default_factory=dict)  # the same by id
    keys: dict[str, tuple[UUID, bytes, Code | None]] = field(default_factory=dict)  # id, digest, why it was refused
    holds: dict[UUID, Held] = field(default_factory=dict)


@dataclass(slots=True)
class Entry:
    """A journal that used up its key now: booked, or refused for ever."""

    id: UUID
    journal: Journal
    digest: bytes
    refused: Code | None
    units: tuple[int, ...]  # of its transfers; what remained, where they say so
    at: datetime  # when its money moved, as the book has it


@dataclass(slots=True)
class Effect:
    """What one journal did to its book, so that it can be undone."""

    stands: list[tuple[Stand, int, int]]
    holds: list[tuple[UUID, Held | None, Held]]
    units: tuple[int, ...]
    decision: Callable[[], None] | None = None  # what takes it back


Said = tuple[Journal, bytes]  # with its digest, made before anything is locked


def judge(books: dict[UUID, Book], said: Sequence[Said], now: datetime) -> tuple[list[Posted], list[Entry]]:
    """An answer for each journal, and what is to be written, in order."""
    posted: list[Posted] = []
    entries: list[Entry] = []
    at = 0
    while at < len(said):
        group = said[at][0].group
        if group is None:
            posted.append(_judge_one(books[said[at][0].book_id], said[at], now, entries)[0])
            at += 1
        else:
            begun, at = at, at + 1
            while at < len(said) and said[at][0].group == group:
                at += 1
            posted += _judge_group(books, said[begun:at], now, entries)
    return posted, entries


def _judge_one(book: Book, said: Said, now: datetime, entries: list[Entry]) -> tuple[Posted, Effect | None]:
    journal, digest = said
    known = book.keys.get(journal.key)
    if known is not None:
        return _known(known, digest), None
    effect = apply(book, journal, now)
    if isinstance(effect, Code):
        return _enter(book, journal, digest, entries, now, effect), None
    return _enter(book, journal, digest, entries, now, None, effect.units), effect


def _known(known: tuple[UUID, bytes, Code | None], digest: bytes) -> Posted:
    id, theirs, refused = known
    if refused is not None:
        return Posted(Code.ALREADY_REFUSED, None, refused)
    if theirs == digest:
        return Posted(Code.EXISTS, id)
    same_lines = theirs[:16] == digest[:16]
    return Posted(Code.EXISTS_WITH_DIFFERENT_AMOUNT if same_lines else Code.EXISTS_WITH_DIFFERENT_TRANSFERS, id)


def _enter(
    book: Book,
    journal: Journal,
    digest: bytes,
    entries: list[Entry],
    now: datetime,
    refused: Code | None,
    units: tuple[int, ...] = (),
) -> Posted:
    book.last += 1
    id = ids.of_int(book.last)
    book.keys[journal.key] = (id, digest, refused)
    entries.append(Entry(id, journal, digest, refused, units, _dated(book, journal, now)))
    return Posted(Code.CREATED, id) if refused is None else Posted(refused)


def _dated(book: Book, journal: Journal, now: datetime) -> datetime:
    at = journal.at
    if journal.carried:
        at = min(at, now + AHEAD)
        if book.open_from is not None and at < book.open_from:
            at = book.open_from
    return at


def _judge_group(books: dict[UUID, Book], members: Sequence[Said], now: datetime, entries: list[Entry]) -> list[Posted]:
    """All or nothing.  What is in the book already is no failure: a group can be posted again."""
    begun = len(entries)
    posted: list[Posted] = []
    effects: list[tuple[Book, Effect]] = []
    for said in members:
        book = books[said[0].book_id]
        answer, effect = _judge_one(book, said, now, entries)
        posted.append(answer)
        if not answer.booked:
            break
        if effect is not None:
            effects.append((book, effect))
    else:
        return posted
    for book, effect in reversed(effects):
        undo(book, effect)
    culprit = len(posted) - 1
    for entry in entries[begun:]:  # their ids stay theirs: refusals have ids too
        if entry.refused is None:
            entry.refused, entry.units = Code.LINKED_REFUSED, ()
            books[entry.journal.book_id].keys[entry.journal.key] = (entry.id, entry.digest, Code.LINKED_REFUSED)
    fresh = {(e.journal.book_id, e.journal.key) for e in entries[begun:]}
    answers: list[Posted] = []
    for n, said in enumerate(members):
        key = said[0].book_id, said[0].key
        if n == culprit:
            answers.append(posted[n])
            fresh.discard(key)
        elif n < culprit and key in fresh:  # its own entry, made above
            answers.append(Posted(Code.LINKED_REFUSED))
            fresh.discard(key)
        else:
            answers.append(_refused_along(books[said[0].book_id], said, now, entries))
    return answers


def _refused_along(book: Book, said: Said, now: datetime, entries: list[Entry]) -> Posted:
    journal, digest = said
    known = book.keys.get(journal.key)
    if known is not None:
        return _known(known, digest)
    return _enter(book, journal, digest, entries, now, Code.LINKED_REFUSED)


def apply(book: Book, journal: Journal, now: datetime) -> Effect | Code:
    """Move the journal's units, or say why not and move nothing."""
    if not journal.carried:
        if book.open_from is not None and journal.at < book.open_from:
            return Code.PERIOD_CLOSED
        if journal.at > now + AHEAD:
            return Code.DATED_AHEAD
    if not journal.transfers:
        return _decide(book, journal, now) if journal.rule in DECISIONS else Code.NOTHING_MOVES
    if len(journal.transfers) == 1 and journal.transfers[0].hold is None and not journal.covered:
        return _move(book, journal.transfers[0])
    sums: dict[Account, list[int]] = {}
    holds: dict[UUID, tuple[Held | None, Held]] = {}
    units: list[int] = []
    for t in journal.transfers:
        refusal = _ends(book, t)
        if refusal is not None:
            return refusal
        moved = t.units
        if t.hold is not None:
            outcome = _hold(book, t, holds, now)
            if isinstance(outcome, Code):
                return outcome
            moved = outcome
        units.append(moved)
        debit = sums.setdefault(t.debit, [0, 0])
        if t.credit is not None:
            debit[0] -= moved
            sums.setdefault(t.credit, [0, 0])[0] += moved
        if t.hold is not None:
            debit[1] += moved if t.kind == "hold" else -moved
    refusal = _funds(book, sums, covered=journal.covered)
    if refusal is not None:
        return refusal
    stands = [(book.accounts[account], balance, held) for account, (balance, held) in sums.items()]
    for stand, balance, held in stands:
        stand.balance += balance
        stand.held += held
    for id, (_, after) in holds.items():
        book.holds[id] = after
    return Effect(stands, [(id, was, after) for id, (was, after) in holds.items()], tuple(units))


def _move(book: Book, t: Transfer) -> Effect | Code:
    """The commonest journal: one transfer and no hold.  The same as any other, in fewer steps."""
    refusal = _ends(book, t)
    if refusal is not None:
        return refusal
    units, debit, credit = t.units, book.accounts[t.debit], book.accounts[t.credit]  # pyrefly: ignore[bad-index]
    less, more = debit.balance - units, credit.balance + units
    if less - debit.held < -INT64 or more > INT64:
        return Code.BALANCE_OVERFLOW
    if debit.floor is not None and less - debit.held < debit.floor:
        return Code.INSUFFICIENT_FUNDS
    debit.balance, credit.balance = less, more
    return Effect([(debit, -units, 0), (credit, units, 0)], [], (units,))


def _decide(book: Book, journal: Journal, now: datetime) -> Effect | Code:
    """Close or open what the journal is about."""
    if journal.rule == "period_closed":
        if journal.at > now:
            return Code.DATED_AHEAD
        if journal.at == book.open_from:
            return Code.NOTHING_CHANGES
        was, book.open_from = book.open_from, journal.at
        return Effect([], [], (), lambda: setattr(book, "open_from", was))
    stand = book.stands.get(journal.about)
    closing = journal.rule == "account_closed"
    if stand is None:
        return Code.ACCOUNT_NOT_FOUND
    if stand.closed == closing:
        return Code.NOTHING_CHANGES
    if stand.balance or stand.held:
        return Code.ACCOUNT_NOT_EMPTY
    stand.closed = closing
    return Effect([], [], (), lambda: setattr(stand, "closed", not closing))


def undo(book: Book, effect: Effect) -> None:
    """Take back what `apply` did, the last first."""
    if effect.decision is not None:
        effect.decision()
    for stand, balance, held in effect.stands:
        stand.balance -= balance
        stand.held -= held
    for id, was, _ in effect.holds:
        if was is None:
            del book.holds[id]
        else:
            book.holds[id] = was


def _ends(book: Book, t: Transfer) -> Code | None:
    if t.kind not in REST and not in_range(t.units):
        return Code.UNITS_OUT_OF_RANGE
    credit = t.credit
    if credit is not None:
        if t.debit.code == credit.code and t.debit.asset == credit.asset:
            return Code.ACCOUNTS_MUST_DIFFER
        if t.debit.asset != credit.asset:
            return Code.ASSET_MISMATCH
    debited = book.accounts.get(t.debit)
    credited = debited if credit is None else book.accounts.get(credit)
    if debited is None or credited is None:
        return Code.ACCOUNT_NOT_FOUND
    return Code.ACCOUNT_CLOSED if debited.closed or credited.closed else None


def _hold(book: Book, t: Transfer, holds: dict[UUID, tuple[Held | None, Held]], now: datetime) -> int | Code:
    """Note in `holds` what the transfer leaves of its hold (before and after); how many units it moves or frees."""
    id, account = t.hold or never("a transfer of a hold names it"), book.accounts[t.debit].id
    was, held = holds[id] if id in holds else (book.holds.get(id), book.holds.get(id))
    if t.kind == "hold":
        if held is not None:
            return Code.HOLD_EXISTS
        holds[id] = (None, Held(account, t.units, t.expires_at))
        return t.units
    if held is None:
        return Code.HOLD_NOT_FOUND
    if held.account != account:
        return Code.HOLD_OF_OTHER_ACCOUNT
    if held.remaining == 0:
        return Code.HOLD_ENDED
    over = held.expires_at is not None and held.expires_at <= now
    if t.kind == "capture" and over:
        return Code.HOLD_EXPIRED
    if t.kind == "expire" and not over:
        return Code.HOLD_NOT_EXPIRED
    units = held.remaining if t.kind in REST else t.units
    if units > held.remaining:
        return Code.EXCEEDS_HOLD
    holds[id] = (was, Held(account, held.remaining - units, held.expires_at))
    return units


def _funds(book: Book, sums: dict[Account, list[int]], *, covered: bool) -> Code | None:
    short = False
    for account, (balance, held) in sums.items():
        stand = book.accounts[account]
        after, reserved = stand.balance + balance, stand.held + held
        if abs(after) > INT64 or reserved > INT64 or abs(after - reserved) > INT64:
            return Code.BALANCE_OVERFLOW
        floor = 0 if covered and (stand.floor is None or stand.floor < 0) else stand.floor
        if floor is not None and balance < held and after - reserved < floor:
            short = True
    return Code.INSUFFICIENT_FUNDS if short else None
