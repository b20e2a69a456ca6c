"""Statements: the exact format, totals that add up, and what a test may do to them."""

import hashlib
import io
import urllib.request
import zipfile
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from golden import BESIDE, lacking
from simulators.merchant import AlipayMerchant, WeChatMerchant
from simulators.process import Shop, Simulators

BEIJING = timezone(timedelta(hours=8))
GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "wechat_tradebill_all_2021-01-28.csv"
COLUMNS = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率,订单金额,申请退款金额,费率备注"
)


def today(sim: Simulators) -> str:
    """The Beijing day of the simulators' clock."""
    return datetime.fromtimestamp(sim.get("/sim/clock")["now_ms"] // 1000, BEIJING).strftime("%Y-%m-%d")


def read(content: bytes) -> tuple[list[str], list[dict[str, str]], dict[str, str]]:
    """Header, rows and summary of a WeChat bill, by a reader that insists on its form."""
    assert content.startswith("\ufeff".encode()) and content.endswith(b"\r\n")
    lines = content.decode("utf-8-sig").removesuffix("\r\n").split("\r\n")
    assert not any("\n" in line for line in lines)
    header, totals = lines[0].split(","), lines[-2].split(",")
    fields = [line.removeprefix("`").split(",`") for line in [*lines[1:-2], lines[-1]] if line.startswith("`")]
    assert len(fields) == len(lines) - 2
    rows = [dict(zip(header, row, strict=True)) for row in fields[:-1]]
    return header, rows, dict(zip(totals, fields[-1], strict=True))


@pytest.fixture
def merchant(sim: Simulators, shop: Shop) -> WeChatMerchant:
    """Three payments, one refunded in part."""
    merchant = WeChatMerchant(sim.open_account("wechatpay"), f"{shop.url}/notify")
    for number, total in (("BILL0001", 1000), ("BILL0002", 250), ("BILL0003", 9)):
        merchant.create(number, total, attach="sim:autopay", description="茶, 一杯")
    merchant.create("UNPAID01")
    merchant.refund("BILL0001", "REFUND01", 400, 1000)
    shop.wait(4)
    return merchant


def fetch(merchant: WeChatMerchant, day: str, kind: str = "ALL") -> bytes:
    """The day's file, its hash checked."""
    status, offer = merchant.bill(day, kind)
    assert status == 200, offer
    content = merchant.download(offer["download_url"])
    assert (offer["hash_type"], offer["hash_value"]) == ("SHA1", hashlib.sha1(content).hexdigest())
    return content


def close(sim: Simulators, account: str, **ask: Any) -> Any:
    """Close today."""
    return sim.post(f"/sim/accounts/{account}/close-day", day=today(sim), **ask)


def test_wechatpays_format(sim: Simulators, merchant: WeChatMerchant) -> None:
    close(sim, merchant.id)
    header, rows, totals = read(fetch(merchant, today(sim)))
    assert ",".join(header) == COLUMNS
    assert sorted(row["商户订单号"] for row in rows) == ["BILL0001", "BILL0001", "BILL0002", "BILL0003"]
    [refund] = [row for row in rows if row["交易状态"] == "REFUND"]
    assert (refund["商户退款单号"], refund["退款金额"], refund["订单金额"]) == ("REFUND01", "4.00", "0.00")
    assert (refund["手续费"], refund["退款状态"], refund["商品名称"]) == ("-0.02000", "SUCCESS", "茶, 一杯")
    assert list(totals.values()) == ["4", "12.59", "4.00", "0.00", "0.06000", "12.59", "4.00"]


def test_wechatpays_other_types(sim: Simulators, merchant: WeChatMerchant) -> None:
    close(sim, merchant.id)
    header, rows, totals = read(fetch(merchant, today(sim), "SUCCESS"))
    assert (len(header), len(rows), len(totals)) == (20, 3, 4)
    header, rows, totals = read(fetch(merchant, today(sim), "REFUND"))
    assert (len(header), len(rows), totals["退款总金额"]) == (29, 1, "4.00")
    assert rows[0]["退款成功时间"] != ""


@pytest.mark.skipif(lacking(GOLDEN), reason=BESIDE)
def test_it_looks_like_a_real_one(sim: Simulators, merchant: WeChatMerchant) -> None:
    close(sim, merchant.id)
    real, ours = read(GOLDEN.read_bytes()), read(fetch(merchant, today(sim)))
    assert hashlib.sha1(GOLDEN.read_bytes()).hexdigest() == "dcd7ceb3d382a1181798368bb15d8437de46c00f"
    assert (real[0], list(real[2])) == (ours[0], list(ours[2]))

    def shape(row: dict[str, str]) -> dict[str, str]:
        """Digits as 9, and words that differ from merchant to merchant left out."""
        own = ("公众账号ID", "用户标识", "商户订单号", "商品名称", "商户数据包")
        shaped = {key: "".join("9" if c.isdigit() else c for c in text) for key, text in row.items() if key not in own}
        return shaped | {"微信退款单号": row["微信退款单号"], "手续费": shaped["手续费"], "费率": shaped["费率"]}

    small = next(row for row in ours[1] if row["商户订单号"] == "BILL0003")
    assert shape(small) == shape(real[1][0])


def test_a_day_tampered_with(sim: Simulators, merchant: WeChatMerchant) -> None:
    done = close(sim, merchant.id, remove=["BILL0002"], change={"BILL0001": -5}, add=1)
    assert (done["removed"], done["changed"]) == (["BILL0002"], [{"key": "BILL0001", "delta": -5}])
    _, rows, totals = read(fetch(merchant, today(sim)))
    amounts = {row["商户订单号"]: row["订单金额"] for row in rows if row["交易状态"] == "SUCCESS"}
    assert amounts == {"BILL0001": "9.95", "BILL0003": "0.09", done["added"][0]: "12.34"}
    assert totals["订单总金额"] == "22.38"
    assert len(close(sim, merchant.id, remove=1, change=2)["changed"]) == 2
    with pytest.raises(AssertionError, match="NOBODY"):
        close(sim, merchant.id, remove=["NOBODY"])


def test_a_corrupt_file(sim: Simulators, merchant: WeChatMerchant) -> None:
    for corrupt in ("hash", "truncate"):
        close(sim, merchant.id, corrupt=corrupt)
        with pytest.raises(AssertionError):
            fetch(merchant, today(sim))
    close(sim, merchant.id, corrupt="totals")
    _, rows, totals = read(fetch(merchant, today(sim)))
    assert totals["订单总金额"] == "12.60" and len(rows) == 4


def test_without_close_day_it_comes_the_next_morning(own_sim: Simulators, shop: Shop) -> None:
    merchant = WeChatMerchant(own_sim.open_account("wechatpay"), f"{shop.url}/notify")
    merchant.create("MORNING1", attach="sim:autopay")
    day = today(own_sim)
    assert merchant.bill(day)[1]["code"] == "STATEMENT_CREATING"
    own_sim.post("/sim/clock", now=f"{day}T23:59:59+08:00")
    own_sim.post("/sim/clock", offset_s=own_sim.get("/sim/clock")["offset_s"] + 9 * 3600 - 10)
    assert merchant.bill(day)[1]["code"] == "STATEMENT_CREATING"
    own_sim.post("/sim/clock", offset_s=own_sim.get("/sim/clock")["offset_s"] + 20)
    assert len(read(fetch(merchant, day))[1]) == 1
    assert merchant.bill("2001-01-01")[1]["code"] == "NO_STATEMENT_EXIST"
    assert merchant.bill("2001-13-01")[1]["code"] == "PARAM_ERROR"


def test_alipays_format(sim: Simulators, shop: Shop) -> None:
    merchant = AlipayMerchant(sim.open_account("alipay"), f"{shop.url}/notify")
    merchant.precreate("ZIP-1", "10.00", attach="sim:autopay")
    merchant.call("alipay.trade.refund", out_trade_no="ZIP-1", refund_amount="4", out_request_no="R-1")
    ask = {"bill_type": "trade", "bill_date": today(sim)}
    method = "alipay.data.dataservice.bill.downloadurl.query"
    assert merchant.call(method, **ask)["sub_code"] == "isp.bill_not_exist"
    close(sim, merchant.id)
    content = download(merchant.call(method, **ask)["bill_download_url"])
    archive = zipfile.ZipFile(io.BytesIO(content), metadata_encoding="gbk")
    stem = f"{merchant.config['seller_id']}0156_{today(sim).replace('-', '')}_业务明细"
    assert archive.namelist() == [f"{stem}.csv", f"{stem}(汇总).csv"]
    assert all(not info.flag_bits & 0x800 for info in archive.infolist())
    lines = archive.read(f"{stem}.csv").decode("gbk").split("\r\n")
    header, paid, back = (lines[index].split(",") for index in (4, 5, 6))
    assert len(header) == len(paid) == len(back) == 25
    assert paid[:4] == [f"{merchant.query('ZIP-1')['trade_no']}\t", "ZIP-1\t", "交易\t", "测试"]
    assert (paid[11], paid[22], back[2], back[11], back[21]) == ("10.00", "-0.06", "退款\t", "-4.00", "R-1\t")
    assert lines[8:10] == [
        "#交易合计：1笔，商家实收共10.00元，商家优惠共0.00元",
        "#退款合计：1笔，商家实收退款共-4.00元，商家优惠退款共0.00元",
    ]
    close(sim, merchant.id, corrupt="hash")
    assert not is_sound(download(merchant.call(method, **ask)["bill_download_url"]))


def is_sound(content: bytes) -> bool:
    """Whether a zip can be read to its end."""
    try:
        return zipfile.ZipFile(io.BytesIO(content)).testzip() is None
    except (zipfile.BadZipFile, zlib.error):
        return False


def download(url: str) -> bytes:
    """A plain GET, as Alipay's bills are fetched."""
    with urllib.request.urlopen(url, timeout=10) as reply:
        return reply.read()
