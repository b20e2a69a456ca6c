"""Money: whole minor units of an asset.  Floats and Decimals stop at the edge.

    cny(1250)                      # 12.50 yuan
    Amount(1250, "CNY").major()    # '12.50', as Alipay and the bills write it
    Amount.from_major("12.50", "CNY")

What is no currency (POINT, DATA_MB, COUPON_SPRING) is an asset of whole units, its name longer than a currency's.

Assets are upper case inside and lower case in the dialect.  EXPONENT follows ISO 4217 (list one, 2026-01-01); Stripe's API
calls the same unit "the smallest currency unit".
"""

import re
from dataclasses import dataclass

from guilder.core.check import must

MAX = 99_999_999_999  # of one payment, in minor units; twelve digits are what UnionPay's files hold
INT64 = (1 << 63) - 1

EXPONENT: dict[str, int] = {
    **dict.fromkeys(
        ("AED", "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "IDR", "ILS", "INR", "MOP",
         "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "RON", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "USD", "ZAR"),
        2,
    ),
    **dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "UGX", "VND", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 3),
}  # fmt: skip
_ASSET = re.compile(r"[A-Z][A-Z0-9_]{3,31}", re.ASCII)
_MAJOR = re.compile(r"(-?)(\d{1,15})(?:\.(\d+))?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Amount:
    """`units` of `asset`, in its smallest unit."""

    units: int
    asset: str

    def __post_init__(self) -> None:
        must(type(self.units) is int and -INT64 <= self.units <= INT64, "an amount is a 64-bit integer")

    def __add__(self, other: "Amount") -> "Amount":
        must(self.asset == other.asset, "amounts of one asset add up")
        return Amount(self.units + other.units, self.asset)

    def __sub__(self, other: "Amount") -> "Amount":
        must(self.asset == other.asset, "amounts of one asset subtract")
        return Amount(self.units - other.units, self.asset)

    def major(self) -> str:
        """In the major unit with all its decimals: '12.50'."""
        return major(self.units, EXPONENT[self.asset])

    @classmethod
    def from_major(cls, text: str, asset: str) -> "Amount":
        """Read '12.50' exactly; more decimals than the asset has are refused with ValueError."""
        return cls(from_major(text, EXPONENT[asset]), asset)

    def __str__(self) -> str:
        return f"{self.major()} {self.asset}"


def major(units: int, exponent: int) -> str:
    """`units` with `exponent` decimals: major(-5, 2) == '-0.05'."""
    if exponent == 0:
        return str(units)
    sign = "-" if units < 0 else ""
    whole, part = divmod(abs(units), 10**exponent)
    return f"{sign}{whole}.{part:0{exponent}d}"


def from_major(text: str, exponent: int) -> int:
    """Read a decimal text exactly into units of 10**-exponent.  ValueError if it is none or has finer digits than that."""
    match = _MAJOR.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an amount")
    sign, whole, part = match[1], match[2], match[3] or ""
    if part[exponent:].strip("0"):
        raise ValueError(f"{text!r} is finer than {exponent} decimals")
    units = int(whole) * 10**exponent + int(part[:exponent].ljust(exponent, "0") or 0)
    return -units if sign else units


def is_asset(name: str) -> bool:
    """Whether `name` is a currency or an asset of our own: 'CNY', 'POINT', 'DATA_MB'."""
    return name in EXPONENT or _ASSET.fullmatch(name) is not None


def shown(units: int, asset: str) -> str:
    """`units` as a person reads them: '12.50' of CNY, '1250' of POINT."""
    return major(units, EXPONENT.get(asset, 0))


def cny(units: int) -> Amount:
    """Chinese yuan, in fen."""
    return Amount(units, "CNY")
