"""Canaries: secrets and persons are planted, everything is done with them that can go wrong, and then everything is searched for them.

What stands where it is not listed, with the reason, is a leak.
"""

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import crew
import search
from guilder.channels import registry
from guilder.core import clock, ids
from guilder.merchants import channel_accounts
from guilder.people import invite, totp
from guilder.people.grants import Giver, Place
from guilder.people.model import At
from guilder.platform import case
from guilder.platform.case import Case
from guilder.platform.sql import Query
from guilder.reconciliation import reconcile
from stack import Shop, Stack, eventually, running

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

ANSWERS = "error answers"
ROW = "the row itself, which erasing blanks"
AGAIN = "the answer that a repeated request hears; erasing blanks it"
CUSTOMER = {"test: merchants.customer": ROW, "test: platform.answer": AGAIN}
PAYMENT = {"test: payments.intent": ROW, "test: platform.answer": AGAIN}

# Each canary and where it may stand, and why.
ALLOWED: dict[str, dict[str, str]] = {
    "secret key": {},
    "mistyped key": {},
    "secret key of the demo merchant": {"demo.json": "who makes the demo reads it there", "up.json": "who started it is told", "up.out": "the terminal of who started it"},
    "restricted key that was revoked": {},
    "webhook secret": {},
    "rolled webhook secret": {},
    "wechatpay private_key": {},
    "wechatpay apiv3_key": {},
    "wechatpay app_secret": {},
    "alipay private_key": {},
    "encryption key": {"encryption.key": "its own file, mode 0600"},
    "session token": {},
    "invitation": {},
    "password": {},
    "former password": {},
    "mistyped password": {},
    "token of who signed in": {},
    "seed of an authenticator app": {},
    "recovery code": {},
    "used recovery code": {},
    "name of a person": {"control: people.person": "the row itself"},
    "mistyped session token": {},
    "card number": {},
    "name of a customer": CUSTOMER,
    "e-mail of a customer": CUSTOMER,
    "phone of a customer": CUSTOMER,
    "address of a customer": CUSTOMER,
    "former e-mail of a customer": {"test: platform.answer": AGAIN},
    "refused e-mail": {ANSWERS: "whoever sent it is told what was wrong with it"},
    "name on a bill": {"test: payments.method": ROW, "test: platform.answer": AGAIN},
    "receipt e-mail": PAYMENT,
    "receipt e-mail of a payment that failed unforeseen": {"test: payments.intent": ROW},
    "name on a parcel": PAYMENT,
    "e-mail at the cashier": {"test: cashier.session": ROW, "test: platform.answer": AGAIN},
    "account of a payer at WeChat Pay": {"test: reconciliation.statement": "the channel's file of the day, kept as it came"},
    "account of a payer at Alipay": {"test: reconciliation.statement": "the channel's file of the day, kept as it came"},
    "body of a forged callback": {},
}  # fmt: skip
SEALED = Query("sealed", "SELECT id, channel, sealed FROM merchants.channel_account WHERE book_id = $1")
NOTE = Query(
    "note",
    "INSERT INTO platform.job (kind, key, payload, run_at, root_id) VALUES ('canary', $1, $2, now() + interval '1 day', $3)",
)
SUCCEEDED = {"payment_intent.succeeded", "charge.succeeded", "refund.updated", "checkout.session.completed"}


@dataclass
class Cage:
    """An installation with canaries in it."""

    stack: Stack
    shop: Shop
    points: Path
    canaries: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def call(self, method: str, path: str, body: str = "", *, key: str | None = None, status: int = 200) -> Any:
        """Call the API with a form; the answers of what fails are kept."""
        headers = {
            "Authorization": f"Bearer {key or self.shop.key}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        request = urllib.request.Request(f"{self.stack.api}{path}", body.encode() or None, headers, method=method)
        return self.answered(request, status)

    def answered(self, request: urllib.request.Request, status: int) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                got, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            got, text = error.code, error.read().decode()
            self.errors.append(f"{error.headers}\n{text}")
        assert got == status, text
        return json.loads(text) if text.startswith("{") else text

    def canary(self, name: str, text: str) -> str:
        self.canaries[name] = text
        return text


def mark() -> str:
    """Letters that stand nowhere else."""
    return "kanarek" + ids.text(ids.new_id())[-14:]


@pytest.fixture(scope="module")
async def cage(anyio_backend: object, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cage]:
    folder = tmp_path_factory.mktemp("canary")
    points = folder / "points"
    points.mkdir()
    with running(folder / "state", GUILDER_FAILPOINTS=str(points)) as stack:
        made = Cage(stack, await stack.merchant(), points)
        await plant_secrets(made)
        await join(made)
        await sell(made)
        await fail(made)
        yield made


async def plant_secrets(cage: Cage) -> None:
    """Every secret that there is, by its name."""
    cage.canary("secret key", cage.shop.key)
    demo = cage.stack.it.at.demo
    assert demo is not None
    cage.canary("secret key of the demo merchant", demo.secret_key)
    cage.canary("encryption key", (cage.stack.it.state / "encryption.key").read_text().strip())
    async with cage.stack.world() as world:
        env = world.envs["test"]
        for row in await env.db.rows(SEALED, cage.shop.book_id):
            config = json.loads(env.keyring.open(row["sealed"], f"merchants.channel_account/{row['id']}"))
            for name in registry.secret_fields(row["channel"]):
                if config.get(name):  # some are only for those who need them
                    cage.canary(f"{row['channel']} {name}", kernel(config[name]))
        person = await crew.somebody(world, ("merchant_owner", "merchant", cage.shop.book_id))
        from guilder.merchants import keys

        weak = await world.control.transact(
            lambda tx: keys.make(tx, cage.shop.book_id, "test", "rk", ("customers:read",))
        )
        cage.canary("restricted key that was revoked", weak.secret)
        await world.control.transact(lambda tx: keys.revoke(tx, weak.id))
    cage.canary("session token", person.token)
    assert crew.call(cage.stack.api, person.token, "GET", "customers", account=cage.shop.demo.merchant)[0] == 200
    hook = "/v1/webhook_endpoints"
    made = cage.call("POST", hook, "url=http://127.0.0.1:9/hook&enabled_events[]=*")
    rolled = cage.call("POST", f"{hook}/{made['id']}/roll_secret", "expires_in=60")
    for name, answer in (("webhook secret", made), ("rolled webhook secret", rolled)):
        cage.canary(name, answer["secret"].removeprefix("whsec_"))


def kernel(secret: str) -> str:
    """Of a key in lines, the middle of one: how it is wrapped does not matter."""
    lines = max((line for line in secret.splitlines() if not line.startswith("-")), key=len)
    return lines if len(lines) < 64 else lines[len(lines) // 2 - 24 : len(lines) // 2 + 24]


async def join(cage: Cage) -> None:
    """Somebody joins, signs in with a password and an app, mistypes, and changes the password."""
    c, api, email = cage.canary, cage.stack.api, f"{ids.text(ids.new_id())}@guilder.test"

    def ask(path: str, status: int, bearer: str = "", **said: str) -> Any:
        got, answer = crew.call(api, bearer, "POST", path, said)
        assert got == status, answer
        if got != 200:
            cage.errors.append(json.dumps(answer))
        return answer

    async with cage.stack.world() as world:
        asked = await world.control.transact(
            lambda tx: invite.invite(tx, Giver(), email, "read_only", Place(At.PLATFORM, None))
        )
    old, new = c("former password", f"{mark()} {mark()}"), c("password", f"{mark()} {mark()}")
    joining = {"token": c("invitation", asked.token), "name": c("name of a person", f"Otter {mark()}")}
    ask("invitations/accept", 400, **joining, password="short")
    ask("invitations/accept", 200, **joining, password=old)
    ask("sessions", 401, email=email, password=c("mistyped password", f"{mark()} {mark()}"))
    token = c("token of who signed in", ask("sessions", 200, email=email, password=old)["token"])
    ask("users/me", 200, token, name=cage.canaries["name of a person"])
    seed = c("seed of an authenticator app", ask("users/me/totp", 200, token, password=old)["secret"])
    step = int(time.time()) // totp.STEP_S
    codes = ask("users/me/totp/confirm", 200, token, code=totp.code_at(base64.b32decode(seed), step))["codes"]
    c("recovery code", codes[0]), c("used recovery code", codes[1])
    ask("sessions", 401, email=email, password=old)
    ask("sessions", 200, email=email, password=old, code=codes[1])
    ask("users/me/password", 401, token, current_password=cage.canaries["mistyped password"], password=new)
    ask("users/me/password", 200, token, current_password=old, password=new)


async def sell(cage: Cage) -> None:
    """Customers, payments, refunds and a session, all with persons in them."""
    v1 = cage.shop.client().v1
    c = cage.canary
    address = {"line1": c("address of a customer", f"1 {mark()} Road"), "city": "Hangzhou"}
    customer = v1.customers.create(
        {
            "name": c("name of a customer", f"Zhang {mark()}"),
            "email": c("former e-mail of a customer", f"{mark()}@mail.example"),
            "phone": c("phone of a customer", f"+86{mark()}"[:20]),
            "address": address,
        }
    )
    v1.customers.update(customer.id, {"email": c("e-mail of a customer", f"{mark()}@mail.example")})
    bill = {"type": "wechat_pay", "billing_details": {"name": c("name on a bill", f"Bill {mark()}")}}
    paid = v1.payment_intents.create(
        {
            "amount": 900,
            "currency": "cny",
            "customer": customer.id,
            "payment_method_types": ["wechat_pay"],
            "payment_method_data": bill,
            "receipt_email": c("receipt e-mail", f"{mark()}@mail.example"),
            "shipping": {"name": c("name on a parcel", f"Li {mark()}"), "address": {"city": "Hangzhou"}},
            "confirm": True,
        },
        {"idempotency_key": "paid"},
    )
    cage.stack.pay(paid.next_action)
    await eventually(lambda: v1.payment_intents.retrieve(paid.id).status == "succeeded")
    for name, way in (("WeChat Pay", "wechat_pay"), ("Alipay", "alipay")):
        await pay_from(cage, way, c(f"account of a payer at {name}", mark()))
    pm = v1.payment_methods.create(bill)
    v1.payment_methods.attach(pm.id, {"customer": customer.id})
    v1.payment_methods.detach(pm.id)
    refund = v1.refunds.create({"payment_intent": paid.id, "amount": 100, "expand": ["charge"]})
    await eventually(lambda: v1.refunds.retrieve(refund.id).status == "succeeded", within_s=30)
    line = {"quantity": 1, "price_data": {"currency": "cny", "unit_amount": 500, "product_data": {"name": "Tea"}}}
    email = c("e-mail at the cashier", f"{mark()}@mail.example")
    session = v1.checkout.sessions.create(
        {"mode": "payment", "line_items": [line], "success_url": "https://shop.example/ok", "customer_email": email}
    )
    pi = v1.payment_intents.confirm(str(session.payment_intent), {"payment_method_data": {"type": "wechat_pay"}})
    cage.stack.pay(pi.next_action)
    await eventually(lambda: {e.type for e in v1.events.list({"limit": 100}).data} >= SUCCEEDED, within_s=30)


async def pay_from(cage: Cage, way: str, payer: str) -> None:
    """Pay from a named account at the channel, and reconcile its day: callbacks, answers and the file of the day name the payer."""
    v1, channel = cage.shop.client().v1, {"wechat_pay": "wechatpay", "alipay": "alipay"}[way]
    wish = {
        "amount": 300,
        "currency": "cny",
        "confirm": True,
        "payment_method_types": [way],
        "return_url": "https://shop.example/ok",
    }
    made = v1.payment_intents.create({**wish, "payment_method_data": {"type": way}})
    step = made.next_action
    code = step.alipay_handle_redirect["url"] if way == "alipay" else step.wechat_pay_display_qr_code["data"]
    cage.stack.simulator("/sim/pay", {"code": code, "action": "pay", "payer": payer})
    await eventually(lambda: v1.payment_intents.retrieve(made.id).status == "succeeded", within_s=30)
    day = clock.beijing_day(clock.now())
    cage.stack.simulator(f"/sim/accounts/{cage.shop.demo.simulated[channel]}/close-day", {"day": str(day)})
    async with cage.stack.world() as world:
        account = await channel_accounts.get(world.envs["test"], ids.read("ca", cage.shop.demo.accounts[channel]))
        report = await reconcile(world.envs["test"], account, day)
    assert report.matched.payments > 0


async def fail(cage: Cage) -> None:
    """What goes wrong, by the caller, the channel and ourselves."""
    c, post, shop = cage.canary, cage.call, cage.shop
    post("GET", "/v1/customers", key=c("mistyped key", f"sk_test_{mark()}{mark()}"), status=401)
    post("GET", "/v1/customers", key=cage.canaries["restricted key that was revoked"], status=401)
    post("GET", "/v1/customers", key=c("mistyped session token", f"us_{mark()}{mark()}"[:35]), status=401)
    post("GET", "/v1/ledger/accounts", key=cage.canaries["session token"], status=403)
    post("POST", "/v1/customers", f"email={c('refused e-mail', f'{mark()}-at-nowhere')}", status=400)
    post("POST", "/v1/customers", f"name={'x' * 300}&email={cage.canaries['e-mail of a customer']}", status=400)
    post("POST", "/v1/customers", f"phone={cage.canaries['phone of a customer']}&balance=1", status=400)
    number = c("card number", "4242424242424242")
    card = f"payment_method_data[type]=card&payment_method_data[card][number]={number}"
    post("POST", "/v1/payment_intents", f"amount=100&currency=cny&{card}", status=400)
    forged = c("body of a forged callback", mark())
    for channel, account in shop.demo.accounts.items():
        address = f"{cage.stack.api}/callbacks/test/{channel}/{account.removeprefix('ca_')}"
        cage.answered(urllib.request.Request(address, f"out_trade_no={forged}&sign=AAAA".encode(), method="POST"), 401)
    wish = "amount=100&currency=cny&payment_method_types[]=wechat_pay&payment_method_data[type]=wechat_pay&confirm=true"
    decline = {"account": shop.demo.simulated["wechatpay"], "dials": {"decline": {"probability": 1.0}}}
    cage.stack.simulator("/sim/dials", decline)
    declined = post("POST", "/v1/payment_intents", f"{wish}&receipt_email={cage.canaries['receipt e-mail']}")
    cage.stack.pay(declined["next_action"], "decline")
    await eventually(lambda: post("GET", f"/v1/payment_intents/{declined['id']}")["last_payment_error"])
    for place in ("pay.recv", "pay.in_tx_before_post"):
        (cage.points / place).write_text("raise")
        email = cage.canaries.get("receipt e-mail of a payment that failed unforeseen") or c(
            "receipt e-mail of a payment that failed unforeseen", f"{mark()}@mail.example"
        )
        post("POST", "/v1/payment_intents", f"{wish}&receipt_email={email}", status=500)
        assert (cage.points / f"{place}.fired").exists()


async def test_no_canary_stands_where_it_is_not_listed(cage: Cage) -> None:
    assert cage.canaries.keys() == ALLOWED.keys()
    found = await search.everywhere(cage.stack, cage.canaries)
    known = {name: search.forms(text) for name, text in cage.canaries.items()}
    found |= {hit for text in cage.errors for hit in search.hits(known, ANSWERS, text.encode())}

    leaks = sorted((name, place) for name, place in found if place not in ALLOWED[name])
    assert leaks == []
    unseen = sorted((name, place) for name, places in ALLOWED.items() for place in places if (name, place) not in found)
    assert unseen == [], "no longer needed, or the search is blind there"


async def test_a_leak_would_be_found(cage: Cage) -> None:
    """Planted in a log, a row, a packed and a hexadecimal column, and in a metric's neighbour: each is found, by each way of writing."""
    leak = mark()
    log = cage.stack.it.state / "logs" / "api.log"
    async with cage.stack.world() as world:
        db = world.envs["test"].db
        book: UUID = cage.shop.book_id

        async def plant(tx: Any) -> None:
            tx.write(NOTE, leak, json.dumps({"token": leak.encode().hex()}), ids.new_id())
            case.open_many(tx, [Case(book, "canary", "planted", "planted by a test", {"said": leak})])

        await db.transact(plant)
    with log.open("a") as lines:
        lines.write(f"{leak}\n")

    found = await search.everywhere(cage.stack, {"leak": leak})
    import zlib

    assert found == {("leak", "test: platform.job"), ("leak", "test: platform.case"), ("leak", "logs/api.log")}
    ways = {"base64": base64.b64encode(f"ab{leak}cd".encode()), "hex": leak.encode().hex().encode()}
    assert all(search.hits({"leak": search.forms(leak)}, way, text) == {("leak", way)} for way, text in ways.items())
    assert leak.encode() in b"".join(search.written(zlib.compress(leak.encode())))
