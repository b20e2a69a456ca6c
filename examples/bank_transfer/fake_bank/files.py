"""The day's file: which rows it has, and how it is written."""

import csv
import hashlib
import io
from collections.abc import Sequence

import msgspec

from guilder.simulators import statements
from guilder.simulators.book import Book
from guilder.simulators.clock import day_bounds, rfc3339
from guilder.simulators.model import Account
from guilder.simulators.statements import Line, fee_of

HEAD = ["time", "bank_ref", "order_no", "refund_no", "kind", "amount", "fee", "payer", "text"]


def gather(book: Book, account: Account, day: str) -> list[Line]:
    """A row for each credit.  Orders that were paid at the phone have one, of the whole amount."""
    since, until = day_bounds(day)
    sql = "SELECT at, out_trade_no, body FROM entry WHERE account = ? AND kind = 'credit' AND at >= ? AND at < ? ORDER BY seq"
    credits = [(at, no, msgspec.json.decode(body)) for at, no, body in book.rows(sql, account.id, since, until)]
    apart = {no for _, no, _ in credits}
    lines = [
        line for line in statements.collect(book, account, day) if line.out_refund_no or line.out_trade_no not in apart
    ]
    for at, no, said in credits:
        amount = said["amount"]
        lines.append(
            Line(no, said["ref"], at, amount, fee_of(amount), said["text"], "", said["payer"], "virtual_account", at)
        )
    return sorted(lines, key=lambda line: (line.at, line.channel_ref))


def render(lines: Sequence[Line], corrupt: str) -> bytes:
    """The file, or as asked a bad one."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(HEAD)
    sums = {"CREDIT": [0, 0], "RETURN": [0, 0]}
    for line in lines:
        kind = "RETURN" if line.out_refund_no else "CREDIT"
        ref = line.refund_ref or line.channel_ref
        table.writerow(
            [
                rfc3339(line.at),
                ref,
                line.out_trade_no,
                line.out_refund_no,
                kind,
                line.amount,
                line.fee,
                line.payer,
                line.description,
            ]
        )
        sums[kind][0] += 1
        sums[kind][1] += line.amount
    fee = sum(line.fee for line in lines) + (1 if corrupt == "totals" else 0)
    out.write(f"TOTAL,{','.join(map(str, [*sums['CREDIT'], *sums['RETURN'], fee]))}\n")
    content = out.getvalue().encode()
    digest = hashlib.sha256(content + (b"x" if corrupt == "hash" else b"")).hexdigest()
    whole = content + f"SHA256,{digest}\n".encode()
    return whole[: len(whole) * 2 // 3] if corrupt == "truncate" else whole
