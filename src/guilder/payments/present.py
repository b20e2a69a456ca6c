"""Payments as Stripe's SDKs read them.

One struct per object of the dialect, in the pinned version; what Guilder does not have is null.  Events and answers are rendered
here alike.
"""

import base64
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.payments.model import Charge, Intent, Refund
from guilder.payments.states import IntentStatus, RefundState
from guilder.platform.environment import Env
from guilder.platform.persons import Blanks
from guilder.platform.web import expands

_encode = msgspec.json.Encoder().encode
PERSONAL: dict[str, Blanks] = {
    "payment_intent": {"receipt_email": None, "shipping": None},
    "charge": {"receipt_email": None, "shipping": None},
}
SHOWN_REFUND = {
    RefundState.UNKNOWN: "pending",
    RefundState.PENDING: "pending",
    RefundState.SUCCEEDED: "succeeded",
    RefundState.FAILED: "failed",
}


@dataclass(frozen=True, slots=True)
class Face:
    """What rendering needs to know of the environment."""

    env: Env

    @property
    def livemode(self) -> bool:
        return self.env.livemode

    def client_secret(self, intent: Intent) -> str:
        """What a browser may hold of one payment."""
        shown = ids.show("pi", intent.id)
        return f"{shown}_secret_{self.env.keyring.link(shown)}"

    def pay_url(self, book_id: UUID, intent_id: UUID) -> str:
        """The cashier's page of one payment; unguessable, and names its book."""
        ref = ids.mint_key(intent_id, book_id)
        return f"{self.env.settings.cashier_url}/pay/{self.env.name}/{ref}/{self.env.keyring.link('pay ' + ref)}"


class PaymentIntent(msgspec.Struct, kw_only=True):
    """A payment: what is to be paid, and how far it has come."""

    id: str
    object: Literal["payment_intent"] = "payment_intent"
    allowed_payment_method_types: list[str] | None = None
    amount: int
    amount_capturable: int = 0
    amount_details: dict[str, Any] | None = None
    amount_received: int = 0
    application: str | None = None
    application_fee_amount: int | None = None
    automatic_payment_methods: dict[str, Any] | None = None
    canceled_at: int | None = None
    cancellation_reason: str | None = None
    capture_method: str = "automatic"
    client_secret: str | None
    confirmation_method: str = "automatic"
    created: int
    currency: str
    customer: Annotated[str, expands("cus")] | None = None
    customer_account: str | None = None
    description: str | None = None
    excluded_payment_method_types: list[str] | None = None
    hooks: dict[str, Any] | None = None
    last_payment_error: dict[str, Any] | None = None
    latest_charge: Annotated[str, expands("ch")] | None = None
    livemode: bool
    managed_payments: dict[str, Any] | None = None
    metadata: dict[str, str]
    next_action: dict[str, Any] | None = None
    on_behalf_of: str | None = None
    operator: str | None = None
    payment_details: dict[str, Any] | None = None
    payment_method: Annotated[str, expands("pm")] | None = None
    payment_method_configuration_details: dict[str, Any] | None = None
    payment_method_options: dict[str, Any] | None = None
    payment_method_types: list[str]
    payment_record: str | None = None
    presentment_details: dict[str, Any] | None = None
    processing: dict[str, Any] | None = None
    receipt_email: str | None = None
    review: str | None = None
    setup_future_usage: str | None = None
    shipping: dict[str, Any] | None = None
    source: str | None = None
    statement_descriptor: str | None = None
    statement_descriptor_suffix: str | None = None
    status: str
    store: str | None = None
    terminal: str | None = None
    transfer_data: dict[str, Any] | None = None
    transfer_group: str | None = None


class ChargeObject(msgspec.Struct, kw_only=True):
    """What was collected for a payment."""

    id: str
    object: Literal["charge"] = "charge"
    amount: int
    amount_captured: int
    amount_refunded: int
    application: str | None = None
    application_fee: str | None = None
    application_fee_amount: int | None = None
    authorization_code: str | None = None
    balance_transaction: str | None = None
    billing_details: dict[str, Any]
    calculated_statement_descriptor: str | None = None
    captured: bool = True
    created: int
    currency: str
    customer: Annotated[str, expands("cus")] | None = None
    description: str | None = None
    disputed: bool = False
    failure_balance_transaction: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    fraud_details: dict[str, Any] = {}
    livemode: bool
    metadata: dict[str, str]
    on_behalf_of: str | None = None
    outcome: dict[str, Any] | None = None
    paid: bool = True
    payment_intent: Annotated[str, expands("pi")] | None
    payment_method: str | None
    payment_method_details: dict[str, Any] | None
    receipt_email: str | None = None
    receipt_number: str | None = None
    receipt_url: str | None = None
    refunded: bool
    review: str | None = None
    shipping: dict[str, Any] | None = None
    source: str | None = None
    source_transfer: str | None = None
    statement_descriptor: str | None = None
    statement_descriptor_suffix: str | None = None
    status: str = "succeeded"
    transfer_data: dict[str, Any] | None = None
    transfer_group: str | None = None


class RefundObject(msgspec.Struct, kw_only=True):
    """Money given back, or on its way back."""

    id: str
    object: Literal["refund"] = "refund"
    amount: int
    balance_transaction: str | None = None
    charge: Annotated[str, expands("ch")] | None
    created: int
    currency: str
    customer: Annotated[str, expands("cus")] | None = None
    destination_details: dict[str, Any] | None = None
    failure_balance_transaction: str | None = None
    failure_reason: str | None = None
    metadata: dict[str, str]
    next_action: dict[str, Any] | None = None
    payment_intent: Annotated[str, expands("pi")] | None
    payment_method: str | None = None
    pending_reason: str | None = None
    reason: str | None
    receipt_number: str | None = None
    source_transfer_reversal: str | None = None
    status: str
    transfer_reversal: str | None = None


def intent(face: Face, i: Intent) -> PaymentIntent:
    """A payment as the API shows it."""
    extra = i.extra
    paid = i.status is IntentStatus.SUCCEEDED
    return PaymentIntent(
        id=ids.show("pi", i.id),
        allowed_payment_method_types=extra.get("allowed_payment_method_types"),
        amount=i.amount,
        amount_capturable=i.amount if i.status is IntentStatus.REQUIRES_CAPTURE else 0,
        amount_received=(i.amount if i.received is None else i.received) if paid else 0,
        automatic_payment_methods=extra.get("automatic_payment_methods"),
        canceled_at=clock.unix(i.canceled_at) if i.canceled_at else None,
        cancellation_reason=i.cancel_reason if i.status is IntentStatus.CANCELED else None,
        capture_method=extra.get("capture_method", "automatic"),
        client_secret=face.client_secret(i),
        created=clock.unix(i.created_at),
        currency=i.currency.lower(),
        customer=ids.show("cus", i.customer_id) if i.customer_id else None,
        description=i.description,
        last_payment_error=i.last_error,
        latest_charge=ids.show("ch", i.charge_id) if i.charge_id else None,
        livemode=face.livemode,
        metadata=i.metadata,
        next_action=i.next_action if i.status is IntentStatus.REQUIRES_ACTION else None,
        operator=ids.show("ope", i.operator_id) if i.operator_id else None,
        payment_method=ids.show("pm", i.method_id) if i.method_id else None,
        payment_method_options=extra.get("payment_method_options", {}),
        payment_method_types=i.types,
        receipt_email=extra.get("receipt_email"),
        shipping=extra.get("shipping"),
        statement_descriptor=extra.get("statement_descriptor"),
        statement_descriptor_suffix=extra.get("statement_descriptor_suffix"),
        status=i.status.value,
        store=ids.show("sto", i.store_id) if i.store_id else None,
        terminal=ids.show("ter", i.terminal_id) if i.terminal_id else None,
    )


def charge(face: Face, c: Charge, i: Intent) -> ChargeObject:
    """A charge as the API shows it; it borrows words from its payment."""
    return ChargeObject(
        id=ids.show("ch", c.id),
        amount=c.amount,
        amount_captured=c.amount,
        amount_refunded=c.refunded,
        billing_details={"address": None, "email": None, "name": None, "phone": None, "tax_id": None},
        created=clock.unix(c.created_at),
        currency=c.currency.lower(),
        customer=ids.show("cus", i.customer_id) if i.customer_id else None,
        description=i.description,
        disputed=c.disputed,
        livemode=face.livemode,
        metadata=i.metadata,
        outcome={"type": "authorized", "network_status": "approved_by_network", "seller_message": "Payment complete."},
        payment_intent=ids.show("pi", c.intent_id),
        payment_method=ids.show("pm", i.method_id) if i.method_id else None,
        payment_method_details={
            "type": c.method_type,
            c.method_type: {"transaction_id": c.channel_ref, "fingerprint": None},
        },
        receipt_email=i.extra.get("receipt_email"),
        refunded=c.refunded == c.amount,
        shipping=i.extra.get("shipping"),
        statement_descriptor=i.extra.get("statement_descriptor"),
        statement_descriptor_suffix=i.extra.get("statement_descriptor_suffix"),
    )


def refund(face: Face, r: Refund) -> RefundObject:
    """A refund as the API shows it."""
    status = SHOWN_REFUND[r.state]
    return RefundObject(
        id=ids.show("re", r.id),
        amount=r.amount,
        charge=ids.show("ch", r.charge_id) if r.charge_id else None,
        created=clock.unix(r.created_at),
        currency=r.currency.lower(),
        failure_reason=(r.problem or {}).get("reason", "unknown") if status == "failed" else None,
        metadata=r.metadata,
        payment_intent=ids.show("pi", r.intent_id),
        pending_reason="processing" if status == "pending" else None,
        reason=r.reason,
        status=status,
    )


def encode(shape: msgspec.Struct) -> bytes:
    """An object as JSON bytes."""
    return _encode(shape)


def read_link(face: Face, ref: str, link: str) -> tuple[UUID, str] | None:
    """The intent and book code that a cashier link names; None if the link is not ours."""
    return ids.split_key(ref) if face.env.keyring.is_link("pay " + ref, link) else None


def data_url(svg: bytes) -> str:
    """An SVG picture as a data address."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
