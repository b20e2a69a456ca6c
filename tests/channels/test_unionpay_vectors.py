"""UnionPay's signature, held by what its gateway really sent and by vectors that separate code makes from the specification.

No client that nobody here wrote is right (see `unionpay_side`), so these stand where other channels have one.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import NOW
from unionpay_side import TEST_GATEWAY, UNIONPAY, as_sent, body, certificate, letters, middle, root, rsa_sign, signing
from wechat_side import key, private_pem

from golden import BESIDE, lacking
from guilder.channels.signing import Signer, Verifier
from guilder.channels.unionpay.sign import read_reply, signed_text
from guilder.channels.unionpay.trust import Trust, Untrusted, owner_of, read_certificate

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
needs_golden = pytest.mark.skipif(lacking(GOLDEN / "unionpay_sign.pem"), reason=BESIDE)


def really_sent(number: int) -> tuple[bytes, bytes]:
    """A reply of UnionPay's test gateway, put together again, and its certificate."""
    text, signature = (GOLDEN / f"unionpay_query_reply_{number}.txt").read_text("utf-8").splitlines()[:2]
    pem = as_sent((GOLDEN / "unionpay_sign.pem").read_text())
    return f"{text}&signature={signature}&signPubKeyCert={pem}".encode(), pem.encode()


@needs_golden
@pytest.mark.parametrize("number", [1, 2])
def test_what_the_gateway_really_sent_verifies_and_not_if_a_byte_differs(number):
    reply, pem = really_sent(number)
    verifier = Verifier(read_certificate(pem.decode(), "golden").public_key())  # type: ignore[arg-type]

    def verifies(reply: bytes) -> bool:
        fields = read_reply(reply)
        return verifier.verify(signed_text(fields), bytes(fields["signature"]).decode())

    assert verifies(reply)
    assert not verifies(reply.replace(b"\r\n", b"\n")), "the line ends of the certificate are signed"
    assert not verifies(reply.replace(b"respCode=", b"respCode=1"))
    assert not verifies(reply + b"\r\n")


@needs_golden
def test_the_real_certificate_names_its_owner_and_is_out_of_date():
    pem = (GOLDEN / "unionpay_sign.pem").read_text()
    real = read_certificate(pem, "golden")
    assert owner_of(real) == "00040000:SIGN" and real.not_valid_after_utc < datetime(2020, 12, 1, tzinfo=UTC)
    with pytest.raises(Untrusted):
        Trust(root(), middle(), "test").verifier(pem.encode(), NOW)


@needs_golden
def test_a_real_reply_is_taken_apart_at_its_brackets():
    fields = {name: bytes(value).decode() for name, value in read_reply(really_sent(1)[0]).items()}
    assert (fields["origRespCode"], fields["respMsg"], fields["txnAmt"]) == ("05", "成功[0000000]", "1")
    assert fields["signature"].endswith("==") and "+" in fields["signature"]


names = st.text("abcXYZ", min_size=1, max_size=8)
values = st.text(st.characters(codec="utf-8", exclude_characters="&={}[]"), max_size=20)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(names, values, max_size=8))
def test_what_is_signed_is_what_the_specification_says(params):
    assert signed_text({name: value.encode() for name, value in params.items()}) == letters(params)


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=100))
def test_signatures_agree_with_rsa_written_out_in_numbers(message):
    written_out = rsa_sign("merchant", message)
    assert Signer(private_pem("merchant")).sign(message) == written_out, "PKCS #1 v1.5 has one signature of a text"
    assert Verifier(key("merchant").public_key()).verify(message, written_out)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        names, values | values.map("{{a=b&c={}}}".format) | values.map("[x&{}=y]".format), min_size=1, max_size=8
    )
)
def test_values_come_back_whole_whatever_stands_in_their_brackets(params):
    assert {n: bytes(v).decode() for n, v in read_reply(body(params)).items()} == params


@pytest.mark.parametrize(
    "text", [b"", b"a", b"a=1&", b"a=1&a=2", b"a={1", b"a=[1}&b=2", b"\xff=1", b"&a=1", b"<html></html>"]
)
def test_what_is_no_reply_is_a_value_error(text):
    with pytest.raises(ValueError):
        read_reply(text)


# --- whose certificate


def trusts(pem: str, *, stage: str = "production", at: datetime = NOW, between: str = "") -> bool:
    try:
        return bool(Trust(root(), between or middle(), stage).verifier(as_sent(pem).encode(), at))
    except Untrusted:
        return False


def test_unionpays_certificate_is_believed_and_the_test_gateways_only_there():
    assert trusts(signing(UNIONPAY)) and trusts(signing(UNIONPAY), stage="test")
    assert trusts(signing(TEST_GATEWAY), stage="test") and not trusts(signing(TEST_GATEWAY))


@pytest.mark.parametrize(
    "owner",
    [
        "041@Z2026@777290058110048:MERCHANT@1",  # another customer of the same authority
        "中国银联股份有限公司",
        "@中国银联股份有限公司@",
        "041@x@ 中国银联股份有限公司@1",
        "041@x",
        "a@b@00040000:SIGN@1",
    ],
)
def test_another_owner_is_not_believed(owner):
    assert not trusts(signing(owner))


def test_another_authority_is_not_believed():
    assert not trusts(certificate(UNIONPAY, "platform", "middle", "stranger"))
    assert not trusts(certificate(UNIONPAY, "platform", "stranger", "stranger"))
    assert not trusts(certificate(UNIONPAY, "platform", "root", "root")), (
        "the middle certificate is the one that issues"
    )
    assert not trusts(root()) and not trusts(middle())
    assert not trusts("") and not trusts("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----")


def test_a_certificate_is_believed_in_its_time_only_each_time():
    trust = Trust(root(), middle(), "production")
    pem = as_sent(signing(days=(-1, 10))).encode()
    assert trust.verifier(pem, NOW)
    for at in (NOW - timedelta(days=2), NOW + timedelta(days=11)):
        with pytest.raises(Untrusted):
            trust.verifier(pem, at)
    assert not trusts(signing(), between=middle(days=(-10, -5)))


def test_the_configured_certificates_must_be_a_chain():
    with pytest.raises(ValueError, match="root_certificate"):
        Trust(certificate("root", "stranger", "root", "stranger"), middle(), "production")
    with pytest.raises(ValueError, match="middle_certificate"):
        Trust(root(), "x", "production")
