"""PayPal conversations about payouts and disputes."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from paypal_side import BATCH, adapter, batch, complaint, reply, talk
from scripted import KEY, NOW, converse

from guilder.channels.model import CreatePayout, DisputeState, QueryPayout, Retry, State, SubmitEvidence
from guilder.channels.paypal import states
from guilder.core.amount import cny

PAYOUT = CreatePayout(KEY, cny(1250), {"email": "a@example.com"}, "奖金", "", NOW)


def sent(call: Any) -> Any:
    return json.loads(call.body)


# --- payouts


def test_a_payout_is_a_batch_of_one():
    outcome, [call] = talk(PAYOUT, reply(201, batch("PENDING", None)))
    assert urlsplit(call.url).path == "/v1/payments/payouts"
    assert sent(call) == {
        "sender_batch_header": {"sender_batch_id": KEY, "email_subject": "奖金"},
        "items": [
            {"recipient_type": "EMAIL", "receiver": "a@example.com", "amount": {"value": "12.50", "currency": "CNY"}, "sender_item_id": KEY, "note": "奖金"}
        ],
    }  # fmt: skip
    assert (outcome.state, outcome.memo) == (State.PENDING, f"B:{BATCH}")


def test_a_payout_that_was_made_before_is_looked_up():
    said = reply(400, {
        "name": "USER_BUSINESS_ERROR", "message": "User business error.", "debug_id": "f05063556a338", "links": [],
        "details": [{"field": "SENDER_BATCH_ID", "issue": "Batch with given sender_batch_id already exists",
                     "link": [{"href": f"https://elsewhere.example/v1/payments/payouts/{BATCH}", "rel": "self", "method": "GET"}]}],
    })  # fmt: skip
    outcome, [_, look] = talk(PAYOUT, said, reply(200, batch()))
    assert look.url == f"https://api-m.paypal.com/v1/payments/payouts/{BATCH}", "whatever host the link names"
    assert (outcome.state, outcome.key, outcome.amount, outcome.fee) == (State.SUCCEEDED, KEY, cny(1250), cny(25))


@pytest.mark.parametrize(("word", "state"), [*states.PAYOUT_STATE.items(), ("NEW_WORD", State.UNKNOWN)])
def test_what_a_payout_amounts_to(word, state):
    outcome, _ = talk(QueryPayout(KEY, cny(1250), NOW, f"B:{BATCH}"), reply(200, batch(item=word)))
    assert (outcome.state, outcome.memo) == (state, f"B:{BATCH}")
    assert (outcome.problem is not None) == (state in (State.FAILED, State.CLOSED))


@pytest.mark.parametrize(
    ("word", "state"),
    [("DENIED", State.FAILED), ("CANCELED", State.CLOSED), ("PROCESSING", State.PENDING), ("NEW_WORD", State.UNKNOWN)],
)
def test_what_a_batch_without_an_item_amounts_to(word, state):
    outcome, _ = talk(QueryPayout(KEY, cny(1250), NOW, f"B:{BATCH}"), reply(200, batch(word, None)))
    assert outcome.state is state


def test_a_payout_is_refused_by_name_alone_too():
    outcome, _ = talk(
        PAYOUT, reply(422, {"name": "INSUFFICIENT_FUNDS", "message": "Sender does not have sufficient funds."})
    )
    assert (outcome.state, outcome.problem.decline_code, outcome.problem.retry) == (
        State.FAILED,
        "insufficient_funds",
        Retry.SAME_KEY,
    )
    for payee in ({}, {"email": "a@example.com", "phone": "1"}):
        outcome, calls = converse(adapter().ask(replace(PAYOUT, payee=payee)))
        assert (outcome.state, calls) == (State.FAILED, [])


# --- disputes


def test_evidence_is_sent_and_what_follows_is_told():
    told = {"shipping_carrier": "UPS", "shipping_tracking_number": "1Z", "uncategorized_text": "was delivered"}
    answers = (reply(200, complaint()), reply(200, {"links": []}), reply(200, complaint("UNDER_REVIEW")))
    outcome, [_, call, _] = talk(SubmitEvidence("PP-D-4012", told), *answers)
    assert urlsplit(call.url).path == "/v1/customer/disputes/PP-D-4012/provide-evidence"
    part = json.loads(call.body.split(b"\r\n\r\n")[1].split(b"\r\n--")[0])
    assert part == {"evidences": [{
        "evidence_type": "PROOF_OF_FULFILLMENT",
        "evidence_info": {"tracking_info": [{"carrier_name": "UPS", "tracking_number": "1Z"}]},
        "notes": "uncategorized text: was delivered",
    }]}  # fmt: skip
    assert outcome.dispute and outcome.dispute.state is DisputeState.UNDER_REVIEW


def test_giving_in():
    lost = complaint("RESOLVED", dispute_outcome={"outcome_code": "ACCEPTED"})
    outcome, [_, call, _] = talk(
        SubmitEvidence("PP-D-4012", {}, accept=True), reply(200, complaint()), reply(200, {}), reply(200, lost)
    )
    assert urlsplit(call.url).path.endswith("/accept-claim") and sent(call)["accept_claim_type"] == "REFUND"
    assert outcome.dispute and (outcome.dispute.state, outcome.dispute.taken) == (DisputeState.LOST, True)


def test_what_was_answered_before_is_not_answered_twice():
    outcome, [call] = talk(SubmitEvidence("PP-D-4012", {}), reply(200, complaint("UNDER_REVIEW")))
    assert (call.method, outcome.dispute.state) == ("GET", DisputeState.UNDER_REVIEW)
