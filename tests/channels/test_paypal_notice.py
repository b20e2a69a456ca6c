"""PayPal's webhooks: whose signature counts, and what each event tells."""

import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest
from paypal_side import (
    AUTHORIZATION,
    CAPTURE,
    CERTIFICATE_AT,
    MEMO,
    MERCHANT,
    ORDER,
    REFUND,
    adapter,
    authority,
    batch,
    captured,
    certificate,
    chain,
    complaint,
    config,
    held,
    order,
    payout_item,
    pem,
    refunded,
    trusting,
    webhook,
)
from scripted import KEY, NOW, REFUND_KEY, converse
from wechat_side import Watch

from guilder.channels.model import BadSignature, DisputeState, NeedsTrust, State, Subject, Unreadable
from guilder.channels.paypal import PayPal
from guilder.core.amount import cny
from guilder.core.exchange import HttpReply, NotSent, Silence

APPROVED = webhook("CHECKOUT.ORDER.APPROVED", order("APPROVED"))


def test_a_certificate_is_fetched_once_from_where_it_must_lie():
    channel = adapter()
    with pytest.raises(NeedsTrust):
        channel.notice(APPROVED)
    learnt, [call] = converse(channel.refresh_trust(), chain())
    assert learnt and (call.method, call.url) == ("GET", CERTIFICATE_AT) and "Authorization" not in call.headers
    assert channel.notice(APPROVED).outcome.key == KEY
    assert converse(channel.refresh_trust()) == (True, []), "nothing is wanted any more"


PLACES = [
    "https://evil.example/v1/notifications/certs/CERT-1",
    "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
    "https://evil.example/?https://api.paypal.com/v1/notifications/certs/CERT-1",
    "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
    "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
    "http://api.paypal.com/v1/notifications/certs/CERT-1",
    "https://api.paypal.com/v1/notifications/certs/../../upload/CERT-1",
    "https://api.paypal.com/v1/notifications/certs/%2e%2e/CERT-1",
    "https://api.paypal.com/v1/notifications/certs/CERT-1?x=y",
    "https://api.paypal.com/v1/notifications/certs/CERT-1#x",
    "https://api.paypal.com/open?to=/v1/notifications/certs/",
    "https://API.PAYPAL.COM.evil.example/v1/notifications/certs/CERT-1",
    "https://[::1/v1/notifications/certs/CERT-1",
    "file:///v1/notifications/certs/CERT-1",
    "https://api.paypal.com/v1/notifications/certs/" + "x" * 300,
    "",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_certificate_from_anywhere_else_is_never_fetched(place):
    channel = adapter()
    with pytest.raises(BadSignature):
        channel.notice(webhook("CHECKOUT.ORDER.APPROVED", order("APPROVED"), paypal_cert_url=place))
    assert converse(channel.refresh_trust()) == (True, [])


def worthless() -> dict[str, HttpReply]:
    return {
        "of nobody's": HttpReply(200, {}, b"<html>"),
        "empty": HttpReply(200, {}, b""),
        "not there": HttpReply(404, {}, pem(certificate()).encode()),
        "by a stranger": chain(certificate(by="stranger"), authority("stranger")),
        "by itself": chain(authority("paypal")),
        "of another name": chain(certificate("api.evil.example"), authority("authority")),
        "of a name that only looks alike": chain(
            certificate("messageverificationcerts.paypal.com.evil.example"), authority("authority")
        ),
        "of a name that only ends alike": chain(certificate("evilpaypal.com"), authority("authority")),
        "over": chain(certificate(days=-0.5), authority("authority")),
        "the authority's own": chain(authority("authority")),
    }


@pytest.mark.parametrize("which", worthless())
def test_a_certificate_that_nobody_trusted_vouches_for_counts_for_nothing(which):
    watch = Watch()
    channel = adapter(watch)
    with pytest.raises(NeedsTrust):
        channel.notice(APPROVED)
    learnt, _ = converse(channel.refresh_trust(), worthless()[which])
    assert not learnt
    with pytest.raises(BadSignature):  # and it is not fetched again at once, whoever sends it
        channel.notice(APPROVED)
    watch.forward(seconds=61)
    with pytest.raises(NeedsTrust):
        channel.notice(APPROVED)


@pytest.mark.parametrize("fault", [NotSent("x"), Silence("x")])
def test_no_answer_is_no_certificate(fault):
    channel = adapter()
    with pytest.raises(NeedsTrust):
        channel.notice(APPROVED)
    assert converse(channel.refresh_trust(), fault)[0] is False


def test_a_certificate_ends_with_its_time():
    watch = Watch()
    channel = trusting(watch)
    watch.forward(days=366)
    with pytest.raises(NeedsTrust):
        channel.notice(APPROVED)


def test_strangers_make_us_fetch_little():
    channel, wanted = adapter(), 0
    for n in range(50):
        try:
            channel.notice(webhook("X", {}, paypal_cert_url=f"{CERTIFICATE_AT}{n}"))
        except NeedsTrust:
            wanted += 1
        except BadSignature:
            continue
    assert wanted == 10


def test_however_many_strangers_come_PayPals_own_gets_its_turn():
    watch = Watch()
    channel = adapter(watch)
    for n in range(50):
        with contextlib.suppress(NeedsTrust, BadSignature):
            channel.notice(webhook("X", {}, paypal_cert_url=f"{CERTIFICATE_AT}{n}"))
        converse(channel.refresh_trust(), *[HttpReply(404, {}, b"")][: n < 10])
    with pytest.raises(BadSignature):
        channel.notice(APPROVED)
    watch.forward(seconds=2)
    with pytest.raises(NeedsTrust):
        channel.notice(APPROVED)
    assert converse(channel.refresh_trust(), chain())[0]
    assert channel.notice(APPROVED).outcome.key == KEY


def test_silence_is_asked_about_again_soon():
    watch = Watch()
    channel = adapter(watch)
    with pytest.raises(NeedsTrust):
        channel.notice(APPROVED)
    converse(channel.refresh_trust(), Silence("x"))
    with pytest.raises(BadSignature):
        channel.notice(APPROVED)
    watch.forward(seconds=4)
    with pytest.raises(NeedsTrust):
        channel.notice(APPROVED)
    assert converse(channel.refresh_trust(), chain())[0]
    assert channel.notice(APPROVED).outcome.key == KEY


def test_a_strangers_address_is_fetched_for_him_alone():
    """Who names one that gives nothing, or that never answers, is waited for by nobody else."""
    channel = adapter()
    with pytest.raises(NeedsTrust):
        channel.notice(webhook("X", {}, paypal_cert_url=f"{CERTIFICATE_AT}-forged"))
    forged = channel.refresh_trust()
    assert next(forged).url == f"{CERTIFICATE_AT}-forged", "it is on its way, and stays there"
    with pytest.raises(NeedsTrust):
        channel.notice(APPROVED)
    learnt, [call] = converse(channel.refresh_trust(), chain())
    assert learnt and call.url == CERTIFICATE_AT
    with pytest.raises(StopIteration) as ended:
        forged.throw(Silence("x"))
    assert ended.value.value is False
    assert channel.notice(APPROVED).outcome.key == KEY


def test_two_that_come_together_both_wait_for_the_certificate():
    channel = adapter()
    for _ in range(2):
        with pytest.raises(NeedsTrust):
            channel.notice(APPROVED)


FORGED = {
    "another's key": webhook("CHECKOUT.ORDER.APPROVED", order("APPROVED"), signer="stranger"),
    "another webhook's": webhook("CHECKOUT.ORDER.APPROVED", order("APPROVED"), webhook_id="1JE4291016473214C"),
    "a changed body": replace(APPROVED, body=APPROVED.body.replace(b"12.50", b"12.51")),
    "one byte more": replace(APPROVED, body=APPROVED.body + b" "),
    "another time": webhook("X", {}, paypal_transmission_time="2026-11-21T04:00:01Z"),
    "another id": webhook("X", {}, paypal_transmission_id="69cd13f0"),
    "no signature": webhook("X", {}, paypal_transmission_sig=""),
    "no base64": webhook("X", {}, paypal_transmission_sig="====%"),
    "another algorithm": webhook("X", {}, paypal_auth_algo="SHA1withRSA"),
    "no algorithm": webhook("X", {}, paypal_auth_algo=""),
    "no id": webhook("X", {}, paypal_transmission_id=""),
    "half a surrogate": webhook("X", {}, paypal_transmission_id="\udc80"),
}


@pytest.mark.parametrize("which", FORGED)
def test_C3_what_does_not_verify_tells_nothing(which):
    with pytest.raises(BadSignature):
        trusting().notice(FORGED[which])


def test_its_age_is_no_reason():
    old = webhook("CHECKOUT.ORDER.APPROVED", order("APPROVED"), at=NOW - timedelta(days=3))
    assert trusting().notice(old).outcome.state is State.PENDING


@pytest.mark.parametrize(
    "changes",
    [{"certificates_at": ""}, {"certificates_at": "https://api.paypal.com/x"}, {"certificates_at": "api.paypal.com"}, {"authority": "x"},
     {"currency": "ZZZ"}, {"base_url": "paypal"}, {"reports_at": "sftp://reports.paypal.com"}, {"client_secret": " "}],
)  # fmt: skip
def test_a_configuration_that_could_not_work_makes_no_channel(changes):
    with pytest.raises(ValueError) as caught:
        PayPal(config(**changes))
    assert next(iter(changes)) in str(caught.value)


def test_secrets_show_up_nowhere():
    made = config(reports_token="very-secret")
    assert made.client_secret not in repr(made) and "very-secret" not in repr(made) and MERCHANT in repr(made)


def test_without_an_authority_of_its_own_this_machines_count():
    channel = adapter(authority="")
    with pytest.raises(NeedsTrust):
        channel.notice(APPROVED)
    assert converse(channel.refresh_trust(), chain())[0] is False


# --- what is told


def told(event: str, resource: object) -> tuple[object, ...]:
    notice = trusting().notice(webhook(event, resource))
    assert notice.event_id == "WH-2WR32451HC0233532-67976317FL4543714"
    outcome = notice.outcome
    return notice.subject, outcome.state, outcome.key, outcome.channel_ref, outcome.memo


PAY, BACK, OUT = Subject.PAYMENT, Subject.REFUND, Subject.PAYOUT
EVENTS = [
    ("CHECKOUT.ORDER.APPROVED", order("APPROVED"), (PAY, State.PENDING, KEY, None, f"O:{ORDER}")),
    ("CHECKOUT.ORDER.COMPLETED", order("COMPLETED", captures=[captured()]), (PAY, State.SUCCEEDED, KEY, CAPTURE, MEMO)),
    ("PAYMENT.CAPTURE.COMPLETED", captured(), (PAY, State.SUCCEEDED, KEY, CAPTURE, MEMO)),
    ("PAYMENT.CAPTURE.PENDING", captured("PENDING"), (PAY, State.PENDING, KEY, CAPTURE, MEMO)),
    ("PAYMENT.CAPTURE.DENIED", captured("DECLINED"), (PAY, State.FAILED, KEY, CAPTURE, MEMO)),
    ("PAYMENT.CAPTURE.COMPLETED", captured(supplementary_data={}), (PAY, State.SUCCEEDED, KEY, CAPTURE, None)),
    ("PAYMENT.AUTHORIZATION.CREATED", held(), (PAY, State.AUTHORISED, KEY, None, f"O:{ORDER};A:{AUTHORIZATION}")),
    ("PAYMENT.AUTHORIZATION.VOIDED", held("VOIDED"), (PAY, State.CLOSED, KEY, None, f"O:{ORDER};A:{AUTHORIZATION}")),
    ("PAYMENT.CAPTURE.REFUNDED", refunded(), (BACK, State.SUCCEEDED, REFUND_KEY, REFUND, f"R:{REFUND}")),
    ("PAYMENT.REFUND.PENDING", refunded("PENDING"), (BACK, State.PENDING, REFUND_KEY, REFUND, f"R:{REFUND}")),
    ("PAYMENT.REFUND.FAILED", refunded("FAILED"), (BACK, State.FAILED, REFUND_KEY, REFUND, f"R:{REFUND}")),
    ("PAYMENT.CAPTURE.REFUNDED", refunded(invoice_id=KEY), (BACK, State.SUCCEEDED, None, REFUND, f"R:{REFUND}")),
    (
        "PAYMENT.PAYOUTS-ITEM.SUCCEEDED",
        payout_item(),
        (OUT, State.SUCCEEDED, KEY, "64C57446KB8735443", "B:5UXD2E8A7EBQJ"),
    ),
    (
        "PAYMENT.PAYOUTS-ITEM.UNCLAIMED",
        payout_item("UNCLAIMED"),
        (OUT, State.PENDING, KEY, "64C57446KB8735443", "B:5UXD2E8A7EBQJ"),
    ),
    ("PAYMENT.PAYOUTSBATCH.DENIED", batch("DENIED", None), (OUT, State.FAILED, KEY, None, "B:5UXD2E8A7EBQJ")),
]


@pytest.mark.parametrize(("event", "resource", "expected"), EVENTS)
def test_each_event_tells_its_own(event, resource, expected):
    assert told(event, resource) == expected


def test_a_refund_names_its_payment():
    assert trusting().notice(webhook("PAYMENT.CAPTURE.REFUNDED", refunded())).payment_key == KEY


DISPUTED = [
    (complaint(), DisputeState.NEEDS_RESPONSE, True),
    (complaint("OPEN", dispute_life_cycle_stage="INQUIRY"), DisputeState.NEEDS_RESPONSE, False),
    (complaint("WAITING_FOR_BUYER_RESPONSE"), DisputeState.UNDER_REVIEW, True),
    (complaint("UNDER_REVIEW"), DisputeState.UNDER_REVIEW, True),
    (complaint("RESOLVED", dispute_outcome={"outcome_code": "RESOLVED_SELLER_FAVOUR"}), DisputeState.WON, False),
    (complaint("RESOLVED", dispute_outcome={"outcome_code": "CANCELED_BY_BUYER"}), DisputeState.WON, False),
    (complaint("RESOLVED", dispute_outcome={"outcome_code": "RESOLVED_BUYER_FAVOUR"}), DisputeState.LOST, True),
]


@pytest.mark.parametrize(("resource", "state", "taken"), DISPUTED)
def test_a_dispute_names_the_payment_and_how_far_it_has_come(resource, state, taken):
    notice = trusting().notice(webhook("CUSTOMER.DISPUTE.UPDATED", resource))
    dispute = notice.outcome.dispute
    assert (notice.subject, notice.outcome.key, notice.outcome.channel_ref) == (Subject.DISPUTE, KEY, CAPTURE)
    assert dispute and (dispute.ref, dispute.state, dispute.amount, dispute.taken) == (
        "PP-D-4012",
        state,
        cny(1250),
        taken,
    )
    assert dispute.reason == "product_not_received" and dispute.due_at


UNREADABLE = [
    ("PAYMENT.CAPTURE.REVERSED", captured()),  # it comes with a dispute, which tells it
    ("BILLING.SUBSCRIPTION.CREATED", {}),
    ("CHECKOUT.ORDER.APPROVED", {}),
    ("CHECKOUT.ORDER.APPROVED", order("APPROVED") | {"purchase_units": []}),
    ("PAYMENT.CAPTURE.COMPLETED", captured() | {"amount": {"currency_code": "ZZZ", "value": "1.00"}}),
    ("PAYMENT.CAPTURE.COMPLETED", captured() | {"amount": {"currency_code": "USD", "value": "1.001"}}),
    ("PAYMENT.CAPTURE.COMPLETED", captured() | {"create_time": "yesterday"}),
    ("PAYMENT.CAPTURE.COMPLETED", captured() | {"id": "3C/../.."}),
    ("PAYMENT.CAPTURE.COMPLETED", captured() | {"id": 7}),
    ("CUSTOMER.DISPUTE.CREATED", complaint("NEW_WORD")),
    ("CUSTOMER.DISPUTE.CREATED", complaint(dispute_amount=None)),
    ("PAYMENT.PAYOUTSBATCH.SUCCESS", {}),
]  # fmt: skip


@pytest.mark.parametrize(("event", "resource"), UNREADABLE)
def test_what_is_signed_and_not_of_the_form_is_unreadable(event, resource):
    with pytest.raises(Unreadable):
        trusting().notice(webhook(event, resource))


def test_the_answers_to_webhooks():
    assert (adapter().ack(True).status, adapter().ack(False).status) == (200, 500)
