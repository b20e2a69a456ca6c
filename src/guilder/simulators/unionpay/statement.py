"""The files of a day: a zip with ZM (trades), ZME (errors) and a page of totals, records of fixed width, counted in bytes of GBK.

The columns are those of a file that the gateway really gave; refunds and voids fill the same ones.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence

from guilder.simulators.book import Book
from guilder.simulators.clock import beijing
from guilder.simulators.model import Account
from guilder.simulators.statements import Line

# fmt: off
_WIDTHS = [3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13, 13, 8, 32,
           13, 13, 12, 2, 1, 32, 98]
# fmt: on
_NO_MONEY = " 000000000000"
_SUB_TYPE = {"page": "01", "wap": "01", "app": "01", "qr": "07", "barcode": "06"}


def render(book: Book, account: Account, day: str, lines: Sequence[Line], corrupt: str) -> bytes:
    """`<merId>_YYYYMMDD.zip`; `corrupt` is '', 'totals' (a row that does not add up), 'hash' (a damaged entry) or 'truncate'."""
    stem = f"INN{day[2:].replace('-', '')}88"
    trades = b"".join(_trade(book, account, line, wrong=corrupt == "totals" and n == 0) for n, line in enumerate(lines))
    files = {
        f"{stem}ZM_{account.id}": trades,
        f"{stem}ZME_{account.id}": b"",
        f"{stem}TOTAL_{account.id}": f"{len(lines)}\r\n".encode(),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    content = bytearray(out.getvalue())
    if corrupt == "hash":
        content[len(content) // 4] ^= 0xFF
    return bytes(content[: len(content) * 2 // 3] if corrupt == "truncate" else content)


def record(columns: Mapping[int, str]) -> bytes:
    """A record: columns counted from 1, filled up with blanks and cut by bytes, a blank between them."""
    parts = [columns.get(n, "").encode("gbk", "replace")[:width].ljust(width) for n, width in enumerate(_WIDTHS, 1)]
    return b" ".join(parts) + b"\r\n"


def _trade(book: Book, account: Account, line: Line, *, wrong: bool) -> bytes:
    at = beijing(line.at)
    back = bool(line.out_refund_no)
    ref = line.refund_ref if back else line.channel_ref
    kind, reserved = "01", line.attach
    if back:
        refund = book.find_refund(account.id, line.out_refund_no)
        kind, _, reserved = (refund.reason if refund else "04|").partition("|")
    earned = -line.amount if back else line.amount
    settled = earned - line.fee + wrong
    columns = {
        1: {"01": "S22", "04": "S56", "31": "S31"}[kind],
        2: "48022901",
        3: "00040000",
        4: ref[14:20],
        5: at.strftime("%m%d%H%M%S"),
        6: "621626*********0018",
        7: f"{line.amount:012d}",
        8: "4900",
        9: "08",
        10: ref,
        11: "05",
        12: line.out_refund_no or line.out_trade_no,
        13: "01",
        16: _sided(-line.fee),
        17: _sided(settled),
        18: "0201",
        20: kind,
        21: "00" if back else _SUB_TYPE.get(line.way, ""),
        22: "000000" if line.way in ("qr", "barcode") else "000201",
        27: line.channel_ref if back else "",
        28: account.id,
        30: "0" * 15,
        32: _NO_MONEY,
        33: _sided(settled),
        34: "01080209",
        35: reserved,
        36: _NO_MONEY,
        37: _NO_MONEY,
        38: _NO_MONEY[:12],
        40: "7",
        41: line.out_trade_no if back else "",
    }
    return record(columns)


def _sided(units: int) -> str:
    """C: to the merchant; D: from him."""
    return f"{'D' if units < 0 else 'C'}{abs(units):012d}"
