"""What UnionPay answers, and what it answers when something is wrong, too early, too late, or asked twice."""

import base64
import io
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlencode

import pytest

from simulators.process import Shop, Simulators
from simulators.unionpay_merchant import UnionPayMerchant, is_signed

BEIJING = timezone(timedelta(hours=8))


@pytest.fixture(scope="module")
def config(sim: Simulators) -> dict[str, str]:
    return sim.open_account("unionpay")


@pytest.fixture
def merchant(config: dict[str, str], shop: Shop) -> UnionPayMerchant:
    return UnionPayMerchant(config, f"{shop.url}/notify")


def pay(sim: Simulators, merchant: UnionPayMerchant, number: str, action: str = "pay") -> None:
    sim.post("/sim/pay", account=merchant.id, out_trade_no=number, action=action)


def test_a_qr_code_is_paid_asked_about_and_told(sim: Simulators, merchant: UnionPayMerchant, shop: Shop) -> None:
    made = merchant.create("QRCODE01", reqReserved="茶")
    assert made["respCode"] == "00" and made["qrCode"].startswith("https://qr.95516.com/")
    assert merchant.query("QRCODE01")["origRespCode"] == "05"
    pay(sim, merchant, "QRCODE01")
    said = merchant.query("QRCODE01")
    assert (said["origRespCode"], said["txnAmt"], said["txnType"], len(said["queryId"])) == ("00", "100", "01", 21)
    told = dict(parse_qsl(shop.wait(1)[0].body.decode()))
    assert is_signed(told, merchant.config["middle_certificate"])
    assert (told["respCode"], told["queryId"], told["reqReserved"]) == ("00", said["queryId"], "茶")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"orderId": "short"}, "10"),
        ({"orderId": "has_under_score"}, "10"),
        ({"orderId": ""}, "13"),
        ({"txnAmt": "1.00"}, "10"),
        ({"txnAmt": "0"}, "10"),
        ({"txnAmt": ""}, "13"),
        ({"currencyCode": "840"}, "10"),
        ({"backUrl": ""}, "13"),
        ({"txnTime": "2026-11-21"}, "10"),
        ({"payTimeout": "20200101000000"}, "10"),
        ({"payTimeout": "20261399000000"}, "10"),
        ({"reqReserved": "{a}"}, "10"),
        ({"version": "5.0.0"}, "10"),
        ({"txnSubType": "09"}, "32"),
        ({"txnType": "02"}, "32"),
        ({"txnSubType": "06"}, "13"),  # without a code
        ({"txnSubType": "06", "qrNo": "13"}, "10"),
        ({"certId": "1"}, "11"),
        ({"merId": "777290058999999"}, "11"),
    ],
)
def test_an_order_that_is_wrong(merchant: UnionPayMerchant, change: dict[str, str], code: str) -> None:
    assert merchant.create("WRONG00001", **change)["respCode"] == code


def test_a_form_that_was_changed_after_it_was_signed(merchant: UnionPayMerchant) -> None:
    params = merchant.params(**merchant.order("CHANGED01"))
    for change in ({"txnAmt": "1"}, {"orderDesc": "x"}, {"signature": "AAAA"}):
        assert merchant.send("backTransReq", {**params, **change})["respCode"] == "11"


def test_an_order_number_is_taken_once(sim: Simulators, merchant: UnionPayMerchant) -> None:
    assert [merchant.create("TWICE0001")["respCode"] for _ in range(2)] == ["00", "12"]


def test_nobody_knows_an_order_at_another_time(merchant: UnionPayMerchant) -> None:
    merchant.create("TIMED0001")
    assert merchant.query("TIMED0001", txnTime="20261121120001")["respCode"] == "34"
    assert merchant.query("NOBODYS01")["respCode"] == "34"


def test_a_page_goes_to_the_phone_and_exists_from_then_on(sim: Simulators, merchant: UnionPayMerchant) -> None:
    order = merchant.order("PAGE00001", txnSubType="01", bizType="000201", channelType="07", frontUrl="http://shop/")
    assert merchant.query("PAGE00001")["respCode"] == "34"
    url = f"{merchant.config['base_url']}/gateway/api/frontTransReq.do"
    for _ in range(2):
        with urllib.request.urlopen(url, urlencode(merchant.params(**order)).encode()) as page:
            assert "/phone?code=unionpay-page-" in page.url and "云闪付" in page.read().decode()
    assert merchant.query("PAGE00001")["origRespCode"] == "05"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, urlencode(merchant.params(**{**order, "txnAmt": "101"})).encode())
    assert caught.value.code == 400 and caught.value.read().startswith(b"12: ")


def test_only_a_scanned_payers_refusal_is_told(sim: Simulators, merchant: UnionPayMerchant, shop: Shop) -> None:
    merchant.create("REFUSED01")
    merchant.create("REFUSED02", txnSubType="06", qrNo="6212345678901234567")
    for number in ("REFUSED01", "REFUSED02"):
        pay(sim, merchant, number, "decline")
        assert merchant.query(number)["origRespCode"] == "64"
    told = [dict(parse_qsl(c.body.decode())) for c in shop.wait(1)]
    assert [(t["orderId"], t["respCode"]) for t in told] == [("REFUSED02", "64")]


def test_refunds_and_voids(sim: Simulators, merchant: UnionPayMerchant) -> None:
    merchant.create("REFUND001")
    assert (
        merchant.give_back("04", "REFUND01A", "1", origOrderId="REFUND001", origTxnTime="20261121120000")["respCode"]
        == "35"
    )
    pay(sim, merchant, "REFUND001")
    paid = merchant.query("REFUND001")["queryId"]
    assert merchant.give_back("04", "REFUND01A", "60", origQryId=paid)["respCode"] == "00"
    assert merchant.give_back("04", "REFUND01A", "60", origQryId=paid)["respCode"] == "12"
    assert merchant.give_back("04", "REFUND01B", "41", origQryId=paid)["respCode"] == "36"
    assert merchant.give_back("31", "REFUND01C", "100", origQryId=paid)["respCode"] == "35", "a part has gone back"
    assert merchant.query("REFUND01A")["origRespCode"] == "05"
    time.sleep(0.4)
    done = merchant.query("REFUND01A")
    assert (done["origRespCode"], done["txnType"], done["origQryId"]) == ("00", "04", paid)
    assert merchant.give_back("04", "REFUND01B", "40", origQryId=paid)["respCode"] == "00"
    assert merchant.give_back("04", "REFUND01D", "1", origQryId=paid)["respCode"] == "45"

    merchant.create("VOIDED001")
    pay(sim, merchant, "VOIDED001")
    named = {"origOrderId": "VOIDED001", "origTxnTime": "20261121120000"}
    assert merchant.give_back("31", "VOIDED01A", "99", **named)["respCode"] == "36"
    assert merchant.give_back("31", "VOIDED01A", "100", **named)["respCode"] == "00"
    assert merchant.query("VOIDED01A")["origRespCode"] == "00", "at once"
    assert merchant.give_back("31", "VOIDED01B", "100", **named)["respCode"] == "45"


def test_a_void_is_for_the_same_settlement_day_and_a_late_payment_is_told_as_late(
    own_sim: Simulators, shop: Shop
) -> None:
    merchant = UnionPayMerchant(own_sim.open_account("unionpay"), f"{shop.url}/notify")
    own_sim.post("/sim/clock", now="2026-11-21T22:58:00+08:00")
    merchant.create("EVENING01", payTimeout="20261121225900")
    merchant.create("EVENING02")
    pay(own_sim, merchant, "EVENING02")
    paid = merchant.query("EVENING02")
    assert paid["settleDate"] == "1121"
    own_sim.post("/sim/clock", now="2026-11-21T23:00:01+08:00")
    assert merchant.give_back("31", "EVENING03", "100", origQryId=paid["queryId"])["respCode"] == "35"
    assert merchant.give_back("04", "EVENING04", "100", origQryId=paid["queryId"])["respCode"] == "00"
    own_sim.post("/sim/dials", account=merchant.id, dials={"close:late_success": {"seconds": 0.1}})
    assert merchant.query("EVENING01")["origRespCode"] == "05"
    time.sleep(0.3)
    late = merchant.query("EVENING01")
    assert (late["origRespCode"], late["settleDate"]) == ("42", "1122")


def test_the_file_of_a_day(sim: Simulators, shop: Shop) -> None:
    merchant = UnionPayMerchant(sim.open_account("unionpay"), f"{shop.url}/notify")
    day = datetime.fromtimestamp(sim.get("/sim/clock")["now_ms"] // 1000 + 3600, BEIJING)
    ask = {"txnType": "76", "txnSubType": "01", "fileType": "00", "channelType": ""}
    assert merchant.call("", **ask, settleDate=day.strftime("%m%d"))["respCode"] == "98"
    assert merchant.call("", **ask, settleDate="1399")["respCode"] == "10"
    merchant.create("FILED0001" + "X" * 31, reqReserved="两杯咖啡")
    pay(sim, merchant, "FILED0001" + "X" * 31)
    sim.post(f"/sim/accounts/{merchant.id}/close-day", day=day.strftime("%Y-%m-%d"))
    said = merchant.call("", **ask, settleDate=day.strftime("%m%d"))
    assert said["fileName"] == f"{merchant.id}_{day:%Y%m%d}.zip"
    with zipfile.ZipFile(io.BytesIO(zlib.decompress(base64.b64decode(said["fileContent"])))) as archive:
        assert f"INN{day:%y%m%d}88ZM_{merchant.id}" in archive.namelist()
        [row] = archive.read(f"INN{day:%y%m%d}88ZM_{merchant.id}").splitlines()
    assert len(row) == 607 and row[:4] == b"S22 " and row[66:78] == b"000000000100"
    assert row[112:144] == b"FILED0001" + b"X" * 23, "40 letters may be asked with, 32 have room"
    assert "两杯咖啡".encode("gbk") in row


def test_the_certificate_for_cardholders_data(merchant: UnionPayMerchant) -> None:
    said = merchant.call("backTransReq", txnType="95", txnSubType="00", certType="01", orderId="KEYUPDATE1")
    assert said["respCode"] == "00" and said["encryptPubKeyCert"].startswith("-----BEGIN CERTIFICATE")
