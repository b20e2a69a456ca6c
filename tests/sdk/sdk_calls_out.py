"""The calls of captures, and of payouts and disputes by which money leaves: as `sdk_calls` has the others."""

import stripe
from sdk_calls import call
from sdk_calls_balance import CALLS
from sdk_talk import Talk, card, fails, wait

__all__ = ["CALLS"]
WALLET = {"type": "alipay", "payee": {"account": "2088101117955611"}}
NOBODY = {"type": "alipay", "payee": {"account": "nobody@example.com", "name": "Nobody"}}


def disputed(t: Talk) -> stripe.Dispute:
    """A payment that its payer has complained of."""
    paid = t.paid(**card("pm_card_createDispute"))
    return wait(lambda: t.client.v1.disputes.list({"payment_intent": paid.id}).data)[0]


# ------------------------------------------------------------------------------------------------ captures


@call("payment_intents.capture", "POST /v1/payment_intents/{intent}/capture")
def _(t: Talk) -> None:
    """a card is held, and collected in part; refused with the reason once it was, and by ways that collect at once"""
    held = t.client.v1.payment_intents.create({**card("pm_card_visa"), "capture_method": "manual"})
    assert (held.status, held.amount_capturable) == ("requires_capture", 1250)
    t.client.v1.payment_intents.capture(held.id, {"amount_to_capture": 1000, "metadata": {"a": "1"}})
    now = t.has_status(held.id, "succeeded")
    assert (now.amount_received, now.amount_capturable, now.metadata.to_dict()) == (1000, 0, {"a": "1"})
    paid = t.paid()
    error = fails(stripe.InvalidRequestError, lambda: t.client.v1.payment_intents.capture(paid.id))
    assert error.code == "payment_intent_unexpected_state" and "succeeded" in str(error)
    assert error.error is not None and error.error.payment_intent is not None
    assert error.error.payment_intent.id == paid.id


# ------------------------------------------------------------------------------------------------ payouts


@call("payouts.create", "POST /v1/payouts")
def _(t: Talk) -> None:
    """from what is available to a wallet, which is shown masked; one that is refused gives back; never more than there is"""
    t.paid(amount=50_000)
    made = t.client.v1.payouts.create({
        "amount": 900, "currency": "cny", "destination_data": WALLET, "description": "Rent", "metadata": {"a": "1"},
        "method": "standard", "statement_descriptor": "RENT",
    })  # fmt: skip
    assert (made.amount, made.description, made.type) == (900, "Rent", "alipay")
    assert wait(lambda: t.client.v1.payouts.retrieve(made.id).status == "paid")
    assert "2088101117955611" not in str(made)

    refused = t.client.v1.payouts.create({"amount": 900, "currency": "cny", "destination_data": NOBODY})
    assert (refused.status, refused.failure_code is not None) == ("failed", True)
    fails(
        stripe.InvalidRequestError,
        lambda: t.client.v1.payouts.create({"amount": 10**10, "currency": "cny", "destination_data": WALLET}),
        code="balance_insufficient",
    )


@call("payouts.retrieve", "GET /v1/payouts/{payout}")
def _(t: Talk) -> None:
    """retrieve"""
    t.paid()
    made = t.client.v1.payouts.create({"amount": 10, "currency": "cny", "destination_data": WALLET})
    found = t.client.v1.payouts.retrieve(made.id)
    assert (found.id, found.amount, found.currency, found.livemode) == (made.id, 10, "cny", False)


@call("payouts.update", "POST /v1/payouts/{payout}")
def _(t: Talk) -> None:
    """metadata merges"""
    t.paid()
    made = t.client.v1.payouts.create(
        {"amount": 10, "currency": "cny", "destination_data": WALLET, "metadata": {"a": "1"}}
    )
    now = t.client.v1.payouts.update(made.id, {"metadata": {"b": "2"}})
    assert now.metadata is not None and now.metadata.to_dict() == {"a": "1", "b": "2"}


@call("payouts.list", "GET /v1/payouts")
def _(t: Talk) -> None:
    """newest first; by status"""
    t.paid()
    made = [
        t.client.v1.payouts.create({"amount": n, "currency": "cny", "destination_data": WALLET}).id for n in (10, 11)
    ]
    assert [p.id for p in t.client.v1.payouts.list({"limit": 2}).data] == made[::-1]
    assert {p.status for p in t.client.v1.payouts.list({"status": "paid"}).data} == {"paid"}


# ------------------------------------------------------------------------------------------------ disputes


@call("disputes.retrieve", "GET /v1/disputes/{dispute}")
def _(t: Talk) -> None:
    """what is complained of, why, and until when there may be an answer; expand its charge"""
    made = disputed(t)
    found = t.client.v1.disputes.retrieve(made.id, {"expand": ["charge", "payment_intent"]})
    assert (found.amount, found.currency, found.reason, found.status) == (1250, "cny", "fraudulent", "needs_response")
    assert isinstance(found.charge, stripe.Charge) and found.charge.amount == 1250
    assert isinstance(found.payment_intent, stripe.PaymentIntent)
    assert found.evidence_details.due_by is not None and not found.evidence_details.has_evidence


@call("disputes.update", "POST /v1/disputes/{dispute}")
def _(t: Talk) -> None:
    """evidence is kept, then sent: the channel decides, and a decided one takes no more"""
    made = disputed(t)
    kept = t.client.v1.disputes.update(
        made.id, {"evidence": {"product_description": "Tea"}, "submit": False, "metadata": {"a": "1"}}
    )
    assert (kept.status, kept.evidence.product_description) == ("needs_response", "Tea")
    assert kept.metadata.to_dict() == {"a": "1"} and kept.evidence_details.submission_count == 0
    t.client.v1.disputes.update(made.id, {"evidence": {"uncategorized_text": "winning_evidence"}})
    assert wait(lambda: t.client.v1.disputes.retrieve(made.id).status == "won")
    fails(
        stripe.InvalidRequestError,
        lambda: t.client.v1.disputes.update(made.id, {"evidence": {"uncategorized_text": "more"}}),
        code="dispute_closed",
    )


@call("disputes.close", "POST /v1/disputes/{dispute}/close")
def _(t: Talk) -> None:
    """give in: it is lost"""
    made = disputed(t)
    t.client.v1.disputes.close(made.id)
    assert wait(lambda: t.client.v1.disputes.retrieve(made.id).status == "lost")


@call("disputes.list", "GET /v1/disputes")
def _(t: Talk) -> None:
    """newest first; of a payment, of a charge"""
    made = [disputed(t) for _ in range(2)]
    assert [d.id for d in t.client.v1.disputes.list({"limit": 2}).data] == [d.id for d in reversed(made)]
    charge = made[0].charge
    assert isinstance(charge, str)
    assert [d.id for d in t.client.v1.disputes.list({"charge": charge}).data] == [made[0].id]
