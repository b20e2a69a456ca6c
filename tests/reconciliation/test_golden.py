"""A real bill, published by a merchant: its three payments meet three records of ours.

The folder with the real bytes is not part of the repository; where it is missing, the same lines are read from a bill of our own
writing.  The keys in it are not of our minting, so each line's key is looked up as its merchant's would be: by the id that we put there.
"""

import hashlib
import os
from datetime import date
from pathlib import Path

import pytest

from golden import BESIDE, lacking
from guilder.channels.wechatpay.statement import read_statement
from guilder.reconciliation import Sums
from guilder.reconciliation.reconcile import settle
from reconciliation.bill import Row, text
from reconciliation.merchant import Merchant, at, found, told

pytestmark = pytest.mark.anyio
DAY = date(2021, 1, 28)
KEYS = ("S20210128170702357723", "S20210128153505214586", "S20210128165824499930")
FOLDER = Path(os.environ.get("GUILDER_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
REAL = FOLDER / "wechat_tradebill_all_2021-01-28.csv"
SHA1 = "dcd7ceb3d382a1181798368bb15d8437de46c00f"


def real_bill() -> bytes:
    return REAL.read_bytes() if REAL.exists() else text([Row(k, 1, at("12:00", DAY)) for k in KEYS])


async def test_the_lines_of_a_stranger_are_none_of_ours(wechat: Merchant):
    raw = real_bill()

    report = await settle(wechat.env, wechat.account, read_statement(DAY, raw, hashlib.sha1(raw).hexdigest()))

    assert report.channel == Sums(3, 3, 0, 0)
    assert found(report) == told(*(("missing_local", key) for key in KEYS))


async def test_the_bill_meets_the_records_that_were_made_for_it(wechat: Merchant):
    pairs = [wechat.attempt(1, when=at(t, DAY)) for t in ("17:07", "15:35", "16:59")]
    await wechat.save(pairs)
    raw = real_bill()
    for key, (_, attempt) in zip(KEYS, pairs, strict=True):
        raw = raw.replace(key.encode(), wechat.key(attempt).encode())

    report = await settle(wechat.env, wechat.account, read_statement(DAY, raw, hashlib.sha1(raw).hexdigest()))

    assert report.channel == report.ours == report.matched == Sums(3, 3, 0, 0)
    assert report.fee == 0


@pytest.mark.skipif(lacking(REAL), reason=BESIDE)
def test_the_real_bytes_have_the_published_hash():
    assert read_statement(DAY, REAL.read_bytes(), SHA1).totals.payments == 3
