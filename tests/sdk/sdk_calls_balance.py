"""The calls of the balance, as `sdk_calls` has the others."""

import stripe
from sdk_calls import CALLS, call
from sdk_talk import Talk, fails, wait

__all__ = ["CALLS"]


def charge_id(paid: stripe.PaymentIntent) -> str:
    assert isinstance(paid.latest_charge, stripe.Charge)
    return paid.latest_charge.id


@call("balance.retrieve", "GET /v1/balance")
def _(t: Talk) -> None:
    """what is owed to the merchant, by currency: a payment adds to it, a refund takes from it"""
    before = t.client.v1.balance.retrieve().available[0].amount
    paid = t.paid()
    t.client.v1.refunds.create({"payment_intent": paid.id, "amount": 250})
    wait(lambda: t.client.v1.balance.retrieve().available[0].amount == before + 1000)
    now = t.client.v1.balance.retrieve()
    assert (now.available[0].currency, now.pending[0].amount, now.livemode) == ("cny", 0, False)


@call("balance_transactions.list", "GET /v1/balance_transactions")
def _(t: Talk) -> None:
    """what moved the balance, newest first; by source, type and currency"""
    paid = t.paid()
    listed = t.client.v1.balance_transactions.list({"source": charge_id(paid)}).data
    assert [(b.type, b.amount, b.net, b.currency) for b in listed] == [("charge", 1250, 1250, "cny")]
    assert t.client.v1.balance_transactions.list({"type": "charge", "currency": "cny"}).data[0].id == listed[0].id
    assert t.client.v1.balance_transactions.list({"currency": "usd"}).data == []
    fails(
        stripe.InvalidRequestError,
        lambda: t.client.v1.balance_transactions.list({"source": "ch_no"}),
        code="resource_missing",
    )


@call("balance_transactions.retrieve", "GET /v1/balance_transactions/{balance_transaction}")
def _(t: Talk) -> None:
    """one movement, with the charge or refund that made it"""
    paid = t.paid()
    [made] = t.client.v1.balance_transactions.list({"source": charge_id(paid)}).data
    one = t.client.v1.balance_transactions.retrieve(made.id)
    assert (one.id, one.source, one.status, one.fee) == (made.id, charge_id(paid), "available", 0)
    fails(
        stripe.InvalidRequestError,
        lambda: t.client.v1.balance_transactions.retrieve("txn_" + "0" * 26),
        code="resource_missing",
    )
