"""Erasure and export of a person: nothing is left that says who it was, and every cent is where it was."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import stripe

import crew
import search
from guilder.core import ids
from guilder.platform.sql import Query
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio

Known = dict[str, str]


@pytest.fixture
def who() -> Known:
    """A person whom no other test knows."""
    own = ids.text(ids.new_id())[-12:]
    return {
        "name": f"Lin Zhaoying-{own}",
        "email": f"zhaoying.{own}@mail.example",
        "phone": f"+86 {int(time.time_ns()) % 10**11:011d}",
        "line1": f"17 {own} Lane, door 9b",
        "note": f"collects stamps of {own}",
        "billed": f"{own} Holdings, attention L. Z.",
        "receipt": f"receipts.{own}@mail.example",
    }


def shipping(who: Known) -> dict[str, Any]:
    return {"name": who["name"], "address": {"line1": who["line1"], "city": "Hangzhou"}}


WX = {"currency": "cny", "payment_method_types": ["wechat_pay"], "confirm": True}
TRAIL = Query(
    "trail",
    "SELECT action, subject, after, why, actor FROM platform.trail WHERE book_id = $1 AND subject = $2 ORDER BY id",
)
EVENTS = Query("events", "SELECT data, previous, person_id, personal FROM platform.event WHERE book_id = $1")


def guilder(stack: Stack, *args: str) -> subprocess.CompletedProcess[str]:
    """The command line, beside the running stack."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")} | stack.it.environ
    return subprocess.run(
        [sys.executable, "-m", "guilder.app.cli", *args], env=ours, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip


def customer_of(shop: Shop, who: Known, *, fresh: bool = True) -> Any:
    """A customer of whom everything is known, with a way to pay; not `fresh`: only the first request, again."""
    v1 = shop.client().v1
    customer = v1.customers.create(
        {
            "name": who["name"],
            "email": who["email"],
            "description": who["note"],
            "shipping": shipping(who),
            "metadata": {"hobby": who["note"]},
        },
        {"idempotency_key": "customer"},
    )
    if fresh:
        v1.customers.update(customer.id, {"phone": who["phone"], "address": shipping(who)["address"]})
        pm = v1.payment_methods.create({"type": "wechat_pay", "billing_details": {"name": who["billed"]}})
        v1.payment_methods.attach(pm.id, {"customer": customer.id})
    return customer


def wish(who: Known) -> Any:
    """A payment with a receipt, shipping and a bill."""
    return {
        **WX,
        "amount": 1250,
        "payment_method_data": {"type": "wechat_pay", "billing_details": {"name": who["billed"]}},
        "receipt_email": who["receipt"],
        "shipping": shipping(who),
    }


async def paid_by(shop: Shop, who: Known, key: str, **more: Any) -> Any:
    """Such a payment, paid."""
    v1 = shop.client().v1
    made = v1.payment_intents.create({**wish(who), **more}, {"idempotency_key": key})
    shop.stack.pay(made.next_action)
    return await eventually(lambda: (i := v1.payment_intents.retrieve(made.id)).status == "succeeded" and i)


async def refunded(shop: Shop, payment: Any, amount: int) -> None:
    v1 = shop.client().v1
    refund = v1.refunds.create({"payment_intent": payment.id, "amount": amount, "expand": ["charge"]})
    await eventually(lambda: v1.refunds.retrieve(refund.id).status == "succeeded", within_s=30)


def said(shop: Shop, type: str, object: str) -> Any:
    """The latest event of a type about an object, as the API shows it."""
    events = shop.client().v1.events.list({"type": type, "limit": 100})
    return next(e.data.to_dict() for e in events.data if e.data.object["id"] == object)


async def nothing_of(stack: Stack, who: Known) -> None:
    """No place of the installation has anything of the person."""
    assert await search.everywhere(stack, who) == set()


async def holds(stack: Stack) -> None:
    """The books, their seals and whatever the auditor compares."""
    verified, audited = guilder(stack, "ledger", "verify"), guilder(stack, "audit")
    assert (verified.returncode, audited.returncode) == (0, 0), verified.stdout + audited.stdout


async def test_an_erased_customer_is_nowhere_and_the_money_stays(stack: Stack, who: Known) -> None:
    shop = await stack.merchant()
    v1 = shop.client().v1
    customer = customer_of(shop, who)
    payment = await paid_by(shop, who, "payment", customer=customer.id)
    await refunded(shop, payment, 250)
    assert said(shop, "payment_intent.succeeded", payment.id)["object"]["receipt_email"] == who["receipt"]
    assert said(shop, "customer.updated", customer.id)["previous_attributes"] == {"address": None, "phone": None}
    before = v1.charges.retrieve(payment.latest_charge)

    async with stack.world() as world:
        erasing = await crew.somebody(world, ("merchant_owner", "merchant", shop.book_id))
        staff = await crew.somebody(world, ("merchant_staff", "merchant", shop.book_id))
    path, account = f"customers/{customer.id}/erase", shop.demo.merchant
    assert crew.call(stack.api, staff.token, "POST", path, {}, account=account)[0] == 403
    status, answer = crew.call(stack.api, erasing.token, "POST", path, {"reason": "asked for it"}, account=account)

    assert (status, answer["deleted"], answer["erased"]) == (200, True, True), answer
    counts = {"payments": 1, "payment_methods": 2, "checkout_sessions": 0, "webhook_tries": 0, "keys": 0}
    assert answer["blanked"].items() >= counts.items(), answer
    await nothing_of(stack, who)
    after = v1.charges.retrieve(payment.latest_charge)
    assert (after.amount, after.amount_refunded, after.customer) == (1250, 250, customer.id) == (
        before.amount, before.amount_refunded, before.customer,
    )  # fmt: skip
    assert (before.receipt_email, after.receipt_email, after.shipping) == (who["receipt"], None, None)
    told = said(shop, "payment_intent.succeeded", payment.id)["object"]
    assert (told["amount"], told["receipt_email"], told["shipping"]) == (1250, None, None)
    assert said(shop, "customer.created", customer.id)["object"]["email"] is None
    assert v1.customers.retrieve(customer.id).deleted
    async with stack.world() as world:
        [*_, trail] = await world.envs["test"].db.rows(TRAIL, shop.book_id, customer.id)
    assert (trail["action"], trail["why"], trail["actor"]) == ("person.erased", "asked for it", erasing.shown)
    assert json.loads(trail["after"]) == answer["blanked"]
    await holds(stack)


async def test_what_is_repeated_after_an_erasure_does_nothing_again_and_says_nothing(stack: Stack, who: Known) -> None:
    """The answers that are kept for repeated requests are blanked, and their keys stay used: nobody pays twice for being erased."""
    shop = await stack.merchant()
    v1 = shop.client().v1
    payment, customer = await paid_by(shop, who, "payment"), customer_of(shop, who)
    assert shop.post(f"customers/{customer.id}/erase", {})["erased"]
    assert guilder(stack, "customer", "erase", payment.id, "--yes").returncode == 0

    again, same = (
        v1.payment_intents.create(wish(who), {"idempotency_key": "payment"}),
        customer_of(shop, who, fresh=False),
    )

    assert (again.id, again.amount, again.receipt_email, again.shipping) == (payment.id, 1250, None, None)
    assert (same.id, same.name, same.email, same.metadata.to_dict()) == (customer.id, None, None, {})
    assert len(v1.payment_intents.list().data) == 1
    await nothing_of(stack, who)


async def test_E2_what_is_said_of_an_erased_customer_later_has_blanks(stack: Stack, who: Known) -> None:
    """Erased between the QR code and the payment: the success is said without a person; a refund, too; nothing new is taken in."""
    shop = await stack.merchant()
    v1, customer = shop.client().v1, customer_of(shop, who)
    open_now = v1.payment_intents.create(
        {**WX, "amount": 300, "payment_method_data": {"type": "wechat_pay"}, "receipt_email": who["receipt"], "customer": customer.id}
    )  # fmt: skip
    erased = shop.post(f"customers/{customer.id}/erase", {})
    stack.pay(open_now.next_action)
    payment = await eventually(
        lambda: (i := v1.payment_intents.retrieve(open_now.id)).status == "succeeded" and i, within_s=30
    )
    await refunded(shop, payment, 100)

    assert said(shop, "payment_intent.succeeded", payment.id)["object"]["receipt_email"] is None
    assert said(shop, "charge.refunded", payment.latest_charge)["object"]["amount_refunded"] == 100
    with pytest.raises(Exception, match="was erased"):
        v1.payment_intents.update(payment.id, {"receipt_email": who["receipt"]})
    again = shop.post(f"customers/{customer.id}/erase", {})
    assert (erased["blanked"]["payments"], again["blanked"]) == (1, dict.fromkeys(again["blanked"], 0))
    await nothing_of(stack, who)
    await holds(stack)


async def test_a_guest_is_told_and_erased_by_his_payment(stack: Stack, who: Known) -> None:
    """By a checkout session, on the command line: export, then erase."""
    shop = await stack.merchant()
    v1 = shop.client().v1
    guest = await paid_by(shop, who, "guest")
    line = {"quantity": 1, "price_data": {"currency": "cny", "unit_amount": 500, "product_data": {"name": "Tea"}}}
    session = v1.checkout.sessions.create(
        {
            "mode": "payment",
            "line_items": [line],
            "success_url": "https://shop.example/ok",
            "customer_email": who["email"],
        }
    )
    v1.checkout.sessions.expire(session.id)
    await eventually(lambda: v1.checkout.sessions.retrieve(session.id).status == "expired")
    await eventually(lambda: v1.events.list({"type": "checkout.session.expired"}).data)
    assert said(shop, "checkout.session.expired", session.id)["object"]["customer_details"]["email"] == who["email"]

    exported = guilder(stack, "customer", "export", guest.id)
    told = json.loads(exported.stdout)
    unsure = guilder(stack, "customer", "erase", guest.id)
    erased = [guilder(stack, "customer", "erase", id, "--yes") for id in (guest.id, str(session.payment_intent))]

    assert {k["where"] for k in told["kept"]} == {
        "payments.intent", "payments.charge", "payments.method", "platform.event", "platform.answer",
    }  # fmt: skip
    assert who["receipt"] in exported.stdout and who["billed"] in exported.stdout
    assert unsure.returncode == 2 and "--yes" in unsure.stdout
    assert [e.returncode for e in erased] == [0, 0], [e.stderr for e in erased]
    assert "1 payments, 1 payment methods" in erased[0].stdout and "1 checkout sessions" in erased[1].stdout
    await nothing_of(stack, who)
    assert v1.charges.retrieve(guest.latest_charge).amount == 1250
    await holds(stack)


async def test_an_export_has_everything_and_says_where_it_lies(stack: Stack, who: Known) -> None:
    shop = await stack.merchant()
    customer = customer_of(shop, who)
    payment = await paid_by(shop, who, "payment", customer=customer.id)
    await refunded(shop, payment, 50)

    with_key = shop.client().raw_request("get", f"/v1/customers/{customer.id}/export")
    told = json.loads(with_key.body)
    by_payment = guilder(stack, "customer", "export", payment.id)
    other = await stack.merchant("Other")

    places = {k["where"] for k in told["kept"]}
    assert places == {
        "merchants.customer", "payments.intent", "payments.charge", "payments.refund", "payments.method", "platform.event",
        "platform.answer",
    }  # fmt: skip
    text = json.dumps(told, ensure_ascii=False)
    assert [what for what in who.values() if what not in text] == []
    assert by_payment.returncode == 1 and customer.id in by_payment.stderr, by_payment.stderr
    with pytest.raises(Exception, match="404"):
        other.post(f"customers/{customer.id}/erase", {})
    shop.post(f"customers/{customer.id}/erase", {})


async def test_what_endpoints_answered_to_webhooks_about_a_person_goes(stack: Stack, who: Known) -> None:
    """Webhooks say who pays; an endpoint that repeats it leaves that in its tries.  After the erasure a webhook that is sent again says null."""
    shop = await stack.merchant()
    v1, told = shop.client().v1, list[Any]()

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.append((event["id"], event["data"]["object"].get("receipt_email")))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(str(told[-1]).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        hook = v1.webhook_endpoints.create({"url": address, "enabled_events": ["payment_intent.created"]})
        customer = customer_of(shop, who)
        await paid_by(shop, who, "payment", customer=customer.id)
        await eventually(lambda: told)
        assert [email for _, email in told] == [who["receipt"]]
        deliveries = f"/v1/webhook_endpoints/{hook.id}/deliveries"

        def tries() -> list[Any]:
            [delivery] = json.loads(shop.client().raw_request("get", deliveries).body)["data"]
            return delivery["tries"]

        await eventually(lambda: who["receipt"] in str(tries()))
        kept = json.loads(shop.client().raw_request("get", f"/v1/customers/{customer.id}/export").body)["kept"]
        erased = shop.post(f"customers/{customer.id}/erase", {})
        shop.post(f"webhook_endpoints/{hook.id}/redeliver", {"event": told[0][0]})
        await eventually(lambda: len(told) == 2)
        server.shutdown()

    assert [k["where"] for k in kept].count("notify.delivery_try") == 1
    assert (erased["blanked"]["webhook_tries"], told[1]) == (1, (told[0][0], None))
    await nothing_of(stack, who)


async def test_E1_events_have_persons_encrypted_and_others_have_nothing(stack: Stack, who: Known) -> None:
    shop = await stack.merchant()
    v1 = shop.client().v1
    plain = v1.payment_intents.create({**WX, "amount": 100, "payment_method_data": {"type": "wechat_pay"}})
    guest = v1.payment_intents.create(
        {**WX, "amount": 100, "payment_method_data": {"type": "wechat_pay"}, "receipt_email": who["receipt"]}
    )
    async with stack.world() as world:
        rows = await world.envs["test"].db.rows(EVENTS, shop.book_id)

    about = {json.loads(r["data"])["id"]: [] for r in rows}
    for r in rows:
        about[json.loads(r["data"])["id"]].append((r["person_id"], r["personal"] is not None))
        assert who["receipt"] not in r["data"]
    assert set(about[plain.id]) == {(None, False)}
    assert set(about[guest.id]) == {(ids.read("pi", guest.id), True)}
    guilder(stack, "customer", "erase", guest.id, "--yes")


async def test_E3_payments_and_their_erasure_at_once(stack: Stack, who: Known) -> None:
    """While payments with personal fields are made for a customer he is erased: what came before is blanked, what comes later refused."""
    shop = await stack.merchant()
    customer = customer_of(shop, who)

    client, some = shop.client(max_network_retries=0), threading.Semaphore(0)

    def pay(n: int) -> str:
        wanted = {"amount": 100 + n, "currency": "cny", "customer": customer.id, "receipt_email": who["receipt"]}
        try:
            made = client.v1.payment_intents.create(wanted, {"idempotency_key": f"many {n}"})
        except stripe.InvalidRequestError as error:
            return str(error.user_message)
        some.release()
        return made.id

    def erase() -> Any:
        for _ in range(20):
            assert some.acquire(timeout=30)
        return shop.post(f"customers/{customer.id}/erase", {})

    with ThreadPoolExecutor(17) as pool:
        erasing = pool.submit(erase)
        made = list(pool.map(pay, range(160)))
    assert erasing.result()["erased"]

    kept = [m for m in made if m.startswith("pi_")]
    refused = {re.sub("'.*'", "…", m) for m in made if m not in kept}
    assert 20 <= len(kept) < len(made), "neither all before it nor all after"
    assert refused <= {"No such customer: …", "This person was erased: nothing personal is kept of him any more."}
    await nothing_of(stack, who)
    assert len(list(client.v1.payment_intents.list({"customer": customer.id, "limit": 100}).auto_paging_iter())) == len(
        kept
    )
