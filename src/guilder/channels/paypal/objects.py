"""PayPal's objects as replies and webhooks carry them, and what each amounts to."""

import re
from dataclasses import dataclass, replace

import msgspec

from guilder.channels.model import Outcome, Problem, Redirect, Retry, State
from guilder.channels.paypal.money import Money
from guilder.channels.paypal.states import AUTHORIZATION_STATE, CAPTURE_STATE, ORDER_OPEN, REFUND_STATE, STILL_HELD
from guilder.channels.reading import instant

_MEMO = re.compile(
    r"O:(?P<order>[\w-]{1,40})(?:;A:(?P<authorization>[\w-]{1,40}))?(?:;C:(?P<capture>[\w-]{1,40}))?", re.ASCII
)
_ONE = re.compile(r"[RB]:([\w-]{1,40})", re.ASCII)
_ID = re.compile(r"[\w-]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Memo:
    """What later asks about a payment must bring: PayPal's numbers.  'O:5O190127TN364715T;C:3C679366HH908993F'"""

    order: str
    authorization: str = ""
    capture: str = ""

    @classmethod
    def read(cls, text: str | None) -> "Memo | None":
        match = _MEMO.fullmatch(text or "")
        return None if match is None else cls(match["order"], match["authorization"] or "", match["capture"] or "")

    def __str__(self) -> str:
        return (
            f"O:{self.order}"
            + (f";A:{self.authorization}" if self.authorization else "")
            + (f";C:{self.capture}" if self.capture else "")
        )


def number(memo: str | None) -> str | None:
    """The number in the memo of a refund ('R:...') or a payout ('B:...')."""
    match = _ONE.fullmatch(memo or "")
    return match[1] if match else None


def _declined(reason: str) -> Problem:
    return Problem(reason, "PayPal or the payer's bank declined the payment.", "generic_decline", Retry.NEW_KEY)


def checked(id: str) -> str:
    """An id that may stand in a memo and a path.  ValueError."""
    if not _ID.fullmatch(id):
        raise ValueError(f"{id[:40]!r} is no id of PayPal's")
    return id


class _Payee(msgspec.Struct, frozen=True):
    merchant_id: str | None = None


class _Payer(msgspec.Struct, frozen=True):
    payer_id: str | None = None


class _Related(msgspec.Struct, frozen=True):
    order_id: str | None = None
    authorization_id: str | None = None
    capture_id: str | None = None


class _Supplement(msgspec.Struct, frozen=True):
    related_ids: _Related = _Related()


class _Details(msgspec.Struct, frozen=True):
    reason: str = ""


class _Breakdown(msgspec.Struct, frozen=True):
    paypal_fee: Money | None = None


class Link(msgspec.Struct, frozen=True):
    href: str
    rel: str


class _Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What captures, authorizations and refunds have in common."""

    id: str
    status: str
    amount: Money | None = None
    invoice_id: str | None = None
    custom_id: str | None = None
    create_time: str | None = None
    status_details: _Details = _Details()
    payee: _Payee = _Payee()
    supplementary_data: _Supplement = _Supplement()
    links: list[Link] = []

    def related(self) -> Memo | None:
        """The payment's numbers, where it names its order."""
        ids = self.supplementary_data.related_ids
        return (
            Memo(checked(ids.order_id), checked(ids.authorization_id) if ids.authorization_id else "")
            if ids.order_id
            else None
        )


class Capture(_Moved, frozen=True, kw_only=True):
    """Money taken, or to be taken."""

    seller_receivable_breakdown: _Breakdown = _Breakdown()

    @property
    def state(self) -> State:
        return CAPTURE_STATE.get(self.status, State.UNKNOWN)

    def outcome(self, memo: Memo | None = None, payer: str | None = None) -> Outcome:
        memo = memo or self.related()
        fee = self.seller_receivable_breakdown.paypal_fee
        moved = self.state is State.SUCCEEDED
        return Outcome(
            self.state,
            key=self.invoice_id,
            channel_ref=checked(self.id),
            amount=self.amount.amount() if self.amount else None,
            account_ref=self.payee.merchant_id,
            at=instant(self.create_time) if moved else None,
            problem=_declined(self.status_details.reason or self.status) if self.state is State.FAILED else None,
            payer=payer,
            memo=str(Memo(memo.order, memo.authorization, self.id)) if memo else None,
            fee=fee.amount() if fee and moved else None,
        )


class Authorization(_Moved, frozen=True, kw_only=True):
    """Money held."""

    @property
    def state(self) -> State:
        return AUTHORIZATION_STATE.get(self.status, State.UNKNOWN)

    def outcome(self, memo: Memo | None = None, payer: str | None = None) -> Outcome:
        memo = memo or self.related()
        return Outcome(
            self.state,
            key=self.invoice_id,
            amount=self.amount.amount() if self.amount else None,
            account_ref=self.payee.merchant_id,
            problem=_declined(self.status_details.reason or self.status) if self.state is State.FAILED else None,
            payer=payer,
            memo=str(Memo(memo.order, checked(self.id), memo.capture)) if memo else None,
        )


class Refund(_Moved, frozen=True, kw_only=True):
    """Money given back."""

    def outcome(self) -> Outcome:
        state = REFUND_STATE.get(self.status, State.UNKNOWN)
        reason = self.status_details.reason or self.status
        return Outcome(
            state,
            key=self.invoice_id,
            channel_ref=checked(self.id),
            amount=self.amount.amount() if self.amount else None,
            account_ref=self.payee.merchant_id,
            at=instant(self.create_time) if state is State.SUCCEEDED else None,
            problem=Problem(reason, "PayPal could not give it back.", "do_not_honor")
            if state is State.FAILED
            else None,
            memo=f"R:{self.id}",
        )


class _Payments(msgspec.Struct, frozen=True):
    captures: list[Capture] = []
    authorizations: list[Authorization] = []
    refunds: list[Refund] = []


class _Unit(msgspec.Struct, frozen=True):
    amount: Money | None = None
    invoice_id: str | None = None
    custom_id: str | None = None
    payee: _Payee = _Payee()
    payments: _Payments = _Payments()


class Order(msgspec.Struct, frozen=True):
    """An order.  COMPLETED does not say that money came: its captures do."""

    id: str
    status: str
    intent: str = "CAPTURE"
    purchase_units: list[_Unit] = []
    payer: _Payer = _Payer()
    links: list[Link] = []

    @property
    def unit(self) -> _Unit:
        if len(self.purchase_units) != 1:
            raise ValueError(f"the order has {len(self.purchase_units)} purchase units, and ours have one")
        return self.purchase_units[0]

    @property
    def ended(self) -> bool:
        """Have we said, in the order itself, that it is not to be captured any more?"""
        return self.unit.custom_id is not None and self.unit.custom_id == end_mark(self.unit.invoice_id or "")

    @property
    def may_be_ended(self) -> bool:
        return self.status in ORDER_OPEN and not self.ended

    def memo(self) -> Memo:
        payments = self.unit.payments
        authorization = checked(payments.authorizations[0].id) if payments.authorizations else ""
        return Memo(checked(self.id), authorization, checked(self._capture.id) if self._capture else "")

    @property
    def _capture(self) -> Capture | None:
        """The capture that counts: one that brought money before one that may, before one that was declined."""
        rank = {State.SUCCEEDED: 0, State.PENDING: 1, State.UNKNOWN: 1}
        captures = self.unit.payments.captures
        return min(captures, key=lambda c: rank.get(c.state, 2)) if captures else None

    def open_authorization(self) -> str | None:
        """The hold that a capture or a void would be about."""
        held = [a.id for a in self.unit.payments.authorizations if a.status in STILL_HELD]
        return checked(held[0]) if held else None

    def outcome(self) -> Outcome:
        """ValueError where an amount or a time in it is none."""
        unit, memo, capture = self.unit, self.memo(), self._capture
        held = unit.payments.authorizations[0] if unit.payments.authorizations else None
        if capture is not None and not (held is not None and capture.state is State.FAILED):
            return self._completed(capture.outcome(memo, self.payer.payer_id))
        if held is not None:
            return self._completed(held.outcome(memo, self.payer.payer_id))
        state = (
            State.PENDING if self.status in ORDER_OPEN else State.CLOSED if self.status == "VOIDED" else State.UNKNOWN
        )
        if state is State.PENDING and self.ended:
            state = State.CLOSED
        return Outcome(
            state,
            key=unit.invoice_id,
            amount=unit.amount.amount() if unit.amount else None,
            account_ref=unit.payee.merchant_id,
            payer=self.payer.payer_id,
            memo=str(memo),
        )

    def _completed(self, said: Outcome) -> Outcome:
        """With what the order says and its parts leave out."""
        unit = self.unit
        return replace(said, key=said.key or unit.invoice_id, account_ref=said.account_ref or unit.payee.merchant_id)

    def redirect(self) -> Redirect:
        """Where the payer agrees.  ValueError if PayPal says nowhere."""
        for link in self.links:
            if link.rel in ("payer-action", "approve") and link.href.startswith(("https://", "http://")):
                return Redirect(link.href)
        raise ValueError("the order has no address for its payer")

    def refund(self, key: str) -> Refund | None:
        """The refund under our key, if the order knows one."""
        return next((r for r in self.unit.payments.refunds if r.invoice_id == key), None)


def end_mark(key: str) -> str:
    """What an order's custom_id becomes when it ends for us: PayPal cannot cancel orders, so the order itself says it."""
    return f"closed:{key}"
