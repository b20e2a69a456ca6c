"""Stripe's events: who is believed, and what they say."""

from dataclasses import replace
from datetime import timedelta

import pytest
from scripted import KEY, NOW, REFUND_KEY
from stripe_side import (
    AT,
    DECLINE,
    DU,
    PI,
    SECRET,
    adapter,
    dispute,
    event,
    inbound,
    intent,
    payout,
    refund,
    signature,
)
from test_stripe import SUCCEEDED

from guilder.channels.model import BadSignature, DisputeState, Inbound, Notice, State, Subject, Unreadable
from guilder.channels.stripe.ways import EVENTS
from guilder.core.amount import cny
from guilder.core.clock import from_unix

CHANNEL = adapter()
UNEXPANDED = intent(latest_charge="ch_1")
PAID = event("payment_intent.succeeded", UNEXPANDED)
GOOD = inbound(PAID)
OLD = "whsec_of_yesterday"


def test_a_payment():
    said = replace(SUCCEEDED, at=from_unix(AT + 3), fee=None)
    assert CHANNEL.notice(GOOD) == Notice("evt_1", Subject.PAYMENT, said)


@pytest.mark.parametrize(
    ("type", "status", "state"),
    [
        ("payment_intent.processing", "processing", State.PENDING),
        ("payment_intent.requires_action", "requires_action", State.PENDING),
        ("payment_intent.amount_capturable_updated", "requires_capture", State.AUTHORISED),
        ("payment_intent.canceled", "canceled", State.CLOSED),
    ],
)
def test_what_else_becomes_of_a_payment(type, status, state):
    heard = CHANNEL.notice(inbound(event(type, intent(status, latest_charge=None))))
    assert (heard.subject, heard.outcome.state, heard.outcome.key, heard.outcome.memo) == (
        Subject.PAYMENT,
        state,
        KEY,
        PI,
    )


def test_a_decline_is_told_with_its_reason():
    back = intent("requires_payment_method", last_payment_error=DECLINE)
    heard = CHANNEL.notice(inbound(event("payment_intent.payment_failed", back)))
    assert heard.outcome.state is State.FAILED
    assert heard.outcome.problem and heard.outcome.problem.decline_code == "insufficient_funds"


@pytest.mark.parametrize(
    ("status", "state"), [("succeeded", State.SUCCEEDED), ("failed", State.FAILED), ("pending", State.PENDING)]
)
def test_a_refund(status, state):
    heard = CHANNEL.notice(inbound(event("refund.updated", refund(status))))
    assert (heard.subject, heard.payment_key, heard.payment_memo) == (Subject.REFUND, KEY, PI)
    assert (heard.outcome.state, heard.outcome.key, heard.outcome.amount) == (state, REFUND_KEY, cny(500))


def test_a_refund_made_elsewhere_names_its_payment_by_memo():
    heard = CHANNEL.notice(inbound(event("refund.created", refund(metadata=None))))
    assert (heard.outcome.key, heard.payment_key, heard.payment_memo) == (None, None, PI)


@pytest.mark.parametrize(
    ("status", "state"), [("paid", State.SUCCEEDED), ("failed", State.FAILED), ("canceled", State.CLOSED)]
)
def test_a_payout(status, state):
    heard = CHANNEL.notice(inbound(event(f"payout.{status}", payout(status))))
    assert (heard.subject, heard.outcome.state, heard.outcome.key) == (Subject.PAYOUT, state, KEY)


DISPUTES = {
    "warning_needs_response": DisputeState.NEEDS_RESPONSE,
    "warning_under_review": DisputeState.UNDER_REVIEW,
    "warning_closed": DisputeState.WON,
    "needs_response": DisputeState.NEEDS_RESPONSE,
    "under_review": DisputeState.UNDER_REVIEW,
    "prevented": DisputeState.WON,
    "won": DisputeState.WON,
    "lost": DisputeState.LOST,
}


@pytest.mark.parametrize(("status", "state"), DISPUTES.items())
def test_a_dispute(status, state):
    heard = CHANNEL.notice(inbound(event("charge.dispute.updated", dispute(status))))
    told = heard.outcome.dispute
    assert (heard.subject, heard.payment_memo) == (Subject.DISPUTE, PI)
    assert told and (told.ref, told.state, told.amount, told.taken) == (DU, state, cny(1250), True)
    assert heard.outcome.channel_ref == PI, "the number of the payment, as payments have it"


def test_money_of_a_dispute_that_came_back():
    [taken] = dispute()["balance_transactions"]
    back = {**taken, "net": 1250, "fee": 0}
    heard = CHANNEL.notice(
        inbound(event("charge.dispute.funds_reinstated", dispute("won", balance_transactions=[taken, back])))
    )
    assert heard.outcome.dispute and heard.outcome.dispute.taken, "the fee stays with Stripe"
    free = [{**taken, "net": -1250, "fee": 0}, back]
    heard = CHANNEL.notice(inbound(event("charge.dispute.closed", dispute("won", balance_transactions=free))))
    assert heard.outcome.dispute and not heard.outcome.dispute.taken


def test_a_connected_accounts_event_names_it():
    assert CHANNEL.notice(inbound({**PAID, "account": "acct_other"})).outcome.account_ref == "acct_other"


# --- who is believed


def test_both_secrets_while_one_is_rolled():
    both = adapter(previous_webhook_secret=OLD)
    body = GOOD.body
    for signed in ([signature(body)], [signature(body, secret=OLD)], ["v1=00", signature(body, secret=OLD), "v0=1"]):
        assert both.notice(inbound(body, *signed)).outcome.key == KEY
    with pytest.raises(BadSignature):
        CHANNEL.notice(inbound(body, signature(body, secret=OLD)))


def test_five_minutes_and_no_more():
    for apart in (-300, 0, 300):
        assert CHANNEL.notice(inbound(PAID, received=NOW + timedelta(seconds=apart)))
    for apart in (-301, 301, 86_400):
        with pytest.raises(BadSignature):
            CHANNEL.notice(inbound(PAID, received=NOW + timedelta(seconds=apart)))


def header(text: str) -> Inbound:
    return Inbound({"stripe-signature": text}, GOOD.body, "", NOW)


RIGHT = signature(GOOD.body)


@pytest.mark.parametrize(
    "told",
    [
        Inbound({}, GOOD.body, "", NOW),
        Inbound(GOOD.headers, GOOD.body + b" ", "", NOW),
        Inbound(GOOD.headers, b"", "", NOW),
        inbound(GOOD.body, signature(GOOD.body, secret="whsec_stranger")),
        inbound(GOOD.body, signature(GOOD.body, scheme="v0")),
        inbound(GOOD.body, signature(GOOD.body, AT - 1)),
        header(""),
        header(f"t={AT}"),
        header(RIGHT),
        header(f"t=,{RIGHT}"),
        header(f"t={AT}x,{RIGHT}"),
        header(f"t=-{AT},{RIGHT}"),
        header(f"t={AT},t={AT},{RIGHT}"),
        header(f"t={'9' * 400},{RIGHT}"),
        header(f"t=\u0661,{RIGHT}"),
        header(f"t={AT},v1="),
        header(f"t={AT},v1=\udcff"),
        header(f"t={AT},{RIGHT.upper()}"),
        header(f"t={AT},{RIGHT[:-2]}"),
        header(f"t={AT}," + ",".join(["v1=00"] * 50) + f",{RIGHT}"),
    ],
    ids=lambda told: "",
)
def test_nobody_else_is_believed(told):
    with pytest.raises(BadSignature):
        CHANNEL.notice(told)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"id":"evt_1","id":"evt_2"}',
        event("customer.created", {}),
        event("payment_intent.partially_funded", intent()),
        event("payment_intent.succeeded", None),
        event("payment_intent.succeeded", "pi_1"),
        event("payment_intent.succeeded", refund()),
        event("payment_intent.succeeded", intent(amount=True)),
        event("payment_intent.succeeded", intent(amount=2**63)),
        event("payment_intent.succeeded", intent(metadata={"guilder_key": 7})),
        event("payment_intent.succeeded", intent(metadata={"guilder_key": "a\u0000b"})),
        event("payment_intent.succeeded", intent(metadata={"guilder_key": "\ud83d"})),
        event("payment_intent.succeeded", UNEXPANDED, created=10**18),
        event("payment_intent.succeeded", UNEXPANDED, id=None),
        event("refund.updated", refund(amount="500")),
        event("payout.paid", payout(arrival_date=-1)),
        event("charge.dispute.created", dispute("something_new")),
        event("charge.dispute.created", dispute(balance_transactions=[{}])),
    ],
    ids=lambda body: "",
)
def test_signed_and_not_of_the_form(body):
    with pytest.raises(Unreadable):
        CHANNEL.notice(inbound(body))


def test_what_to_register_for_is_what_is_read():
    things = {"payment_intent": intent(), "refund": refund(), "payout": payout(), "charge": dispute()}
    for type in EVENTS:
        assert CHANNEL.notice(inbound(event(type, things[type.split(".")[0]]))).event_id == "evt_1"
    assert SECRET not in repr(CHANNEL.config) and all(type in CHANNEL.info.extra["callbacks"] for type in EVENTS)


def test_it_is_sent_again_unless_it_is_stored():
    assert CHANNEL.ack(True).status == 200 and CHANNEL.ack(False).status == 500
