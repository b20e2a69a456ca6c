"""The port: what every channel must say in the same words.

An adapter is built from a channel account's configuration and answers each ask with an exchange
(`core.exchange`): a generator of HTTP calls that returns an `Outcome`.

Rules for adapters.

    C1  What the channel's reference does not list is UNKNOWN, never a failure.
    C2  Silence is UNKNOWN.  NotSent is `FAILED` with retry SAME_KEY where something was to be done (create, refund): nothing
        happened.  Of a query or close it is UNKNOWN: nothing was learnt.
    C3  A reply or notice whose signature does not verify is UNKNOWN / BadSignature: it tells nothing.
    C4  An outcome says what the channel said (amount, currency, our key, its reference); the core compares it
        with what we asked.  Adapters never compare with our records, for they have none.
    C5  Wire names never leave the adapter.  Times are aware UTC datetimes, amounts whole minor units.
    C6  `ask.key` is the channel's idempotency key: the same ask twice is one payment.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, tzinfo
from enum import StrEnum
from typing import ClassVar, Protocol

from guilder.core.amount import Amount
from guilder.core.exchange import Exchange, HttpReply


class State(StrEnum):
    """What a channel says of one payment or refund."""

    UNKNOWN = "unknown"  # silence, a server error, a reply that does not verify
    NOT_FOUND = "not_found"  # of queries and closes: the channel has none under this key (maybe: not yet)
    PENDING = "pending"  # accepted; waits for the payer or for the channel itself
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # definite: no money moved, or none will
    CLOSED = "closed"  # definite: cannot be paid any more


class Retry(StrEnum):
    """What may be done after a failure."""

    NEVER = "never"
    SAME_KEY = "same_key"  # nothing happened: ask again
    NEW_KEY = "new_key"  # this key is spent; a new attempt may be made


@dataclass(frozen=True, slots=True)
class QrCode:
    """Show `data` as a QR code; the payer scans it in the channel's app."""

    data: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send the payer's browser to `url`."""

    url: str


Next = QrCode | Redirect


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the channel refused: its own code and words, and ours (Stripe's decline codes)."""

    channel_code: str
    message: str
    decline_code: str = "generic_decline"
    retry: Retry = Retry.NEVER


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a channel said of one payment or refund.  Absent fields were not said."""

    state: State
    key: str | None = None  # our key, as the channel repeated it
    channel_ref: str | None = None  # the channel's number of the payment or refund
    amount: Amount | None = None  # of the whole order, or of the refund
    account_ref: str | None = None  # the channel account that it speaks of: mchid, seller_id
    app_ref: str | None = None  # appid / app_id, where the channel says it
    at: datetime | None = None  # when money moved, by the channel's clock
    next: Next | None = None
    problem: Problem | None = None
    payer: str | None = None  # masked or opaque payer reference; personal


@dataclass(frozen=True, slots=True)
class CreatePayment:
    """Ask a channel to collect `amount` under `key`.  Safe to repeat."""

    key: str
    way: str  # a member of info.ways: 'native', 'page', 'precreate'
    amount: Amount
    description: str  # shown to the payer; adapters cut it to the channel's length
    expires_at: datetime
    notify_url: str
    return_url: str | None = None
    payer_ip: str | None = None
    attach: str | None = None  # passed through; the simulators read their dials from it


@dataclass(frozen=True, slots=True)
class QueryPayment:
    """What became of the payment under `key`?"""

    key: str
    way: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ClosePayment:
    """Make sure that `key` cannot be paid any more.

    Outcome CLOSED: it cannot; SUCCEEDED: too late, it was paid; UNKNOWN / PENDING: ask again.  NOT_FOUND: there is nothing
    to close yet (Alipay makes the trade when the payer scans); until its expiry the payment can still come to be.
    With `cancel` the channel's cancel is used where it has one: it also refunds a payment that was made.
    """

    key: str
    way: str
    created_at: datetime
    cancel: bool = False


@dataclass(frozen=True, slots=True)
class CreateRefund:
    """Give `amount` of the payment back under the refund's own `key`.  Safe to repeat."""

    key: str
    payment_key: str
    payment_ref: str | None
    amount: Amount
    payment_amount: Amount
    reason: str | None
    notify_url: str


@dataclass(frozen=True, slots=True)
class QueryRefund:
    """What became of the refund under `key`?"""

    key: str
    payment_key: str
    amount: Amount


@dataclass(frozen=True, slots=True)
class FetchStatement:
    """The channel's file of `day` (the channel's calendar day)."""

    day: date


Ask = CreatePayment | QueryPayment | ClosePayment | CreateRefund | QueryRefund


class Subject(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Notice:
    """A callback whose signature has been verified.  `outcome.key` is what it speaks of."""

    event_id: str  # stable over resends; deduplicates
    subject: Subject
    outcome: Outcome
    payment_key: str | None = None  # of a refund: our key of the payment, where the channel says it


class BadSignature(Exception):
    """The callback is not from the channel, or was changed on its way."""


class NeedsTrust(Exception):
    """Signed with a key of the channel that this adapter has not seen yet: run `refresh_trust()`, then verify once more."""


class Unreadable(Exception):
    """Signed by the channel, yet not of the documented form."""


class StatementProblem(StrEnum):
    NOT_READY = "not_ready"  # come back later
    EMPTY_DAY = "empty_day"  # the channel says there was no trade
    UNKNOWN = "unknown"  # silence or error: come back
    CORRUPT = "corrupt"  # hash, row count or control totals are wrong


class StatementError(Exception):
    """There is no statement to read; `problem` says whether to come back."""

    def __init__(self, problem: StatementProblem, message: str) -> None:
        self.problem = problem
        super().__init__(message)


class LineKind(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One row of a channel's file.  `amount` is positive for payments and refunds alike; `fee` is what the channel took
    (negative: gave back), in units of 10**-fee_exponent of the currency, for channels bill finer than a cent."""

    number: int  # row in the file, from 1
    kind: LineKind
    key: str  # our key of the payment or refund
    payment_key: str
    channel_ref: str
    amount: Amount
    fee: int
    at: datetime
    status: str  # the channel's own word
    description: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """Control totals of a file, from its summary and from its rows alike."""

    payments: int
    paid: int  # minor units
    refunds: int
    refunded: int
    fee: int  # units of 10**-fee_exponent


@dataclass(frozen=True, slots=True)
class Statement:
    """A verified file: the hash (where the channel gives one) and the control totals agree with `lines()`."""

    day: date
    currency: str
    fee_exponent: int
    totals: Totals
    raw: bytes  # the file as it came, uncompressed
    sha256: str
    lines: "Iterator[StatementLine]"


@dataclass(frozen=True, slots=True)
class Info:
    """What a channel can do."""

    code: str  # 'wechatpay'
    ways: tuple[str, ...]
    currencies: frozenset[str]
    can_close: bool
    can_cancel: bool
    manual_capture: bool
    min_expiry_s: int
    max_expiry_s: int
    zone: tzinfo  # of its days
    day_cut: time  # when its day begins there
    statement_from: time  # local time on the next day from which the file may be fetched
    query_after_s: tuple[int, ...]  # schedule of queries after creation; the last one repeats until the expiry
    refund_query_after_s: tuple[int, ...]
    max_refunds: int = 50
    attempts_expire: bool = True


@dataclass(frozen=True, slots=True)
class Inbound:
    """A callback as it arrived: raw body, lower-case header names."""

    headers: Mapping[str, str]
    body: bytes
    query: str = ""
    received_at: datetime | None = None


class Channel(Protocol):
    """One adapter, made for one channel account.  It holds keys and no state that matters."""

    info: ClassVar[Info]

    def ask(self, ask: Ask) -> Exchange[Outcome]:
        """Carry out one ask.  Never raises for what the channel may do; see C1 to C3."""
        ...

    def notice(self, inbound: Inbound) -> Notice:
        """Verify a callback, then read it.  Raises BadSignature, NeedsTrust, Unreadable."""
        ...

    def refresh_trust(self) -> Exchange[bool]:
        """Fetch the channel's current keys, where it hands them out by call.  True: it did.  Never raises."""
        ...

    def ack(self, stored: bool) -> HttpReply:
        """The answer that the channel wants to its callback: taken, or send it again."""
        ...

    def statement(self, ask: FetchStatement) -> Exchange[Statement]:
        """Fetch and verify one day's file.  Raises StatementError."""
        ...


@dataclass(frozen=True, slots=True)
class ConfigField:
    """One field of a channel account's configuration."""

    name: str
    secret: bool
    hint: str
    choices: tuple[str, ...] = field(default=())
