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
    C7  What an adapter must know later and cannot derive from the key (the channel's own number of an order, say) it puts into
        `Outcome.memo`; every later ask about the payment brings it along.  Without it (our process died before it was noted) a query
        answers NOT_FOUND and `unasked`, and the same create, asked again, finds it.
    C8  An ask that the way or the channel is not declared for (`info`) never arrives: the core refuses it before.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar, Protocol, runtime_checkable

from guilder.channels.info import Info
from guilder.channels.reading import Packed
from guilder.core.amount import Amount
from guilder.core.exchange import Exchange, HttpReply, Told


class State(StrEnum):
    """What a channel says of one payment or refund."""

    UNKNOWN = "unknown"  # silence, a server error, a reply that does not verify
    NOT_FOUND = "not_found"  # of queries and closes: the channel has none under this key (maybe: not yet)
    PENDING = "pending"  # accepted; waits for the payer or for the channel itself
    AUTHORISED = "authorised"  # the payer's money is held for us; nothing moved until it is captured
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


@dataclass(frozen=True, slots=True)
class Form:
    """Send the payer's browser to `url` with these fields, by POST."""

    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sdk:
    """Hand `params` to the channel's own code in the payer's app or page: WeixinJSBridge, AlipayJSBridge, Stripe.js.

    `kind` names which: 'wechat_pay_jsapi', 'wechat_pay_mini_program', 'wechat_pay_app', 'alipay_jsapi', 'alipay_app', 'unionpay_app',
    'card_elements'; it is also the type of `next_action`.
    """

    kind: str
    params: Mapping[str, str]


Next = QrCode | Redirect | Form | Sdk


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the channel refused: its own code and words, and ours (Stripe's decline codes)."""

    channel_code: str
    message: str
    decline_code: str = "generic_decline"
    retry: Retry = Retry.NEVER


@dataclass(frozen=True, slots=True)
class Credit:
    """One sum that came for a payment, where a channel collects in parts."""

    ref: str  # the channel's number of it
    amount: Amount
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outcome(Told):
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
    memo: str | None = None  # C7: what later asks are to bring along; at most 500 characters
    fee: Amount | None = None  # what the channel kept of it, where it says so at once
    unasked: bool = (
        False  # with NOT_FOUND: without the memo there was nothing to ask by (C7); it is no word of the channel's
    )
    dispute: "Dispute | None" = None  # of notices about disputes
    credits: tuple[
        Credit, ...
    ] = ()  # where it collects in parts: those that it speaks of; told again, each counts once

    @property
    def unanswered(self) -> bool:
        """The channel said nothing that tells anything, or was not reached."""
        return self.state is State.UNKNOWN or self.not_done

    @property
    def not_done(self) -> bool:
        """It certainly did nothing, and may be asked again."""
        return self.state is State.FAILED and self.problem is not None and self.problem.retry is Retry.SAME_KEY

    @property
    def declined(self) -> bool:
        """It answered, and refused."""
        return self.state is State.FAILED and not self.not_done


class DisputeState(StrEnum):
    """How far a payer's complaint has come."""

    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    WON = "won"  # the money stays ours, or came back
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Dispute:
    """A payer's complaint at the channel.  The payment it is about is named by the outcome's `key`, or by its `channel_ref`: the number that was
    told when it was paid."""

    ref: str  # the channel's number of the dispute
    state: DisputeState
    amount: Amount
    reason: str  # the dialect's word: fraudulent, product_not_received, general ...
    due_at: datetime | None = None  # evidence is taken until then
    fee: Amount | None = None
    taken: bool = False  # whether the channel has taken the money from us for the time being


@dataclass(frozen=True, slots=True)
class CreatePayment:
    """Ask a channel to collect `amount` under `key`.  Safe to repeat."""

    key: str
    way: str  # the name of a member of info.ways: 'native', 'page', 'precreate'
    amount: Amount
    description: str  # shown to the payer; adapters cut it to the channel's length
    expires_at: datetime
    notify_url: str
    return_url: str | None = None
    payer_ip: str | None = None
    attach: str | None = None  # passed through; the simulators read their dials from it
    created_at: datetime | None = None  # the same at every repetition: channels that date their orders say this
    capture: bool = True  # False: only hold the money, where the way allows that
    given: Mapping[str, str] = field(
        default_factory=dict
    )  # what the way `needs` and `takes`: openid, auth_code, store_id ...


@dataclass(frozen=True, slots=True)
class QueryPayment:
    """What became of the payment under `key`?"""

    key: str
    way: str
    created_at: datetime
    memo: str | None = None


@dataclass(frozen=True, slots=True)
class CapturePayment:
    """Collect `amount` of what is held, once; the rest is let go.  Outcome SUCCEEDED with the amount collected."""

    key: str
    way: str
    created_at: datetime
    amount: Amount
    payment_amount: Amount
    memo: str | None = None


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
    memo: str | None = None


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
    created_at: datetime | None = None
    payment_memo: str | None = None
    payment_created_at: datetime | None = None
    memo: str | None = None  # the refund's own (C7)


@dataclass(frozen=True, slots=True)
class QueryRefund:
    """What became of the refund under `key`?"""

    key: str
    payment_key: str
    amount: Amount
    created_at: datetime | None = None
    payment_memo: str | None = None
    memo: str | None = None


@dataclass(frozen=True, slots=True)
class CreatePayout:
    """Send `amount` to somebody under `key`.  Safe to repeat.  `next`, if any, is what the payee has to do (WeChat: confirm)."""

    key: str
    amount: Amount
    payee: Mapping[str, str]  # info.payee declares what: openid, account, name, email ...; personal
    description: str
    notify_url: str
    created_at: datetime
    attach: str | None = None  # the simulators read their dials from it, where the channel has a field for it


@dataclass(frozen=True, slots=True)
class QueryPayout:
    """What became of the payout under `key`?"""

    key: str
    amount: Amount
    created_at: datetime
    memo: str | None = None


@dataclass(frozen=True, slots=True)
class IdentifyPayer:
    """Who holds the phone?  `code` is what the wallet's OAuth has sent back; Outcome.payer is the answer (SUCCEEDED) or FAILED."""

    code: str


@dataclass(frozen=True, slots=True)
class SubmitEvidence:
    """Answer a dispute.  Outcome.dispute is what it is then."""

    dispute_ref: str
    evidence: Mapping[str, str]
    accept: bool = False  # True: give in


@dataclass(frozen=True, slots=True)
class RescueRefund:
    """A refund that ended abnormally: send the money to the merchant's or payer's bank account instead."""

    key: str
    refund_ref: str
    payment_key: str
    to: Mapping[str, str]  # {'type': 'payer' | 'merchant', 'bank': ..., 'account': ..., 'name': ...}; personal
    memo: str | None = None


class StatementKind(StrEnum):
    TRADES = "trades"  # what was paid and refunded: reconciled line by line
    FUNDS = "funds"  # how the balance at the channel moved: opening + lines = closing


@dataclass(frozen=True, slots=True)
class FetchStatement:
    """The channel's file of `day` (the channel's calendar day)."""

    day: date
    kind: StatementKind = StatementKind.TRADES


Ask = (
    CreatePayment | QueryPayment | CapturePayment | ClosePayment | CreateRefund | QueryRefund | CreatePayout | QueryPayout | IdentifyPayer
    | SubmitEvidence | RescueRefund
)  # fmt: skip
DOING = (CreatePayment, CapturePayment, CreateRefund, CreatePayout, SubmitEvidence, RescueRefund)


class Subject(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"
    PAYOUT = "payout"
    DISPUTE = "dispute"


@dataclass(frozen=True, slots=True)
class Notice:
    """A callback whose signature has been verified.  `outcome.key` is what it speaks of."""

    event_id: str  # stable over resends; deduplicates
    subject: Subject
    outcome: Outcome
    payment_key: str | None = None  # of a refund: our key of the payment, where the channel says it
    payment_memo: str | None = (
        None  # of a refund or dispute: the payment's memo, where the channel names it by that alone
    )


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
    PAYOUT = "payout"
    DISPUTE = "dispute"
    FEE = "fee"  # of its own, not of a payment or refund
    OTHER = "other"  # withdrawals, corrections: the channel's word is in `status`


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One row of a channel's file.  `amount` is positive for payments and refunds alike (of FUNDS: what came in, negative what went
    out); `fee` is what the channel took (negative: gave back), in units of 10**-fee_exponent of the currency, for channels bill
    finer than a cent."""

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
    raw: bytes | Packed  # the file as it came; a large one stays packed (`reading.pieces`)
    sha256: str
    lines: "Iterator[StatementLine]"
    opening: Amount | None = None  # of FUNDS: the balance before the day's lines, and after them
    closing: Amount | None = None


@dataclass(frozen=True, slots=True)
class Inbound:
    """A callback as it arrived: raw body, lower-case header names."""

    headers: Mapping[str, str]
    body: bytes
    query: str = ""
    received_at: datetime | None = None


@runtime_checkable
class Identifies(Protocol):
    """What an adapter has besides whose channel declares IDENTIFY."""

    def identify_url(self, back_to: str, state: str) -> str:
        """Where a page inside the wallet sends its reader to learn who pays: he comes back to `back_to` with a code (`IdentifyPayer`) and
        `state`, letters and digits."""
        ...


@runtime_checkable
class Scripted(Protocol):
    """What an adapter has besides whose channel takes a card in fields of its own, on a page of ours (`Sdk` 'card_elements')."""

    @property
    def script_url(self) -> str:
        """Where the channel's own script is: it is loaded by the page of that one payment, and by no other."""
        ...


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
