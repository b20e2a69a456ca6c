"""Keys: what each kind may do, and how they end.  A revoked key is refused within a second by every process of the API."""

import time
from base64 import b64encode
from typing import Any

import pytest
import stripe
from sdk_calls_out import WALLET
from sdk_tables import CLOSED, FOR_KEYS
from sdk_talk import CHANNELS, TEA, card, fails

from guilder.core import ids
from guilder.merchants import keys as making
from http_wire import Wire
from stack import Shop, Stack

pytestmark = pytest.mark.anyio
FRESH = 40  # connections, so that the kernel gives each API process some


def at(shop: Shop, key: str, **options: Any) -> stripe.StripeClient:
    return stripe.StripeClient(key, base_addresses={"api": shop.stack.api}, **options)


def anywhere(path: str, prefixes: dict[str, str | None]) -> str:
    """A path with ids that nothing has."""
    for name, prefix in prefixes.items():
        path = path.replace(f"{{{name}}}", f"{prefix or 'cs_test'}_{'0' * 26}")
    return path


def statuses(shop: Shop, key: str) -> set[int]:
    """What fresh connections with this key are answered."""
    found = set()
    for _ in range(FRESH):
        wire = Wire(shop.stack.api, key)
        found.add(wire("GET", "/v1/payment_intents?limit=1").status)
        wire.close()
    return found


async def make(shop: Shop, kind: str, scopes: tuple[str, ...] = (), env: str = "test") -> making.Made:
    async with shop.stack.world() as world:
        return await world.control.transact(lambda tx: making.make(tx, shop.book_id, env, kind, scopes))


async def test_a_restricted_key_may_do_what_its_scopes_say_and_nothing_else(shop: Shop) -> None:
    scopes = {r.scope for r in FOR_KEYS.values()}
    assert scopes == set(making.SCOPES), "every scope opens something"
    for scope in sorted(making.SCOPES):
        only = Wire(shop.stack.api, (await make(shop, "rk", (scope,))).secret)
        implied = {scope} | ({"payments:client"} if scope == "payments:read" else set())
        for route in CLOSED.values():
            got = only(route.method, anywhere(route.path, route.prefixes))
            assert (got.status == 403) == (route.scope not in implied), (scope, route.method, route.path, got)
            if got.status == 403:
                assert got.error["code"] == "insufficient_permissions"
        only.close()


async def test_a_publishable_key_sees_what_a_client_secret_opens(shop: Shop) -> None:
    browser = Wire(shop.stack.api, shop.demo.publishable_key)
    made = shop.client().v1.payment_intents.create(TEA)
    for route in CLOSED.values():
        path = anywhere(route.path, route.prefixes)
        assert browser(route.method, path).status == (404 if route.scope == "payments:client" else 403), path

    own, other = f"/v1/payment_intents/{made.id}", shop.client().v1.payment_intents.create(TEA)
    assert browser("GET", own).status == 403
    assert browser("GET", f"{own}?client_secret={made.client_secret}").json["id"] == made.id
    assert browser("GET", f"{own}?client_secret={other.client_secret}").error["param"] == "client_secret"
    browser.close()


async def test_expand_opens_nothing_that_the_key_may_not_read(shop: Shop) -> None:
    mine, customer = things(shop), shop.client().v1.customers.create({"name": "Secret"}).id
    held = shop.client().v1.payment_intents.create({**TEA, "customer": customer})
    browser = Wire(shop.stack.api, shop.demo.publishable_key)
    shown = browser("GET", f"/v1/payment_intents/{held.id}?client_secret={held.client_secret}&expand[]=customer")
    assert shown.json["customer"] == customer
    browser.close()

    refunds = Wire(shop.stack.api, (await make(shop, "rk", ("refunds:read",))).secret)
    shown = refunds("GET", f"/v1/refunds/{mine['re']}?expand[]=charge&expand[]=payment_intent")
    assert (shown.json["charge"], shown.json["payment_intent"][:3]) == (mine["ch"], "pi_")
    refunds.close()


async def test_a_revoked_key_is_refused_within_a_second_everywhere(shop: Shop) -> None:
    made = await make(shop, "sk")
    assert statuses(shop, made.secret) == {200}
    async with shop.stack.world() as world:
        await world.control.transact(lambda tx: making.revoke(tx, made.id))
        revoked = time.monotonic()
    time.sleep(
        max(0.0, revoked + 1.0 - time.monotonic())
    )  # the promise is "within a second", so this is what is tested

    assert statuses(shop, made.secret) == {401}
    fails(stripe.AuthenticationError, at(shop, made.secret).v1.customers.list)


async def test_a_rolled_key_works_on_beside_the_new_one_for_its_overlap(shop: Shop) -> None:
    old = await make(shop, "rk", ("payments:read",))
    async with shop.stack.world() as world:
        new = await world.control.transact(lambda tx: making.roll(tx, old.id, overlap_s=3))
        rolled = time.monotonic()
    assert statuses(shop, new.secret) == {200}
    assert statuses(shop, old.secret) == {200}
    fails(stripe.PermissionError, lambda: at(shop, new.secret).v1.payment_intents.create(TEA))

    time.sleep(max(0.0, rolled + 4.0 - time.monotonic()))
    assert (statuses(shop, old.secret), statuses(shop, new.secret)) == ({401}, {200})


async def test_ways_to_send_a_key(shop: Shop) -> None:
    wire = Wire(shop.stack.api, shop.key)
    basic = b64encode(f"{shop.key}:".encode()).decode()
    assert wire("GET", "/v1/events", Authorization=f"Basic {basic}").status == 200
    for wrong in ("", "Bearer", "Bearer  ", "Basic ====", "Digest x", f"Bearer {shop.key}x", f"Bearer {shop.key[:-1]}",
                  shop.key, "Bearer sk_live_" + "a" * 32, "Bearer sk_nowhere_" + "a" * 32, "Bearer \xff\xfe"):  # fmt: skip
        got = wire("GET", "/v1/events", Authorization=wrong)
        assert (got.status, got.error["type"]) == (401, "invalid_request_error"), wrong
        assert "www-authenticate" in got.headers
        assert shop.key[12:-4] not in got.body.decode()
    wire.close()


async def test_headers_of_the_dialect(shop: Shop) -> None:
    fails(
        stripe.InvalidRequestError,
        at(shop, shop.key, stripe_account="acct_1").v1.customers.list,
        param="Stripe-Account",
    )
    assert at(shop, shop.key, stripe_version="2024-06-20").v1.customers.list().object == "list"
    fails(
        stripe.InvalidRequestError,
        at(shop, shop.key, stripe_version="yesterday").v1.customers.list,
        code="api_version_invalid",
    )
    listed = shop.client().v1.customers.list()
    assert listed.last_response is not None
    assert listed.last_response.headers["Stripe-Version"] == "2026-10-28.endive"


async def test_nobody_sees_another_merchants_things(stack: Stack, shop: Shop) -> None:
    """Every route with an id in its path, with the id of another merchant: it is not there."""
    theirs = things(await stack.merchant("Other", channels=CHANNELS))
    mine = things(shop)
    assert mine.keys() == theirs.keys()
    wire = Wire(stack.api, shop.key)
    tried = 0
    for route in FOR_KEYS.values():
        for name, prefix in route.prefixes.items():
            kind = prefix or {"session": "cs"}[name]
            got = wire(route.method, route.path.replace(f"{{{name}}}", theirs[kind]), needed(route.operation_id, mine))
            assert (got.status, got.error["code"]) == (404, "resource_missing"), (route.method, route.path, got)
            tried += 1
    bodies = [
        ("POST", "/v1/payment_intents", "amount=1&currency=cny&customer={cus}"),
        ("POST", "/v1/payment_intents", "amount=1&currency=cny&payment_method={pm}"),
        ("POST", "/v1/payment_intents", "amount=1&currency=cny&store={sto}"),
        ("POST", "/v1/payment_intents", "amount=1&currency=cny&terminal={ter}"),
        ("POST", "/v1/terminals", "code=1&name=x&store={sto}"),
        ("POST", "/v1/operators", "code=1&name=x&store={sto}"),
        ("POST", f"/v1/payment_intents/{mine['pi']}", "customer={cus}"),
        ("POST", f"/v1/payment_intents/{mine['pi']}", "payment_method={pm}"),
        ("POST", f"/v1/payment_intents/{mine['pi']}/confirm", "payment_method={pm}"),
        ("POST", "/v1/refunds", "payment_intent={pi}"),
        ("POST", "/v1/refunds", "charge={ch}"),
        ("POST", f"/v1/payment_methods/{mine['pm']}/attach", "customer={cus}"),
        ("GET", "/v1/payment_methods?customer={cus}", ""),
        (
            "POST",
            "/v1/checkout/sessions",
            "mode=payment&success_url=https://a.example&customer={cus}&line_items[0][price_data][currency]=cny"
            "&line_items[0][price_data][unit_amount]=1&line_items[0][price_data][product_data][name]=x",
        ),
        ("POST", f"/v1/webhook_endpoints/{mine['we']}/redeliver", "event={evt}"),
    ]
    for method, path, body in bodies:
        got = wire(method, path.format(**theirs), body.format(**theirs))
        assert (got.status, got.error["code"]) == (404, "resource_missing"), (path, body, got)
    wire.close()
    assert tried >= 25


async def test_lists_with_another_merchants_ids_show_nothing_of_theirs(stack: Stack, shop: Shop) -> None:
    other = await stack.merchant("Other", channels=CHANNELS)
    theirs, wire = things(other), Wire(stack.api, shop.key)
    lists = {
        r.path: r
        for r in FOR_KEYS.values()
        if r.method == "GET" and not r.prefixes and r.path not in ("/v1/balance", "/v1/timeline", "/v1/channels")
    }
    kinds = {
        "/v1/payment_intents": "pi", "/v1/refunds": "re", "/v1/charges": "ch", "/v1/customers": "cus", "/v1/payment_methods": "pm",
        "/v1/checkout/sessions": "cs", "/v1/webhook_endpoints": "we", "/v1/events": "evt",
        "/v1/balance_transactions": "txn", "/v1/ledger/accounts": "la", "/v1/ledger/journals": "jl", "/v1/trades": "trd",
        "/v1/payouts": "po", "/v1/disputes": "dp", "/v1/stores": "sto", "/v1/terminals": "ter", "/v1/operators": "ope",
    }  # fmt: skip
    assert lists.keys() == kinds.keys()
    for path, kind in kinds.items():
        for bound in ("starting_after", "ending_before"):
            got = wire("GET", f"{path}?{bound}={theirs[kind]}&limit=100")
            shown = {t["id"] for t in got.json.get("data", [])}
            assert not shown & set(theirs.values()), path
    for query in ("refunds?payment_intent={pi}", "refunds?charge={ch}", "charges?payment_intent={pi}", "charges?customer={cus}",
                  "payment_intents?customer={cus}", "checkout/sessions?payment_intent={pi}"):  # fmt: skip
        got = wire("GET", "/v1/" + query.format(**theirs))
        assert (got.status, got.json.get("data", [])) in ((200, []), (404, [])), query
    wire.close()


def things(shop: Shop) -> dict[str, str]:
    """One thing of each kind, by its prefix."""
    v1 = shop.client().v1
    paid = v1.payment_intents.create({**TEA, "payment_method": "pm_sim_wechat_pay__autopay", "confirm": True})
    deadline = time.monotonic() + 30
    while (charge := v1.payment_intents.retrieve(paid.id).latest_charge) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    v1.payment_intents.create(card("pm_card_createDispute"))
    while not (complaints := v1.disputes.list({"limit": 1}).data):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    v1.payment_intents.create(
        {**TEA, "amount": 10_000, "payment_method": "pm_sim_wechat_pay__autopay", "confirm": True}
    )
    while v1.balance.retrieve().available[0].amount < 10:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    session: Any = {
        "mode": "payment",
        "success_url": "https://shop.example/done",
        "line_items": [{"price_data": {"currency": "cny", "unit_amount": 5, "product_data": {"name": "x"}}}],
    }
    return {
        "pi": v1.payment_intents.create(TEA).id,
        "ch": str(charge),
        "re": v1.refunds.create({"payment_intent": paid.id, "amount": 1}).id,
        "cus": v1.customers.create({"name": "Li"}).id,
        "pm": v1.payment_methods.create({"type": "alipay"}).id,
        "cs": v1.checkout.sessions.create(session).id,
        "we": v1.webhook_endpoints.create({"url": "http://127.0.0.1:9/", "enabled_events": ["refund.failed"]}).id,
        "evt": v1.events.list({"limit": 1}).data[0].id,
        "txn": v1.balance_transactions.list({"limit": 1}).data[0].id,
        "trd": shop.post("trades", {"currency": "cny", "items": [{"name": "x", "unit_amount": 5}]})["id"],
        "po": v1.payouts.create({"amount": 10, "currency": "cny", "destination_data": WALLET}).id,
        "dp": complaints[0].id,
        **{kind: made[0] for kind, made in shop.ledger().items()},
        **shop.counter(),
    }


def needed(operation: str, mine: dict[str, str]) -> str:
    """What a call cannot do without."""
    return {
        "attach_payment_method": f"customer={mine['cus']}",
        "redeliver_webhooks": f"event={mine['evt']}",
        "confirm_payment_intent": "payment_method=pm_wechat_pay",
        "rescue_refund": "type=merchant",
        "present_at_terminal": "amount=1",
        "collect_at_terminal": "amount=1&auth_code=130000000000000000",
    }.get(operation, "")


def test_ids_are_not_guessed_across_kinds(shop: Shop) -> None:
    """An id of one kind opens nothing of another, even with its prefix changed."""
    wire = Wire(shop.stack.api, shop.key)
    for prefix, id in things(shop).items():
        uuid = ids.read(prefix, id) if prefix != "cs" else None
        for route in FOR_KEYS.values():
            if route.method == "GET" and len(route.prefixes) == 1 and uuid is not None:
                [(name, other)] = route.prefixes.items()
                one_journal = {prefix, other} == {
                    "txn",
                    "jl",
                }  # a movement of the balance is a journal: two views of it
                if other not in (None, prefix) and not one_journal:
                    shown = f"{other}_{id.partition('_')[2]}"
                    assert wire("GET", route.path.replace(f"{{{name}}}", shown)).status == 404, shown
    wire.close()
