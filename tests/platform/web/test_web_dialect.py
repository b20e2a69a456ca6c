"""The official stripe SDK, unmodified, against the trial shop."""

import hashlib

import pytest
import stripe
from stripe._api_version import _ApiVersion
from trial_shop import READER, Running

from guilder.platform.web import VERSION


@pytest.fixture
def client(running: Running) -> stripe.StripeClient:
    running.shelf.intents.clear()
    return stripe.StripeClient("sk_test_shop", base_addresses={"api": running.url})


def test_the_pinned_version_is_the_sdks() -> None:
    assert _ApiVersion.CURRENT == VERSION


def test_create_retrieve_update(client: stripe.StripeClient) -> None:
    made = client.v1.payment_intents.create(
        {
            "amount": 1250,
            "currency": "cny",
            "metadata": {"2024": "订单", "empty": ""},
            "payment_method_types": ["wechat_pay"],
        }
    )
    found = client.v1.payment_intents.retrieve(made.id)
    changed = client.v1.payment_intents.update(made.id, {"description": "茶", "metadata": {"2024": "", "b": "c"}})

    assert (found.amount, found.metadata.to_dict()) == (1250, {"2024": "订单"})
    assert (changed.description, changed.metadata.to_dict()) == ("茶", {"b": "c"})
    assert client.v1.payment_intents.update(made.id, {"metadata": "", "description": ""}).description is None


ERRORS = [
    ("card", stripe.CardError, 402, "card_declined"),
    ("state", stripe.InvalidRequestError, 400, "payment_intent_unexpected_state"),
    ("reused", stripe.IdempotencyError, 400, None),
    ("in_flight", stripe.APIError, 409, None),
    ("rate", stripe.RateLimitError, 429, None),
    ("busy", stripe.APIError, 503, None),
    ("bug", stripe.APIError, 500, None),
]


@pytest.mark.parametrize(("cause", "kind", "status", "code"), ERRORS)
def test_errors_have_their_class(
    client: stripe.StripeClient, cause: str, kind: type, status: int, code: str | None
) -> None:
    with pytest.raises(stripe.StripeError) as caught:
        client.v1.payment_intents.create({"amount": 1, "currency": "cny", "description": cause})

    error = caught.value
    assert (type(error), error.http_status) == (kind, status)
    assert code is None or error.code == code
    assert error.request_id is not None
    assert error.request_id.startswith("req_")
    assert error.headers is not None
    assert error.headers.get("Stripe-Should-Retry") == {409: "true", 429: "true", 503: "true", 500: None}.get(
        status, "false"
    )


def test_a_declined_card_says_why(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.CardError) as caught:
        client.v1.payment_intents.create({"amount": 1, "currency": "cny", "description": "card"})

    assert caught.value.error is not None
    assert caught.value.error.decline_code == "insufficient_funds"
    assert caught.value.error.payment_intent is not None
    assert caught.value.error.payment_intent.id == "pi_1"


def test_a_bug_is_logged_and_not_told(client: stripe.StripeClient, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(stripe.APIError) as caught:
        client.v1.payment_intents.create({"amount": 1, "currency": "cny", "description": "bug"})

    assert "42" not in str(caught.value.http_body)
    [record] = [r for r in caplog.records if r.exc_info]
    assert record.request_id == caught.value.request_id


def test_keys_and_scopes(running: Running) -> None:
    def at(key: str, **more: str) -> stripe.StripeClient:
        return stripe.StripeClient(key, base_addresses={"api": running.url}, **more)

    with pytest.raises(stripe.AuthenticationError):
        at("sk_test_nobody").v1.payment_intents.list()
    with pytest.raises(stripe.PermissionError):
        at(READER).v1.payment_intents.create({"amount": 1, "currency": "cny"})
    assert at(READER).v1.payment_intents.list().object == "list"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        at("sk_test_shop", stripe_account="acct_1").v1.payment_intents.list()
    assert caught.value.param == "Stripe-Account"
    assert at("sk_test_shop", stripe_version="2024-06-20").v1.payment_intents.list().object == "list"


def test_the_idempotency_key_comes_with_every_post(client: stripe.StripeClient, running: Running) -> None:
    create = client.v1.payment_intents.create
    create({"amount": 1, "currency": "cny", "metadata": {"a": "1", "b": "2"}}, {"idempotency_key": "once"})
    one = running.shelf.last
    create({"metadata": {"b": "2", "a": "1"}, "currency": "cny", "amount": 1}, {"idempotency_key": "once"})
    two = running.shelf.last

    assert one is not None
    assert two is not None
    assert (one.idempotency_key, one.remote_ip) == ("once", "127.0.0.1")
    assert one.fingerprint == two.fingerprint
    assert len(one.fingerprint) == hashlib.sha256().digest_size
    with pytest.raises(stripe.IdempotencyError):
        create({"amount": 2, "currency": "cny"}, {"idempotency_key": "once"})
    with pytest.raises(stripe.InvalidRequestError):
        create({"amount": 2, "currency": "cny"}, {"idempotency_key": "x" * 256})


def test_lists_page_in_both_directions(client: stripe.StripeClient, running: Running) -> None:
    made = [running.shelf.put(i).id for i in range(7)]

    forth = [i.id for i in client.v1.payment_intents.list({"limit": 3}).auto_paging_iter()]
    back = [i.id for i in client.v1.payment_intents.list({"limit": 3, "ending_before": made[0]}).auto_paging_iter()]
    some = client.v1.payment_intents.list({"created": {"gte": 1_790_000_002, "lt": 1_790_000_004}})

    assert forth == made[::-1]
    assert back == made[1:]
    assert [i.amount for i in some.data] == [3, 2]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.payment_intents.list({"limit": 101})
    assert (caught.value.code, caught.value.param) == ("parameter_invalid_integer", "limit")


def test_expand_loads_each_level_once(client: stripe.StripeClient, running: Running) -> None:
    for i in range(5):
        running.shelf.put(i)
    running.shelf.loads.clear()

    listed = client.v1.payment_intents.list({"expand": ["data.latest_charge.customer", "data.customer"]})

    assert [prefix for prefix, _ in running.shelf.loads] == ["ch", "cus", "cus"]
    assert {len(ids) for _, ids in running.shelf.loads} == {5}
    first = listed.data[0]
    assert isinstance(first.latest_charge, stripe.Charge)
    assert isinstance(first.latest_charge.customer, stripe.Customer)
    assert first.latest_charge.payment_intent == first.id


def test_what_is_gone_stays_an_id(client: stripe.StripeClient, running: Running) -> None:
    intent = running.shelf.put(1)
    assert intent.customer is not None
    del running.shelf.customers[intent.customer]

    found = client.v1.payment_intents.retrieve(intent.id, {"expand": ["customer", "latest_charge"]})

    assert found.customer == intent.customer
    assert isinstance(found.latest_charge, stripe.Charge)


def test_a_stored_answer_is_expanded_once_and_replayed_as_it_was(client: stripe.StripeClient, running: Running) -> None:
    intent = running.shelf.put(1)

    first = client.v1.payment_intents.cancel(intent.id, {"expand": ["customer"]}, {"idempotency_key": "stop"})
    running.shelf.loads.clear()
    again = client.v1.payment_intents.cancel(intent.id, {"expand": ["customer"]}, {"idempotency_key": "stop"})

    assert isinstance(first.customer, stripe.Customer)
    assert again.last_response is not None
    assert again.last_response.body.encode() == running.shelf.answers["stop"]
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert (again.customer, running.shelf.loads) == (first.customer, [])


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "amount",
        "customer.nothing",
        "data",
        "latest_charge.payment_intent.latest_charge.payment_intent.customer",
    ],
)
def test_a_path_to_nowhere_is_refused(client: stripe.StripeClient, running: Running, path: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.payment_intents.retrieve(running.shelf.put(1).id, {"expand": [path]})
    assert path in str(caught.value)
