"""`replace` for the frozen objects of either kind."""

import dataclasses
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def replace(item: T, **over: Any) -> T:
    if isinstance(item, msgspec.Struct):
        return msgspec.structs.replace(item, **over)
    return dataclasses.replace(item, **over)  # type: ignore[type-var]
