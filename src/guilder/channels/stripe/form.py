"""Stripe's request bodies: forms whose names have brackets.

encode({"amount": 1250, "metadata": {"guilder_key": "06b2"}, "expand": ["latest_charge"]})
# amount=1250&metadata[guilder_key]=06b2&expand[0]=latest_charge, percent-encoded
"""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlencode

Value = str | int | bool | None | Mapping[str, "Value"] | Sequence["Value"]


def encode(fields: Mapping[str, Value]) -> str:
    """In the order of `fields`, for Stripe compares the parameters of a repeated key.  None is left out."""
    return urlencode([pair for name, value in fields.items() for pair in _pairs(name, value)])


def _pairs(name: str, value: Value) -> Iterator[tuple[str, str]]:
    match value:
        case None:
            return
        case bool():
            yield name, "true" if value else "false"
        case str() | int():
            yield name, str(value)
        case Mapping():
            for key, one in value.items():
                yield from _pairs(f"{name}[{key}]", one)
        case _:
            for number, one in enumerate(value):
                yield from _pairs(f"{name}[{number}]", one)
