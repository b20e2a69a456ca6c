"""`guilder trigger`: have something truly happen in the test environment, through the simulators, and say what was done.

The demo merchant asks, a simulated payer or channel does the rest; what is printed at the end is the event that came of it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from guilder.app.installation import Addresses
from guilder.app.provision import Demo
from guilder.core.errors import GuilderError, Invalid

PATIENCE_S = 45
PAID = {"amount": 1250, "currency": "cny", "confirm": True, "payment_method": "pm_sim_wechat_pay__autopay"}
Recipe = Callable[["Shop"], Awaitable[str]]


class DidNotHappen(GuilderError):
    """What was to happen did not."""


class Shop:
    """The demo merchant, at its API, and the simulators."""

    def __init__(self, http: aiohttp.ClientSession, at: Addresses, demo: Demo, say: Callable[[str], object]) -> None:
        self._http, self._at, self.demo, self._say = http, at, demo, say

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Ask the API.  Raises DidNotHappen with what it said."""
        headers = {"Authorization": f"Bearer {self.demo.secret_key}"}
        async with self._http.post(f"{self._at.api}/v1/{path}", json=body, headers=headers) as answer:
            told = await answer.json()
        if answer.status >= 400 and answer.status != 402:  # a decline is what was wanted
            raise DidNotHappen(f"POST /v1/{path}: {told['error']['message']}")
        self._say(f"POST /v1/{path}  {told.get('id') or told['error'].get('code')}")
        return told

    async def simulate(self, path: str, **body: Any) -> dict[str, Any]:
        async with self._http.post(f"{self._at.simulators}/sim/{path}", json=body) as answer:
            answer.raise_for_status()
            self._say(f"simulators: {path} {body}")
            return await answer.json()

    async def get(self, path: str, **params: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.demo.secret_key}"}
        async with self._http.get(f"{self._at.api}/v1/{path}", params=params, headers=headers) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def dial(self, channel: str, name: str) -> None:
        """Turn a dial of the demo merchant's account for the next call."""
        await self.simulate("dials", account=self.demo.simulated[channel], dials={name: {"next": 1}})

    async def event(self, type: str, object: str, since: int) -> str:
        """The id of the event of this type about this object, once it is there."""
        asked = {"type": type, "created[gte]": str(since), "limit": "100"}
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for event in (await self.get("events", **asked))["data"]:
                about = event["data"]["object"]
                if object in (about["id"], about.get("payment_intent"), about.get("charge")):
                    return event["id"]
            await asyncio.sleep(0.2)
        raise DidNotHappen(f"{object} was asked for, and no {type} came of it within {PATIENCE_S} seconds.")


async def _created(shop: Shop) -> str:
    return (await shop.post("payment_intents", amount=1250, currency="cny"))["id"]


async def _shown(shop: Shop) -> str:
    asked = {**PAID, "payment_method": "pm_sim_wechat_pay"}
    return (await shop.post("payment_intents", **asked))["id"]


async def _paid(shop: Shop) -> str:
    return (await shop.post("payment_intents", **PAID))["id"]


async def _declined(shop: Shop) -> str:
    """The payer's bank says no; his phone shows that, and we are told when we ask."""
    asked = {**PAID, "payment_method": "pm_sim_wechat_pay__autopay__decline"}
    return (await shop.post("payment_intents", **asked))["id"]


async def _canceled(shop: Shop) -> str:
    id = await _created(shop)
    await shop.post(f"payment_intents/{id}/cancel")
    return id


async def _settled(shop: Shop) -> str:
    """A payment that has succeeded."""
    since = int(time.time()) - 1
    id = await _paid(shop)
    await shop.event("payment_intent.succeeded", id, since)
    return id


async def _refund(shop: Shop) -> str:
    return (await shop.post("refunds", payment_intent=await _settled(shop), amount=500))["id"]


async def _charge_refunded(shop: Shop) -> str:
    id = await _settled(shop)
    await shop.post("refunds", payment_intent=id)
    return id


async def _refund_failed(shop: Shop) -> str:
    id = await _settled(shop)
    await shop.dial("wechatpay", "refund:refund_fail")
    return (await shop.post("refunds", payment_intent=id, amount=500))["id"]


async def _payout(shop: Shop, **dials: str) -> str:
    await _settled(shop)
    to = {"type": "wechat_pay", "payee": {"openid": "oAutoFr8uMuAJO_M2pxb1Q9zNjWeS6o", **dials}}
    return (await shop.post("payouts", amount=500, currency="cny", destination_data=to))["id"]


async def _payout_failed(shop: Shop) -> str:
    return await _payout(shop, sim="payout_fail")


async def _disputed(shop: Shop) -> str:
    """The payer pays by card, and complains to his bank."""
    asked = {
        "payment_method_types": ["card"],
        "payment_method": "pm_sim_card",
        "payment_method_options": {"card": {"client": "token", "token": "pm_card_createDispute"}},
    }
    return (await shop.post("payment_intents", **PAID | asked))["id"]


async def _complaint(shop: Shop) -> str:
    """The dispute of a payment, once we have heard of it and of the money that went with it."""
    since = int(time.time()) - 1
    paid = await _disputed(shop)
    await shop.event("charge.dispute.funds_withdrawn", paid, since)
    return (await shop.get("disputes", payment_intent=paid))["data"][0]["id"]


async def _dispute_won(shop: Shop) -> str:
    """The merchant answers, with what convinces the simulated bank."""
    id = await _complaint(shop)
    await shop.post(f"disputes/{id}", evidence={"uncategorized_text": "winning_evidence"})
    return id


async def _dispute_lost(shop: Shop) -> str:
    """The merchant gives in."""
    id = await _complaint(shop)
    await shop.post(f"disputes/{id}/close")
    return id


async def _session(shop: Shop) -> dict[str, Any]:
    tea = {"currency": "cny", "unit_amount": 1250, "product_data": {"name": "Tea"}}
    asked: dict[str, Any] = {"mode": "payment", "line_items": [{"price_data": tea, "quantity": 1}]}
    return await shop.post("checkout/sessions", **asked, success_url="https://shop.example/thanks")


async def _session_completed(shop: Shop) -> str:
    """As the page does it: the session's payment is paid by one of its ways."""
    session = await _session(shop)
    await shop.post(f"payment_intents/{session['payment_intent']}/confirm", payment_method=PAID["payment_method"])
    return session["id"]


async def _session_expired(shop: Shop) -> str:
    id = (await _session(shop))["id"]
    await shop.post(f"checkout/sessions/{id}/expire")
    return id


async def _customer(shop: Shop) -> str:
    return (await shop.post("customers", name="Triggered"))["id"]


RECIPES: dict[str, Recipe] = {  # the type of an event; after a colon, how it comes to be, where there are two ways
    "charge.dispute.closed": _dispute_won,
    "charge.dispute.closed:lost": _dispute_lost,
    "charge.dispute.created": _disputed,
    "charge.dispute.funds_reinstated": _dispute_won,
    "charge.dispute.funds_withdrawn": _disputed,
    "charge.dispute.updated": _dispute_won,
    "charge.refunded": _charge_refunded,
    "charge.succeeded": _paid,
    "checkout.session.completed": _session_completed,
    "checkout.session.expired": _session_expired,
    "customer.created": _customer,
    "payment_intent.canceled": _canceled,
    "payment_intent.created": _created,
    "payment_intent.payment_failed": _declined,
    "payment_intent.requires_action": _shown,
    "payment_intent.succeeded": _paid,
    "payout.created": _payout,
    "payout.failed": _payout_failed,
    "payout.paid": _payout,
    "refund.created": _refund,
    "refund.failed": _refund_failed,
    "refund.updated": _refund,
}


async def trigger(at: Addresses, name: str, say: Callable[[str], object]) -> str:
    """Have it happen; the event's id.  Raises Invalid for what cannot be triggered, DidNotHappen."""
    if name not in RECIPES:
        raise Invalid(f"{name!r} cannot be triggered. What can: {', '.join(RECIPES)}.")
    if at.demo is None:
        raise Invalid("There is no demo merchant: trigger works in the test environment, beside the simulators.")
    since = int(time.time()) - 1
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        shop = Shop(http, at, at.demo, say)
        return await shop.event(name.partition(":")[0], await RECIPES[name](shop), since)
