"""The cashier's languages: every text has its translation, and money looks as people write it."""

import re

import pytest

from cashier import catalogue
from guilder.cashier import words
from guilder.cashier.words import choose, speak

_PLACE = re.compile(r"%\(\w+\)s")


@pytest.mark.parametrize("file", list(catalogue.files()), ids=lambda f: f.parent.parent.name)
def test_every_text_is_translated_and_no_translation_is_left_over(file: object) -> None:
    wanted, given = catalogue.texts(catalogue.extracted()), catalogue.texts(catalogue.read(file))

    assert sorted(map(str, wanted)) == sorted(map(str, given)), "run python tests/cashier/catalogue.py"
    for text, message in given.items():
        translations = [message.string] if isinstance(message.string, str) else list(message.string)
        assert all(translations), f"{text!r} has no translation"
        assert not message.fuzzy, f"the translation of {text!r} is a guess"
        places = set(_PLACE.findall(text if isinstance(text, str) else text[0]))
        assert all(set(_PLACE.findall(t)) == places for t in translations), f"{text!r} loses a name"


def test_every_language_but_english_has_a_catalogue() -> None:
    assert {f.parent.parent.name for f in catalogue.files()} == set(words.LANGUAGES) - {"en"}


def test_a_text_is_said_in_chinese() -> None:
    assert speak("zh").say("Payment successful") == "付款成功"
    assert speak("en").say("Payment successful") == "Payment successful"


@pytest.mark.parametrize(
    ("units", "currency", "zh", "en"),
    [
        (1250, "CNY", "¥12.50", "CN¥12.50"),
        (123456789, "CNY", "¥1,234,567.89", "CN¥1,234,567.89"),
        (500, "JPY", "JP¥500", "¥500"),
        (1999, "USD", "US$19.99", "$19.99"),
        (1234, "KWD", "KWD 1.234", "KWD 1.234"),
    ],
)
def test_money_is_written_as_its_readers_write_it(units: int, currency: str, zh: str, en: str) -> None:
    assert [str(speak(code).money(units, currency)).replace("\u00a0", " ") for code in ("zh", "en")] == [zh, en]


def test_the_sign_stands_apart_from_the_number() -> None:
    money = speak("zh").money(52600, "CNY")
    assert (money.before, money.number, money.after) == ("¥", "526.00", "")


@pytest.mark.parametrize(
    ("asked", "session", "accept", "spoken"),
    [
        ("", "auto", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "auto", "en-US,en;q=0.9,zh;q=0.1", "en"),
        ("", "auto", "fr;q=1.0, zh_Hans;q=0.5, en;q=0.4", "zh"),
        ("", "auto", "de", "en"),
        ("", "auto", "", "en"),
        ("", "zh", "en", "zh"),
        ("", "en-GB", "zh", "en"),
        ("en", "zh", "zh", "en"),
        ("xx", "auto", "zh;q=9, en;q=nan", "zh"),
    ],
)
def test_the_payer_chooses_then_the_session_then_the_browser(
    asked: str, session: str, accept: str, spoken: str
) -> None:
    assert choose(asked, session, accept) == spoken
