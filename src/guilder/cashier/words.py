"""The payer's language: English as it stands in the templates, Chinese from `locale/zh`.

    words = speak(choose(asked="", session="auto", accept="zh-CN,zh;q=0.9"))
    words.say("Scan to pay"); words.money(1250, "CNY")       # Money("¥", "12.50", "")

A text without a translation fails tests/cashier/test_words.py.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from io import BytesIO

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency
from babel.support import NullTranslations, Translations

from guilder.core.amount import EXPONENT, major

LANGUAGES = {"zh": "zh-CN", "en": "en"}  # and what `lang` says
NAMES = {"zh": "中文", "en": "English"}
_LOCALE = {"zh": "zh_Hans_CN", "en": "en_US"}
_NUMBER = re.compile(r"\d(?:[\d.,\u00a0 ]*\d)?")


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in parts, so that its sign can be set smaller than its number."""

    before: str
    number: str
    after: str

    def __str__(self) -> str:
        return self.before + self.number + self.after


@dataclass(frozen=True, slots=True)
class Words:
    """One language."""

    code: str
    translations: NullTranslations

    @property
    def lang(self) -> str:
        return LANGUAGES[self.code]

    @property
    def say(self) -> Callable[[str], str]:
        return self.translations.gettext

    def money(self, units: int, currency: str) -> Money:
        """`units` as this language writes money."""
        value = Decimal(major(units, EXPONENT[currency]))  # for showing: it is never computed with
        text = format_currency(value, currency, locale=_LOCALE[self.code])
        match = _NUMBER.search(text)
        start, end = match.span() if match else (0, len(text))
        before = text[:start] + (
            "\u00a0" if text[start - 1 : start].isalpha() else ""
        )  # CLDR's spacing, which Babel leaves out
        return Money(before, text[start:end], text[end:])


def choose(asked: str, session: str, accept: str) -> str:
    """The language that the payer asked for, else the session's, else the browser's first that we speak; English if none."""
    for wish in (asked, session.partition("-")[0]):
        if wish in LANGUAGES:
            return wish
    best, found = 0.0, "en"
    for part in accept.lower().split(",")[:20]:
        name, _, quality = part.strip().partition(";q=")
        code = re.split(r"[-_]", name)[0]
        weight = float(quality) if re.fullmatch(r"[01](\.\d{1,3})?", quality) else 1.0
        if code in LANGUAGES and weight > best:
            best, found = weight, code
    return found


@cache
def speak(code: str) -> Words:
    """The words of a language."""
    if code == "en":
        return Words(code, NullTranslations())
    catalogue = files("guilder.cashier").joinpath(f"locale/{code}/LC_MESSAGES/cashier.po").read_bytes()
    compiled = BytesIO()
    write_mo(compiled, read_po(BytesIO(catalogue), abort_invalid=True))
    compiled.seek(0)
    return Words(code, Translations(compiled))
