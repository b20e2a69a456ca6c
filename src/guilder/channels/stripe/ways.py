"""What Stripe can do for us: its ways, its currencies, and the events that its endpoint is to be registered for."""

from datetime import UTC, time

from guilder.channels.info import Info, Operation, Way
from guilder.core.amount import EXPONENT

EVENTS = (
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.amount_capturable_updated",
    "payment_intent.canceled",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "payout.paid",
    "payout.failed",
    "payout.canceled",
)

INFO = Info(
    code="stripe",
    title="Stripe",
    names={"card": {"en": "Card", "zh": "银行卡"}},
    ways=(
        Way("elements", "card", "web", "sdk"),
        Way("token", "card", "token", "redirect", needs=("token",), at_once=True),
    ),
    currencies=frozenset(EXPONENT),
    operations=frozenset({Operation.CLOSE, Operation.CAPTURE, Operation.REFUND, Operation.PAYOUT, Operation.EVIDENCE}),
    min_expiry_s=60,
    max_expiry_s=82_800,  # Stripe forgets idempotency keys after a day: what is asked again must still be known
    zone=UTC,
    day_cut=time(0),
    statement_from=time(13),
    query_after_s=(5, 15, 30, 90, 600),
    refund_query_after_s=(10, 60, 600, 3600, 21600, 86400),
    payout_query_after_s=(3, 10, 60, 3600, 21600, 86400),
    payee=("destination?",),
    max_refunds=100,  # as many as one page of their list holds
    key_s=23 * 3600,  # Stripe forgets keys after a day
    hold_s=6 * 86_400,  # a card's hold lasts seven days
    extra={
        "callbacks": "Register the account's callback address as a webhook endpoint for these events: "
        + ", ".join(EVENTS)
    },
)
