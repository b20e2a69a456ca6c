"""Reading what channels send: strictly, once, and with one kind of complaint (ValueError)."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BufferedIOBase, BytesIO
from typing import Any, TypeVar

import msgspec

from guilder.core.clock import BEIJING

T = TypeVar("T")
PIECE = 1 << 20


class Packed:
    """A large file as it came, gzip of one member: unpacked anew for each reading, so that it never lies in memory whole."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def open(self) -> BufferedIOBase:
        """Read it from its beginning, line by line if you like."""
        return gzip.GzipFile(fileobj=BytesIO(self._packed))

    def __bytes__(self) -> bytes:
        return b"".join(pieces(self))


def opened(file: bytes | Packed) -> BufferedIOBase:
    """A file for reading, however it is kept."""
    return BytesIO(file) if isinstance(file, bytes) else file.open()


def pieces(file: bytes | Packed) -> Iterator[bytes]:
    """A file in pieces of a megabyte."""
    with opened(file) as plain:
        while piece := plain.read(PIECE):
            yield piece


def read_json(body: bytes | str) -> Any:
    """Parse UTF-8 JSON.  A name that stands twice, NaN, a NUL or half a surrogate is refused: readers differ about them."""
    text = body if isinstance(body, str) else body.decode()
    try:
        value = json.loads(text, object_pairs_hook=each_once, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if "\\u" in text:
        plain = json.dumps(value, ensure_ascii=False)
        plain.encode()
        if "\\u0000" in plain:
            raise ValueError("holds a NUL")
    return value


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict of `pairs`, none of whose names stands twice."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice")
    return value


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def read_as(type: type[T], value: Any) -> T:
    """`value` (from `read_json`) as `type`; further fields are let be, for channels add some whenever they like."""
    return msgspec.convert(value, type)


def instant(text: str | None) -> datetime | None:
    """'2018-06-08T10:34:56+08:00' in UTC; None if nothing is said."""
    if not text:
        return None
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    return _utc(at)


def beijing_instant(text: str) -> datetime:
    """'2018-06-08 10:34:56', said in Beijing, in UTC."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is not None:
        raise ValueError(f"{text!r} should have no zone")
    return _utc(at.replace(tzinfo=BEIJING))


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of the calendar") from None
