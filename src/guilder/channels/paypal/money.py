"""Money as PayPal writes it: decimal strings in the API, hundredths without a point in reports."""

import msgspec

from guilder.core.amount import EXPONENT, INT64, Amount, major

# PayPal takes no decimals of these, whatever ISO 4217 says (its page "Currency codes").
WHOLE = frozenset({"HUF", "JPY", "TWD"})


class Uneven(Exception):
    """An amount with decimals of a currency of which PayPal takes none."""


class Money(msgspec.Struct, frozen=True):
    """`{"currency_code": "USD", "value": "10.99"}`"""

    currency_code: str
    value: str

    def amount(self) -> Amount:
        """ValueError if it is none, or of a currency that is not known here."""
        return read(self.value, self.currency_code)


class OldMoney(msgspec.Struct, frozen=True):
    """`{"currency": "USD", "value": "10.99"}`, as payouts have it."""

    currency: str
    value: str

    def amount(self) -> Amount:
        return read(self.value, self.currency)


def read(value: str, currency: str) -> Amount:
    """An amount from '10.99'.  ValueError if it is none."""
    if currency not in EXPONENT:
        raise ValueError(f"{currency!r} is no currency that is known here")
    return Amount.from_major(value, currency)


def write(amount: Amount) -> str:
    """'10.99'; '1099' where PayPal takes no decimals.  Uneven if there are some."""
    exponent = EXPONENT[amount.asset]
    if amount.asset not in WHOLE:
        return amount.major()
    whole, part = divmod(amount.units, 10**exponent)
    if part:
        raise Uneven(f"PayPal takes no decimals of {amount.asset}")
    return str(whole)


def money(amount: Amount) -> dict[str, str]:
    return {"currency_code": amount.asset, "value": write(amount)}


def from_report(text: str, currency: str) -> int:
    """Minor units from a report's unsigned hundredths, which are hundredths even of yen.  ValueError."""
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise ValueError(f"{text!r} is not an amount")
    exponent = EXPONENT.get(currency)
    if exponent is None:
        raise ValueError(f"{currency!r} is no currency that is known here")
    units, part = divmod(int(text) * 10**exponent, 100)
    if part or units > INT64:
        raise ValueError(f"{major(int(text), 2)} {currency} is no whole number of its units")
    return units
