"""Large bills: a million lines are to fit into 300 MB, so a file may lie in memory once and its lines not at all."""

import subprocess
import sys
from pathlib import Path

import pytest

LINES = 150_000
SCRIPT = """
import io, resource, sys, zipfile
from datetime import date

name, rows = sys.argv[1], int(sys.argv[2])
KEY, NUMBER = "06b2xk6n5vq3x8r6e4m0c9t7{:08d}", "2019091622001458860{:09d}"


def yuan(fen):
    return f"{fen // 100}.{fen % 100:02d}"


def trades():
    yield "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,订单金额（元）,商家实收（元）,商家优惠（元）,退款批次号/请求号,服务费（元）,备注"
    for k in range(rows):
        yield f"{NUMBER.format(k)}\\t,{KEY.format(k)}\\t,交易\\t,下单测试,2019-09-16 10:55:16,2019-09-16 10:55:23,12.50,12.50,0.00,\\t,-0.08,"
    yield f"#交易合计：{rows}笔，商家实收共{yuan(1250 * rows)}元，商家优惠共0.00元"
    yield "#退款合计：0笔，商家实收退款共0.00元，商家优惠退款共0.00元"


def funds():
    yield "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,交易渠道,业务类型,备注"
    for k in range(rows, 0, -1):
        yield f"{NUMBER.format(k)}\\t,{NUMBER.format(k)}\\t,{KEY.format(k)}\\t,下单\\t,2019-09-16 10:55:16,\\t,12.50,0.00,{yuan(1250 * k)},支付宝,在线支付,"
    yield "#支出合计：0笔，共0.00元"
    yield f"#收入合计：{rows}笔，共{yuan(1250 * rows)}元"


out = io.BytesIO()
with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
    with archive.open(f"2088_{name}.csv", "w") as entry:
        for line in trades() if name == "业务明细" else funds():
            entry.write((line + "\\r\\n").encode("gb18030"))
packed = out.getvalue()
from guilder.channels.alipay.funds import read_funds
from guilder.channels.alipay.statement import read_statement

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
statement = (read_statement if name == "业务明细" else read_funds)(date(2019, 9, 16), packed)
assert sum(1 for _ in statement.lines) == rows
print(len(bytes(statement.raw)) // 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", ["业务明细", "账务明细"])
def test_a_file_lies_in_memory_once_and_its_lines_not_at_all(name: str, tmp_path: Path):
    script = tmp_path / "read.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script, name, str(LINES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    raw, grown = map(int, done.stdout.split())
    assert raw > 15_000 and grown < 1.3 * raw + 12_000, f"{raw} KB of file, {grown} KB of memory"
