"""What WeChat Pay's bills have in common: how they are packed, hashed and written down.

    <BOM>名,名,...            names, plain
    `value,`value,...         rows: a backtick before every field, no quoting, commas may stand inside
    名,名,...                 names of the summary
    `value,...

UTF-8 with BOM, CRLF; the hash (SHA-1) covers the uncompressed bytes with all of that.
"""

import hashlib
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from guilder.channels import reading
from guilder.channels.model import StatementError, StatementProblem
from guilder.channels.reading import Packed

MAX_PACKED = 256 << 20
MAX_PLAIN = 1 << 30
STEP = 1 << 16
BOM = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"

Record = tuple[bool, list[str]]  # is it a row of data?  and its fields


class Opened(NamedTuple):
    """A bill whose hash is right, and ours of it."""

    raw: bytes | Packed
    sha256: str


def opened(packed: bytes, sha1: str) -> Opened:
    """The file, if it has the hash that was given.  Raises StatementError."""
    ours, theirs = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    for piece in _unpacked(packed):
        ours.update(piece)
        theirs.update(piece)
    if theirs.hexdigest() != sha1.lower():
        raise StatementError(StatementProblem.CORRUPT, "the file does not have the hash that WeChat Pay gave")
    return Opened(Packed(packed) if packed.startswith(GZIP) else packed, ours.hexdigest())


def _unpacked(packed: bytes) -> Iterator[bytes]:
    """Piece by piece: whole, it is ten times as large.  Raises StatementError for what is no single gzip file."""
    if not packed.startswith(GZIP):
        yield packed  # an HTTP client may have unpacked it; the hash tells
        return
    unpacking, size, rest = zlib.decompressobj(wbits=31), 0, memoryview(packed)
    try:
        while rest and not unpacking.eof:
            piece = unpacking.decompress(rest[:STEP])
            rest = rest[STEP:]
            size += len(piece)
            if size > MAX_PLAIN:
                raise StatementError(StatementProblem.CORRUPT, f"the file is longer than {MAX_PLAIN} bytes")
            yield piece
    except zlib.error as error:
        raise StatementError(StatementProblem.CORRUPT, f"the file does not unpack: {error}") from error
    if not unpacking.eof or unpacking.unused_data or rest:
        raise StatementError(StatementProblem.CORRUPT, "the file is cut off, or more than a file")


def records(raw: bytes | Packed) -> Iterator[Record]:
    """The rows of names and of data, one at a time."""
    with reading.opened(raw) as lines:
        for number, line in enumerate(lines):
            text = (line.removeprefix(BOM) if number == 0 else line).rstrip(b"\r\n").decode()
            if text.startswith("`"):
                yield True, text[1:].split(",`")
            elif text:
                yield False, text.split(",")


def names(rows: Iterator[Record]) -> list[str]:
    """The names of the columns, with which a file begins.  ValueError if it does not."""
    is_data, fields = next(rows)
    if is_data or len(set(fields)) != len(fields):
        raise ValueError("the file does not begin with the names of its columns")
    return fields
