"""Forms and JSON by declared type: what is read, and how an error names what is wrong."""

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from stripe._encode import _api_encode
from trial_shop import CreateIntent, ListIntents, UpdateIntent

from guilder.core.errors import Invalid
from guilder.core.page import Between, PageQuery, turn
from guilder.platform.web import merge_metadata
from guilder.platform.web.form import read_form, read_json
from guilder.platform.web.params import reader

GOOD = b"amount=100&currency=cny"


def form(raw: bytes, kind: Any = CreateIntent) -> Any:
    return reader(kind, form=True)(read_form(raw), "")


def json(raw: bytes, kind: Any = CreateIntent) -> Any:
    return reader(kind, form=False)(read_json(raw), "")


def refused(read: Any, raw: bytes) -> tuple[str | None, str | None]:
    with pytest.raises(Invalid) as caught:
        read(raw)
    return caught.value.code, caught.value.param


def test_the_declared_type_decides_what_brackets_mean() -> None:
    body = form(
        GOOD
        + b"&metadata[2024]=x&metadata[0]=y&line_items[0][price_data][currency]=usd&line_items[0][price_data][unit_amount]=5"
    )

    assert body.metadata == {"2024": "x", "0": "y"}
    assert (body.line_items[0].price_data.unit_amount, body.line_items[0].quantity) == (5, 1)


@pytest.mark.parametrize(
    "spelling", ["{0}=wechat_pay&{0}=alipay", "{0}[]=wechat_pay&{0}[]=alipay", "{0}[1]=alipay&{0}[0]=wechat_pay"]
)
def test_a_list_has_three_spellings(spelling: str) -> None:
    body = form(GOOD + b"&" + spelling.format("payment_method_types").encode())

    assert body.payment_method_types == ["wechat_pay", "alipay"]


def test_a_form_and_json_read_the_same() -> None:
    by_form = form(GOOD + b"&confirm=true&metadata[a]=%E5%BE%AE+%26&description=")
    by_json = json(
        '{"amount": 100, "currency": "cny", "confirm": true, "metadata": {"a": "微 &"}, "description": null}'.encode()
    )

    assert by_form == by_json
    assert json(b'{"amount": 100.0, "currency": "cny", "description": ""}').description is None


WRONG = {
    b"": ("parameter_missing", "amount"),
    b"amount=1": ("parameter_missing", "currency"),
    b"amount=0&currency=cny": ("parameter_invalid_integer", "amount"),
    b"amount=-1&currency=cny": ("parameter_invalid_integer", "amount"),
    b"amount=1.5&currency=cny": ("parameter_invalid_integer", "amount"),
    b"amount=1e2&currency=cny": ("parameter_invalid_integer", "amount"),
    b"amount=+1&currency=cny": ("parameter_invalid_integer", "amount"),
    b"amount=%2B1&currency=cny": ("parameter_invalid_integer", "amount"),
    b"amount=1_0&currency=cny": ("parameter_invalid_integer", "amount"),
    "amount=１&currency=cny".encode(): ("parameter_invalid_integer", "amount"),
    b"amount=9223372036854775808&currency=cny": ("amount_too_large", "amount"),
    b"amount=" + b"9" * 5000 + b"&currency=cny": ("parameter_invalid_integer", "amount"),
    b"amount=&currency=cny": ("parameter_invalid_empty", "amount"),
    b"amount=1&amount=2&currency=cny": ("parameter_invalid", "amount"),
    b"amount[a]=1&currency=cny": ("parameter_invalid_integer", "amount"),
    b"amount=1&amount[a]=1": ("parameter_invalid", "amount[a]"),
    b"amount=1&currency=xyz": ("parameter_invalid", "currency"),
    b"amount=1&currency=cny%0A": ("parameter_invalid", "currency"),
    GOOD + b"&foo[bar]=1": ("parameter_unknown", "foo"),
    GOOD + b"&application_fee_amount=1": ("parameter_unsupported", "application_fee_amount"),
    GOOD + b"&card[number]=4242424242424242": ("card_data_refused", "card"),
    GOOD + b"&line_items[0][price_data][tax_behavior]=x": (
        "parameter_unsupported",
        "line_items[0][price_data][tax_behavior]",
    ),
    GOOD + b"&line_items[0][quantity]=1": ("parameter_missing", "line_items[0][price_data]"),
    GOOD + b"&line_items[0][price_data][currency]=nope": ("parameter_invalid", "line_items[0][price_data][currency]"),
    GOOD + b"&line_items[a]=1": ("parameter_invalid", "line_items"),
    GOOD + b"&line_items[0]=1": ("parameter_invalid", "line_items[0]"),
    GOOD + b"&payment_method_types[0]=alipay&payment_method_types[00]=alipay": (
        "parameter_invalid",
        "payment_method_types",
    ),
    GOOD + b"&payment_method_types[0]=cash": ("parameter_invalid", "payment_method_types[0]"),
    GOOD + b"&confirm=yes": ("parameter_invalid", "confirm"),
    GOOD + b"&return_url=ftp://x": ("url_invalid", "return_url"),
    GOOD + b"&metadata=x": ("parameter_invalid", "metadata"),
    GOOD + b"&metadata[]=x": ("parameter_invalid", "metadata[]"),
    GOOD + b"&metadata[a[b]]=x": ("parameter_invalid", "metadata[a[b]]"),
    GOOD + b"&metadata[" + b"k" * 41 + b"]=x": ("parameter_invalid", "metadata[" + "k" * 40 + "…]"),
    GOOD + b"&metadata[k]=" + b"v" * 501: ("parameter_invalid", "metadata[k]"),
    GOOD + b"".join(b"&metadata[%d]=x" % i for i in range(51)): ("parameter_invalid", "metadata"),
    GOOD + b"&a[b][c][d][e][f][g][h][i]=1": ("parameter_invalid", "a[b][c][d][e][f][g][h][i]"),
    GOOD + b"&x" * 1000: ("parameter_invalid", None),
    GOOD + b"&description=%00": ("parameter_invalid", None),
    GOOD + b"&description=%ff": ("parameter_invalid", None),
    GOOD + b"&description=%zz": ("parameter_invalid", None),
    GOOD + b"&description=\xed\xa0\x80": ("parameter_invalid", None),
    GOOD + b"&[a]=1": ("parameter_invalid", "[a]"),
}


@pytest.mark.parametrize(("raw", "error"), WRONG.items(), ids=[repr(raw)[2:50] for raw in WRONG])
def test_a_wrong_form_is_refused_by_name(raw: bytes, error: tuple[str | None, str | None]) -> None:
    assert refused(form, raw) == error


WRONG_JSON = {
    b"[]": (None, None),
    b"{": (None, None),
    b'{"amount": 1, "amount": 1}': (None, "amount"),
    b'{"amount": NaN}': (None, None),
    b'{"amount": 1e999, "currency": "cny"}': ("parameter_invalid_integer", "amount"),
    b'{"amount": 1.5, "currency": "cny"}': ("parameter_invalid_integer", "amount"),
    b'{"amount": "1", "currency": "cny"}': ("parameter_invalid_integer", "amount"),
    b'{"amount": true, "currency": "cny"}': ("parameter_invalid_integer", "amount"),
    b'{"amount": null, "currency": "cny"}': ("parameter_invalid_integer", "amount"),
    b'{"amount": 1, "currency": "cny", "description": "\\ud800"}': (None, None),
    b'{"amount": 1, "currency": "cny", "description": "\\u0000"}': (None, None),
    b'{"amount": 1, "currency": "cny", "description": "\xff"}': (None, None),
    b'{"amount": 1, "currency": "cny", "line_items": null}': (None, "line_items"),
    b'{"amount": ' + b"9" * 5000 + b"}": (None, None),
    b'{"a":' * 5000 + b"1" + b"}" * 5000: (None, None),
    b"[" * 100_000: (None, None),
}


@pytest.mark.parametrize(("raw", "error"), WRONG_JSON.items(), ids=[repr(raw)[2:50] for raw in WRONG_JSON])
def test_wrong_json_is_refused(raw: bytes, error: tuple[str | None, str | None]) -> None:
    assert refused(json, raw) == (error[0] or "parameter_invalid", error[1])


def test_an_empty_text_unsets_what_can_be_unset() -> None:
    assert form(b"description=&metadata=", UpdateIntent) == UpdateIntent(description=None, metadata=None)
    assert form(b"metadata[a]=", UpdateIntent) == UpdateIntent(metadata={"a": ""})
    assert refused(form, GOOD + b"&customer=") == ("parameter_invalid_empty", "customer")


def test_metadata_is_merged_by_key() -> None:
    assert merge_metadata({"a": "1", "b": "2"}, {"a": "", "c": "3"}) == {"b": "2", "c": "3"}
    assert merge_metadata({"a": "1"}, UNSET) == {"a": "1"}
    assert merge_metadata({"a": "1"}, None) == {}
    with pytest.raises(Invalid):
        merge_metadata({str(i): "x" for i in range(50)}, {"one more": "x"})


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="[]\0"), min_size=1, max_size=40)
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=500)


@given(metadata=st.dictionaries(NAMES, VALUES, min_size=1, max_size=50))
def test_whatever_the_sdk_encodes_is_read_back(metadata: dict[str, str]) -> None:
    raw = urlencode(list(_api_encode({"amount": 100, "currency": "cny", "metadata": metadata}))).encode()

    assert form(raw).metadata == metadata


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(raw: bytes) -> None:
    for read in (form, json):
        try:
            read(raw)
        except Invalid as error:
            assert error.message.encode()


def test_pages() -> None:
    asked = form(b"limit=2&starting_after=pi_1&created[gt]=9&created[lte]=20", ListIntents).page
    assert asked == PageQuery(2, after="pi_1", created=Between(gt=9, lte=20))
    assert (asked.created.since, asked.created.until, asked.ascending) == (10, 21, False)
    assert form(b"created=7", ListIntents).page.created == Between(gte=7, lte=7)

    page = turn(asked, [3, 2, 1])
    assert (page.items, page.has_more) == ([3, 2], True)
    back = turn(PageQuery(2, before="x"), [4, 5])
    assert (back.items, back.has_more) == ([5, 4], False)
