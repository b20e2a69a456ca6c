"""The trade bill's file.

UTF-8 with BOM, CRLF, every field of a data row behind a backtick, a summary row at the end; the SHA-1
is taken over exactly these bytes.  Checked against a real bill that a merchant has published.
"""

from collections.abc import Mapping, Sequence

from guilder.simulators.clock import stamp
from guilder.simulators.model import Account
from guilder.simulators.statements import Line, yuan

_START = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额"
_REFUND = "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态"
_END = "商品名称,商户数据包,手续费,费率,订单金额"
HEADERS = {
    "ALL": f"{_START},{_REFUND},{_END},申请退款金额,费率备注",
    "SUCCESS": f"{_START},{_END},费率备注",
    "REFUND": f"{_START},退款申请时间,退款成功时间,{_REFUND},{_END},申请退款金额,费率备注",
}
_SUMMARY = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
SUMMARIES = {"ALL": _SUMMARY, "REFUND": _SUMMARY, "SUCCESS": "总交易单数,应结订单总金额,手续费总金额,订单总金额"}
TRADE_TYPES = {"jsapi": "JSAPI", "native": "NATIVE", "app": "APP", "h5": "MWEB", "codepay": "MICROPAY"}
_STATES = {"PROCESSING": "PROCESSING", "SUCCESS": "SUCCESS", "ABNORMAL": "CHANGE"}


def render(account: Account, kind: str, lines: Sequence[Line], *, wrong_totals: bool) -> bytes:
    """A bill of type ALL, SUCCESS or REFUND, its totals off by 0.01 yuan if so asked."""
    wanted = [line for line in lines if kind == "ALL" or bool(line.out_refund_no) == (kind == "REFUND")]
    config = account.settings()
    rows = [_row(config, kind, line) for line in wanted]
    paid = sum(line.amount for line in wanted if not line.out_refund_no) + wrong_totals
    back = sum(line.amount for line in wanted if line.out_refund_no)
    fees = _fee(sum(line.fee for line in wanted))
    total = [str(len(wanted)), yuan(paid), yuan(back), "0.00", fees, yuan(paid), yuan(back)]
    if kind == "SUCCESS":
        total = [str(len(wanted)), yuan(paid), fees, yuan(paid)]
    return "\r\n".join(["\ufeff" + HEADERS[kind], *rows, SUMMARIES[kind], _ticked(total), ""]).encode()


def _row(config: Mapping[str, str], kind: str, line: Line) -> str:
    is_refund, is_reversal = bool(line.out_refund_no), line.out_refund_no.startswith("reverse:")
    state = "REVOKED" if is_reversal else "REFUND" if is_refund else "SUCCESS"
    paid = "0.00" if is_refund else yuan(line.amount)
    back = yuan(line.amount) if is_refund else "0.00"
    start = [
        *(stamp(line.at), config["appid"], config["mchid"], config.get("sub_mchid") or "0", "", line.channel_ref),
        *(line.out_trade_no, line.payer, TRADE_TYPES[line.way], state, "OTHERS", "CNY", paid, "0.00"),
    ]
    times = [stamp(line.at), stamp(line.done_at) if line.refund_state == "SUCCESS" else ""]
    refund = [line.refund_ref or "0", line.out_refund_no if is_refund and not is_reversal else "0", back, "0.00"]
    refund += ["ORIGINAL", _STATES[line.refund_state]] if is_refund else ["", ""]
    end = [line.description, line.attach, _fee(line.fee), "0.60%", paid]
    if kind == "SUCCESS":
        return _ticked([*start, *end, ""])
    return _ticked([*start, *(times if kind == "REFUND" else []), *refund, *end, back, ""])


def _ticked(fields: Sequence[str]) -> str:
    return ",".join("`" + " ".join(field.split("\n")).replace("\r", "") for field in fields)


def _fee(fen: int) -> str:
    return yuan(fen) + "000"
