"""The trade bill: a zip of two GBK files whose names are GBK too, without the flag that says so."""

import io
import zipfile
from collections.abc import Mapping, Sequence

from guilder.simulators.alipay.words import long_stamp, plain
from guilder.simulators.clock import day_bounds, stamp
from guilder.simulators.model import Account
from guilder.simulators.statements import Line, yuan

DETAIL = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,"
    "订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,"
    "券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)
SUMMARY = (
    "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,支付宝优惠（元）,商家优惠（元）,"
    "卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）"
)


class _GbkName(zipfile.ZipInfo):
    """A zip entry whose name is written as Alipay writes it."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("gbk"), self.flag_bits & ~0x800


def render(account: Account, day: str, lines: Sequence[Line], now: int, corrupt: str) -> bytes:
    """`<pid>0156_YYYYMMDD.csv.zip`; `corrupt` is '', 'totals', 'hash' (a damaged entry) or 'truncate'."""
    stem = f"{account.settings()['seller_id']}0156_{day.replace('-', '')}"
    files = {
        f"{stem}_业务明细.csv": _detail(account, day, lines, now, wrong_totals=corrupt == "totals"),
        f"{stem}_业务明细(汇总).csv": _summary(account, day, lines, now),
    }
    return pack(files, corrupt)


def pack(files: Mapping[str, str], corrupt: str) -> bytes:
    """A zip of texts in GBK, damaged as asked."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            entry = _GbkName(name, (2020, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text.encode("gbk", errors="replace"))
    content = bytearray(out.getvalue())
    if corrupt == "hash":
        content[len(content) // 4] ^= 0xFF
    return bytes(content[: len(content) * 2 // 3] if corrupt == "truncate" else content)


def _head(account: Account, day: str, title: str) -> list[str]:
    since, until = day_bounds(day)
    return [
        f"#支付宝业务{title}查询",
        f"#账号：[{account.settings()['seller_id']}0156]",
        f"#起始日期：[{long_stamp(since)}]   终止日期：[{long_stamp(until)}]",
        f"#-----------------------------------------业务{title}列表----------------------------------------",
    ]


def _detail(account: Account, day: str, lines: Sequence[Line], now: int, *, wrong_totals: bool) -> str:
    paid = [line.amount for line in lines if not line.out_refund_no]
    back = [line.amount for line in lines if line.out_refund_no]
    rows = [
        *_head(account, day, "明细"),
        DETAIL,
        *map(_row, lines),
        "#-----------------------------------------业务明细列表结束------------------------------------",
        f"#交易合计：{len(paid)}笔，商家实收共{yuan(sum(paid) + wrong_totals)}元，商家优惠共0.00元",
        f"#退款合计：{len(back)}笔，商家实收退款共{yuan(-sum(back))}元，商家优惠退款共0.00元",
        f"#导出时间：[{long_stamp(now)}]",
        "",
    ]
    return "\r\n".join(rows)


def _row(line: Line) -> str:
    is_refund = bool(line.out_refund_no)
    amount, fee = (-line.amount, 0) if is_refund else (line.amount, -line.fee)
    fields = [
        *(
            f"{line.channel_ref}\t",
            f"{line.out_trade_no}\t",
            "退款\t" if is_refund else "交易\t",
            plain(line.description),
        ),
        *(stamp(line.created_at), stamp(line.at), "\t", "\t", "\t", "\t", f"{line.payer}\t"),
        *(yuan(amount), yuan(amount), "0.00", "0.00", "0.00", "0.00", "0.00", "", "0.00\t", "0.00"),
        *(f"{line.out_refund_no}\t", yuan(fee), "0.00", plain(line.description)),
    ]
    return ",".join(fields)


def _summary(account: Account, day: str, lines: Sequence[Line], now: int) -> str:
    paid = [line for line in lines if not line.out_refund_no]
    back = sum(line.amount for line in lines if line.out_refund_no)
    net, fee = sum(line.amount for line in paid) - back, -sum(line.fee for line in paid)
    totals = [str(len(paid)), str(len(lines) - len(paid)), yuan(net), yuan(net), *["0.00"] * 3, yuan(fee), "0.00"]
    rows = [
        *_head(account, day, "汇总"),
        SUMMARY,
        ",".join(["合计\t", "\t", *totals, yuan(net + fee)]),
        "#-----------------------------------------业务汇总列表结束------------------------------------",
        f"#导出时间：[{long_stamp(now)}]",
        "",
    ]
    return "\r\n".join(rows)
