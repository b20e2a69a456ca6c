"""The whole chain, through HTTP and the official SDK: pay, be called back, be told, give back."""

import pytest

from stack import Stack, eventually

pytestmark = pytest.mark.anyio


async def test_a_payer_pays_by_wechat_and_gets_half_of_it_back(stack: Stack) -> None:
    shop = await stack.merchant()
    client = shop.client()

    intent = client.v1.payment_intents.create(
        {
            "amount": 1250,
            "currency": "cny",
            "payment_method_types": ["wechat_pay"],
            "description": "Tea",
            "metadata": {"order": "6735"},
        }
    )
    assert (intent.status, intent.amount_received) == ("requires_payment_method", 0)
    intent = client.v1.payment_intents.confirm(intent.id, {"payment_method_data": {"type": "wechat_pay"}})
    assert intent.status == "requires_action" and intent.next_action is not None
    stack.pay(intent.next_action)
    paid = await eventually(lambda: (i := client.v1.payment_intents.retrieve(intent.id)).status == "succeeded" and i)
    assert paid.amount_received == 1250

    refund = client.v1.refunds.create({"payment_intent": intent.id, "amount": 625})
    await eventually(lambda: client.v1.refunds.retrieve(refund.id).status == "succeeded", within_s=30)

    charge = client.v1.charges.retrieve(str(paid.latest_charge))
    assert (charge.amount, charge.amount_refunded, charge.refunded) == (1250, 625, False)
    async with stack.world() as world:
        from guilder import ledger
        from guilder.ledger.posting import balances

        async def look(tx):
            return await ledger.sweep(tx), {
                r["code"].partition(":")[0]: r["shown"] for r in await balances(tx, shop.book_id)
            }

        broken, shown = await world.envs["test"].db.transact(look)
    assert broken == []
    assert shown == {"receivable": 625, "payable": 625}
