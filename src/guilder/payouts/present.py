"""A payout as Stripe's SDKs read it; what is ours stands beside: `channel_account`, `destination_details`, `next_action`."""

from typing import Annotated, Any, Literal

import msgspec

from guilder.core import clock, ids
from guilder.payouts.model import Payout
from guilder.payouts.states import PayoutState

_S = PayoutState
SHOWN = {_S.UNKNOWN: "pending", _S.PENDING: "in_transit", _S.PAID: "paid", _S.FAILED: "failed", _S.RETURNED: "failed"}


class PayoutObject(msgspec.Struct, kw_only=True):
    """Money on its way to somebody."""

    id: str
    object: Literal["payout"] = "payout"
    amount: int
    application_fee: str | None = None
    application_fee_amount: int | None = None
    arrival_date: int
    automatic: bool = False
    balance_transaction: str | None = None
    channel_account: Annotated[str, msgspec.Meta(description="The channel account that it goes by.")]
    created: int
    currency: str
    description: str | None
    destination: str | None = None
    destination_details: Annotated[dict[str, Any], msgspec.Meta(description="Who is paid, masked.")]
    failure_balance_transaction: str | None = None
    failure_code: str | None
    failure_message: str | None
    livemode: bool
    metadata: dict[str, str]
    method: str = "standard"
    next_action: Annotated[dict[str, Any] | None, msgspec.Meta(description="What the payee has to do first.")]
    original_payout: str | None = None
    payout_method: str | None = None
    reconciliation_status: str = "not_applicable"
    reversed_by: str | None = None
    source_type: str | None = None
    statement_descriptor: str | None
    status: str
    trace_id: dict[str, Any] | None = None
    type: Annotated[str, msgspec.Meta(description="By which type of way: wechat_pay, alipay, paypal …")]


def payout(p: Payout, *, livemode: bool) -> PayoutObject:
    """A payout as the API shows it."""
    problem = p.problem or {}
    return PayoutObject(
        id=ids.show("po", p.id),
        amount=p.amount,
        arrival_date=clock.unix(p.done_at or p.created_at),
        channel_account=ids.show("ca", p.channel_account_id),
        created=clock.unix(p.created_at),
        currency=p.currency.lower(),
        description=p.description,
        destination_details={"type": p.method_type, p.method_type: p.shown},
        failure_code=problem.get("code"),
        failure_message=problem.get("message"),
        livemode=livemode,
        metadata=p.metadata,
        next_action=p.next_action,
        statement_descriptor=p.statement_descriptor,
        status=SHOWN[p.state],
        type=p.method_type,
    )


def masked(payee: dict[str, str]) -> dict[str, str]:
    """What may be seen of who is paid: the first and the last two characters."""
    return {name: f"{value[:2]}…{value[-2:]}" if len(value) > 6 else "…" for name, value in payee.items()}
