"""Alipay's certificates, keys that are replaced, and partners: who is believed, and how a call says who asks."""

import base64

import pytest
from alipay_side import (
    APP_ID,
    adapter,
    asked,
    callback,
    certificate,
    certified,
    config,
    failed,
    notice,
    number,
    ok,
    public_der,
    reply,
    trade,
)
from scripted import converse, create, query
from wechat_side import Watch, public_pem

from guilder.channels.model import BadSignature, Inbound, NeedsTrust, State
from guilder.core.exchange import HttpReply, NotSent, Silence

OURS, THEIRS, NEXT = number("root", 11), number("root", 22), number("root", 23)


def certified_reply(by: str, signer: str) -> HttpReply:
    return reply("trade_query", {"code": "10000", **trade()}, signer, by=by)


def download(*pems: str, inner: bytes | None = None) -> HttpReply:
    """Alipay does not sign this reply."""
    content = base64.b64encode("".join(pems).encode()).decode()
    node = inner or b'{"code":"10000","msg":"Success","alipay_cert_content":"%s"}' % content.encode()
    return HttpReply(200, {}, b'{"alipay_open_app_alipaycert_download_response":%s}' % node)


def test_a_call_names_our_certificate_and_the_rsa_roots():
    outcome, [call] = converse(certified().ask(query("page")), certified_reply(THEIRS, "platform"))
    assert outcome.state is State.SUCCEEDED
    params, _ = asked(call)
    assert params["app_cert_sn"] == OURS
    assert params["alipay_root_cert_sn"] == f"{number('root', 33)}_{number('root', 44)}"


def test_a_signed_address_names_them_too():
    outcome, _ = converse(certified().ask(create("page")))
    assert f"app_cert_sn={OURS}" in outcome.next.url


@pytest.mark.parametrize("chain", [("next",), ("next", "root")])
def test_a_certificate_that_nobody_has_seen_is_fetched_and_believed_if_a_root_vouches_for_it(chain):
    channel = certified()
    pems = [certificate(name, serial=23 if name == "next" else 33, ca=name == "root") for name in chain]
    outcome, [_, fetch] = converse(channel.ask(query("page")), certified_reply(NEXT, "next"), download(*pems))
    assert outcome.state is State.SUCCEEDED
    params, content = asked(fetch)
    assert (params["method"], content) == ("alipay.open.app.alipaycert.download", {"alipay_cert_sn": NEXT})
    outcome, _ = converse(channel.ask(query("page")), certified_reply(NEXT, "next"))
    assert outcome.state is State.SUCCEEDED, "it is remembered"
    outcome, _ = converse(channel.ask(query("page")), certified_reply(THEIRS, "platform"))
    assert outcome.state is State.SUCCEEDED, "and so is the old one"


def test_a_certificate_below_another():
    middle = certificate("middle", serial=7, ca=True)
    leaf, name = certificate("next", by="middle", serial=24), number("middle", 24)
    outcome, _ = converse(certified().ask(query("page")), certified_reply(name, "next"), download(leaf, middle))
    assert outcome.state is State.SUCCEEDED
    for answer in (download(leaf), download(leaf, certificate("middle", serial=7))):  # not there, no authority
        outcome, _ = converse(certified().ask(query("page")), certified_reply(name, "next"), answer)
        assert outcome.state is State.UNKNOWN


@pytest.mark.parametrize(
    "answer",
    [
        download(certificate("next", by="stranger", serial=23)),  # nobody vouches for it
        download(certificate("next", serial=24)),  # another
        download(certificate("next", serial=23, owner="A merchant")),  # the same roots vouch for every merchant's
        download("nothing"),
        download(inner=b'{"code":"10000","alipay_cert_content":"%%%"}'),
        download(inner=b'{"code":"10000","alipay_cert_content":7}'),
        download(inner=b'{"code":"40004","sub_code":"isv.alipay-cert-not-exist"}'),
        HttpReply(502, {}, b"<html>"),
        HttpReply(200, {}, b"?"),
        NotSent("refused"),
        Silence("reset"),
    ],
)
def test_C3_a_certificate_that_cannot_be_believed_leaves_the_reply_unheard(answer):
    outcome, calls = converse(
        certified().ask(create("precreate")), reply("trade_precreate", {"code": "10000"}, "next", by=NEXT), answer
    )
    assert outcome.state is State.UNKNOWN, "the first call was sent, whatever became of the second"
    assert len(calls) == 2


def test_a_certificate_is_asked_for_once_a_minute():
    watch = Watch()
    channel = certified(watch)
    for expected in (2, 1):
        answers = [certified_reply(NEXT, "next"), Silence()][:expected]
        outcome, calls = converse(channel.ask(query("page")), *answers)
        assert outcome.state is State.UNKNOWN and len(calls) == expected
    watch.forward(seconds=61)
    good = download(certificate("next", serial=23))
    outcome, _ = converse(channel.ask(query("page")), certified_reply(NEXT, "next"), good)
    assert outcome.state is State.SUCCEEDED


def test_an_expired_certificate_vouches_for_nothing():
    watch = Watch()
    channel = certified(watch)
    watch.forward(days=400)
    answers = certified_reply(NEXT, "next"), download(certificate("next", serial=23))
    outcome, _ = converse(channel.ask(query("page")), *answers)
    assert outcome.state is State.UNKNOWN


@pytest.mark.parametrize("by", ["", "not-a-number", THEIRS.upper(), THEIRS])
def test_a_reply_that_another_key_signed(by):
    outcome, calls = converse(certified().ask(query("page")), certified_reply(by, "stranger"))
    assert outcome.state is State.UNKNOWN and len(calls) == 1


def test_a_certificate_cannot_speak_for_another():
    both = certificate("platform", serial=22) + certificate("next", serial=23)
    channel = certified(alipay_cert=both)
    assert converse(channel.ask(query("page")), certified_reply(NEXT, "next"))[0].state is State.SUCCEEDED
    assert converse(channel.ask(query("page")), certified_reply(NEXT, "platform"))[0].state is State.UNKNOWN


def test_a_callback_that_names_no_certificate_is_verified_with_those_that_are_known():
    channel = certified()
    assert channel.notice(notice(callback())).outcome.state is State.SUCCEEDED
    with pytest.raises(BadSignature):
        channel.notice(notice(callback(), "next"))


def test_a_callback_that_names_one_that_is_not():
    channel = certified()
    heard = notice(callback(alipay_cert_sn=""), "next")
    named = Inbound(heard.headers, heard.body.replace(b"alipay_cert_sn=&", b"alipay_cert_sn=%s&" % NEXT.encode()))
    with pytest.raises(NeedsTrust):
        channel.notice(named)
    assert converse(channel.refresh_trust(), download(certificate("next", serial=23)))[0] is True
    assert channel.notice(named).outcome.state is State.SUCCEEDED


@pytest.mark.parametrize(
    "changes",
    [
        {"app_cert": ""},
        {"alipay_cert": " "},
        {"root_cert": ""},
        {"app_cert": certificate("stranger", serial=11)},  # of another key
        {"app_cert": public_pem("merchant")},
        {"alipay_cert": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"},
        {"root_cert": public_pem("root")},
    ],
    ids=lambda _: "",
)
def test_certificates_that_make_no_channel(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        certified(**changes)


def test_while_a_key_is_replaced_either_counts():
    channel = adapter(alipay_public_key=f"{public_der('platform')}, {public_der('next')}")
    for signer in ("platform", "next"):
        answer = reply("trade_query", {"code": "10000", **trade()}, signer)
        assert converse(channel.ask(query("page")), answer)[0].state is State.SUCCEEDED
        assert channel.notice(notice(callback(), signer)).outcome.state is State.SUCCEEDED
    answer = reply("trade_query", {"code": "10000", **trade()}, "stranger")
    assert converse(channel.ask(query("page")), answer)[0].state is State.UNKNOWN


# --- partners


def test_a_partner_says_for_whom_it_asks():
    partner = adapter(app_auth_token="202611BBgrant")
    _, [call] = converse(partner.ask(create("precreate")), ok("trade_precreate", out_trade_no="x", qr_code="q"))
    params, order = asked(call)
    assert (params["app_id"], params["app_auth_token"]) == (APP_ID, "202611BBgrant")
    assert order["seller_id"] == partner.config.account_ref, "the merchant's, not the partner's"
    page, _ = converse(partner.ask(create("page")))
    assert "app_auth_token=202611BBgrant" in page.next.url
    assert "202611BBgrant" not in repr(config(app_auth_token="202611BBgrant"))


def test_a_grant_that_has_ended_refuses_before_anything_is_done():
    partner = adapter(app_auth_token="202611BBgrant")
    refused = failed("trade_precreate", "aop.invalid-app-auth-token", "20001")
    outcome, _ = converse(partner.ask(create("precreate")), refused)
    assert outcome.state is State.FAILED and outcome.problem.channel_code == "aop.invalid-app-auth-token"
    refused = failed("trade_query", "aop.invalid-app-auth-token", "20001")
    assert converse(partner.ask(query("page")), refused)[0].state is State.UNKNOWN
