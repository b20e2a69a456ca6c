"""Channels by their code: what they ask to be told, and what they refuse to be made of."""

import msgspec
import pytest
from alipay_side import config as alipay_config
from alipay_side import private_der, public_der
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from scripted import converse, create
from unionpay_side import config as unionpay_config
from wechat_side import config as wechat_config
from wechat_side import key, private_pem, public_pem

from guilder.channels.registry import CHANNELS, make
from guilder.core.amount import Amount

WECHAT = {name: value for name, value in msgspec.structs.asdict(wechat_config()).items() if value and name != "mode"}
CONFIG = {
    "wechatpay": WECHAT,
    "alipay": msgspec.structs.asdict(alipay_config(app_auth_token="202611BBgrant0001")),
    "unionpay": msgspec.structs.asdict(unionpay_config()),
}
MAY_BE_EMPTY = {"app_cert", "alipay_cert", "root_cert", "app_auth_token"}  # of Alipay's, where keys are trusted
MAY_BE_MISSING = MAY_BE_EMPTY | {"mode", "oauth_url"}
SMALL = rsa.generate_private_key(65537, 1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
CURVE = ec.generate_private_key(ec.SECP256R1())
CURVED = CURVE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
CURVED_PUBLIC = CURVE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
LOCKED = key("merchant").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()
SECRETS = {
    "wechatpay": ("private_key", "apiv3_key", "app_secret"), "alipay": ("private_key", "app_auth_token"), "unionpay": ("private_key",),
}  # fmt: skip


@pytest.mark.parametrize("code", CONFIG)
def test_each_is_made_of_its_fields(code):
    kind = CHANNELS[code]
    assert make(code, CONFIG[code]).info is kind.info and kind.info.code == code
    assert [f.name for f in kind.fields][: len(CONFIG[code])] == list(CONFIG[code]), "and what may be left out"
    assert tuple(f.name for f in kind.fields if f.secret) == SECRETS[code]
    assert all(f.hint for f in kind.fields)


def test_trust_is_a_choice():
    [trust] = [f for f in CHANNELS["wechatpay"].fields if f.name == "trust"]
    assert trust.choices == ("public_key", "certificate")


@pytest.mark.parametrize("code", CONFIG)
def test_a_secret_shows_up_nowhere(code):
    given = CONFIG[code] | {name: f"the secret {name}" for name in SECRETS[code] if name not in CONFIG[code]}
    config = msgspec.convert(given, CHANNELS[code].config)
    for name in SECRETS[code]:
        assert given[name] not in repr(config) + str(config) + f"{config}"
    assert config.account_ref in repr(config)


BAD = [
    *(("wechatpay", name, value) for name in CONFIG["wechatpay"] for value in ("", " ", None, 7)),
    *(
        ("alipay", name, value)
        for name in CONFIG["alipay"]
        for value in ("", "\n", None, 7)
        if value in (None, 7) or name not in MAY_BE_EMPTY
    ),
    *(
        (code, "private_key", bad)
        for code in CONFIG
        for bad in ("x", "====", SMALL, CURVED, LOCKED, public_pem("merchant"))
    ),
    *((code, "private_key", private_pem("merchant")[:-300]) for code in CONFIG),
    ("wechatpay", "public_key", private_pem("merchant")),
    ("wechatpay", "public_key", CURVED_PUBLIC),
    ("alipay", "alipay_public_key", CURVED_PUBLIC),
    ("alipay", "alipay_public_key", private_der("merchant")),
    ("wechatpay", "apiv3_key", "0" * 31),
    ("wechatpay", "apiv3_key", "零" * 32),
    ("wechatpay", "trust", "nobody"),
    ("wechatpay", "base_url", "api.mch.weixin.qq.com"),
    ("alipay", "gateway", "file:///etc/passwd"),
    ("alipay", "gateway", "https://"),
    ("alipay", "mode", "certificates"),
    ("alipay", "alipay_public_key", f"{public_der('platform')},x"),
    ("alipay", "unheard_of", "x"),
    *(("unionpay", name, value) for name in CONFIG["unionpay"] for value in ("", "\n", None, 7)),
    ("unionpay", "mer_id", "77729005811004"),
    ("unionpay", "mer_id", "7772900581100-8"),
    ("unionpay", "stage", "live"),
    ("unionpay", "certificate", public_pem("merchant")),
    ("unionpay", "root_certificate", CONFIG["unionpay"]["certificate"]),
    ("unionpay", "middle_certificate", CONFIG["unionpay"]["certificate"][:300]),
    ("unionpay", "file_url", "filedownload.95516.com"),
]


@pytest.mark.parametrize(("code", "name", "value"), BAD, ids=lambda _: "")
def test_an_empty_or_malformed_field_makes_no_channel(code, name, value):
    with pytest.raises(ValueError) as caught:
        make(code, {**CONFIG[code], name: value})
    assert name in str(caught.value)
    assert not (isinstance(value, str) and len(value) > 30 and value in str(caught.value)), "it repeats no secret"


@pytest.mark.parametrize("code", CONFIG)
def test_a_missing_field_makes_no_channel(code):
    for name in (f for f in CONFIG[code] if not f.startswith(("public_key", "stage")) and f not in MAY_BE_MISSING):
        with pytest.raises(ValueError, match=name):
            make(code, {k: v for k, v in CONFIG[code].items() if k != name})


@pytest.mark.parametrize(
    ("private", "public"),
    [
        (private_pem("merchant"), public_pem("platform")),
        (private_der("merchant"), public_der("platform")),
        (private_der("merchant", PrivateFormat.PKCS8), public_der("platform")),
        ("\n".join([private_der("merchant")[:64], private_der("merchant")[64:], ""]), public_der("platform") + "\n"),
    ],
)
def test_keys_come_in_the_forms_in_which_channels_hand_them_out(private, public):
    assert make("alipay", CONFIG["alipay"] | {"private_key": private, "alipay_public_key": public})


def test_certificates_need_no_public_key():
    bare = CONFIG["wechatpay"] | {"trust": "certificate", "public_key": "", "public_key_id": ""}
    assert make("wechatpay", bare)
    for half in ({"public_key": public_pem("platform")}, {"public_key_id": "PUB_KEY_ID_1"}):
        with pytest.raises(ValueError, match="public_key"):
            make("wechatpay", bare | half)


@pytest.mark.parametrize("code", CONFIG)
def test_what_the_channel_cannot_do_is_never_asked(code):
    channel = make(code, CONFIG[code])
    for ask in (create("carrier-pigeon"), create(channel.info.ways[0].name, amount=Amount(1, "USD"))):
        with pytest.raises(AssertionError):
            converse(channel.ask(ask))
