"""The fund-flow bill (BASIC account): how the balance at WeChat Pay moved.

    记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号
    `2018-02-01 04:21:23,`50000305742018020103387128253,`1900009231201802015884652186,`退款,`退款,`支出,`0.02,`0.17,`system,`缺货,`REF42...
    资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额
    `20.0,`17.0,`0.35,`3.0,`0.18

Every row has the balance after it, so the file proves itself: opening + rows = closing.  Rows of one second may stand in any order, so
what is checked is that the balances make one chain: each balance after a row is the one before another, but for the first and last.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from operator import itemgetter

from guilder.channels.model import LineKind, Statement, StatementError, StatementLine, StatementProblem, Totals
from guilder.channels.reading import Packed, beijing_instant
from guilder.channels.wechatpay.files import names, opened, records
from guilder.core.amount import Amount, from_major

KIND = {
    "交易": LineKind.PAYMENT,
    "退款": LineKind.REFUND,
    "扣除交易手续费": LineKind.FEE,
    "退还交易手续费": LineKind.FEE,
}
SIGN = {"收入": 1, "支出": -1}
LINE = ("记账时间", "微信支付业务单号", "业务名称", "业务类型", "收支类型", "收支金额(元)", "备注", "业务凭证号")
FIGURES = ("收支类型", "收支金额(元)", "账户结余(元)")
SUMMARY = ("资金流水总笔数", "收入笔数", "收入金额", "支出笔数", "支出金额")
WIDE = {"（": "(", "）": ")"}  # some files have the brackets of a Chinese keyboard

_units = lru_cache(maxsize=1 << 14)(from_major)
_at = lru_cache(maxsize=1 << 12)(beijing_instant)


def read_funds(day: date, packed: bytes, sha1: str) -> Statement:
    """Unpack, check the hash, the counts, the sums and the balances, and only then hand out the lines.  Raises StatementError."""
    raw, sha256 = opened(packed, sha1)
    try:
        totals, opening, closing = _checked(raw)
    except (ValueError, LookupError, StopIteration) as error:
        raise StatementError(StatementProblem.CORRUPT, str(error) or "the file ends too early") from error
    return Statement(
        day=day,
        currency="CNY",
        fee_exponent=2,
        totals=totals,
        raw=raw,
        sha256=sha256,
        lines=_lines(raw),
        opening=Amount(opening, "CNY"),
        closing=Amount(closing, "CNY"),
    )


def _places(fields: list[str], wanted: tuple[str, ...]) -> list[int]:
    plain = ["".join(WIDE.get(c, c) for c in name) for name in fields]
    return [plain.index(name) for name in wanted]


def _checked(raw: bytes | Packed) -> tuple[Totals, int, int]:
    """Control totals, opening and closing.  ValueError if the summary or the balances say otherwise than the rows."""
    rows = records(raw)
    fields = names(rows)
    _places(fields, LINE)  # all that a line needs is there
    pick = itemgetter(*_places(fields, FIGURES))
    counts, sums, chain = Counter[int](), Counter[int](), Counter[int]()
    first: int | None = None
    is_data, values = next(rows)
    while is_data:
        if len(values) != len(fields):
            raise ValueError(f"row {counts.total() + 1} has {len(values)} fields, not {len(fields)}")
        direction, amount, balance = pick(values)
        sign, moved, after = SIGN[direction], _units(amount, 2), from_major(balance, 2)
        if moved < 0:
            raise ValueError(f"row {counts.total() + 1} moves {amount}")
        counts[sign] += 1
        sums[sign] += moved
        before = after - sign * moved
        first = before if first is None else first
        _count(chain, after, 1)
        _count(chain, before, -1)
        is_data, values = next(rows)
    _compare(values, rows, counts, sums)
    opening, closing = _ends(chain, first or 0)
    return Totals(counts[1], sums[1], counts[-1], sums[-1], 0), opening, closing


def _count(chain: Counter[int], balance: int, by: int) -> None:
    """In a file whose rows follow each other the counter never holds more than its two ends."""
    chain[balance] += by
    if not chain[balance]:
        del chain[balance]


def _ends(chain: Counter[int], first: int) -> tuple[int, int]:
    """What is left when every balance has met its neighbour: where it began, and where it ended."""
    if not chain:
        return first, first  # back to where it was; or nothing moved
    if sorted(chain.values()) != [-1, 1]:
        raise ValueError("the balances do not follow from each other")
    [opening] = [balance for balance, times in chain.items() if times < 0]
    [closing] = [balance for balance, times in chain.items() if times > 0]
    return opening, closing


def _compare(
    fields: list[str], rows: Iterator[tuple[bool, list[str]]], counts: Counter[int], sums: Counter[int]
) -> None:
    is_data, values = next(rows)
    if not is_data or len(values) != len(fields) or next(rows, None) is not None:
        raise ValueError("the file does not end with one summary")
    said = dict(zip(fields, values, strict=True))
    # Counts are written as '20' or '20.0'.
    found = [_units(said[name], 2) for name in SUMMARY]
    if found != [counts.total() * 100, counts[1] * 100, sums[1], counts[-1] * 100, sums[-1]]:
        raise ValueError(f"the summary says {', '.join(said.values())}, the rows otherwise")


def _lines(raw: bytes | Packed) -> Iterator[StatementLine]:
    rows = records(raw)
    pick = itemgetter(*_places(names(rows), LINE))
    for number, (is_data, values) in enumerate(rows, 1):
        if not is_data:
            return
        try:
            yield _line(number, pick(values))
        except (ValueError, LookupError) as error:
            raise StatementError(StatementProblem.CORRUPT, f"row {number}: {error}") from error


def _line(number: int, row: tuple[str, ...]) -> StatementLine:
    at, ref, business, kind, direction, amount, note, voucher = row
    is_payout = "转账" in kind or "转账" in business
    return StatementLine(
        number=number,
        kind=KIND.get(kind, LineKind.PAYOUT if is_payout else LineKind.OTHER),
        key=voucher,
        payment_key=voucher,
        channel_ref=ref,
        amount=Amount(SIGN[direction] * _units(amount, 2), "CNY"),
        fee=0,
        at=_at(at),
        status=kind,
        description=note,
    )
