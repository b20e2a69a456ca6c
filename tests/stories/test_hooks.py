"""A plug-in from outside in the flow of payments: the shop's stock of examples/shop_stock, over HTTP, whatever dies or does not answer."""

import asyncio
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import stripe

from guilder.routing import rulesets
from stack import Shop, Stack, eventually, running

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
EXAMPLE = Path(__file__).parents[2] / "examples" / "shop_stock"


class Stock:
    """The shop's stock service: pieces by the try that they are for; what was done twice is done once."""

    def __init__(self) -> None:
        self.pieces: dict[str, str] = {}
        self.shipped: list[str] = []
        self.down, self.broken = False, 0

    def answer(self, method: str, what: str, name: str, body: dict[str, str]) -> tuple[int, dict[str, str]]:
        if self.down or self.broken:
            self.broken = max(0, self.broken - 1)
            return 503, {}
        if what == "goods":
            return 200, {"region": "north"}
        if method == "PUT":
            if body["sku"] == "rare":
                return 409, {}
            self.pieces[name] = "set aside"
        elif method == "DELETE":
            self.pieces[name] = "put back"
        elif self.pieces[name] != "shipped":
            self.pieces[name] = "shipped"
            self.shipped.append(name)
        return 200, {}


@contextmanager
def serving(stock: Stock) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
            _, what, name = (self.path + "/").split("/")[:3]
            status, said = stock.answer(self.command, what, name, body)
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: what a test wants to know it asks."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def install(folder: Path) -> Path:
    """As pip would: the module, and what says where its plug-in is."""
    info = folder / "shop_stock-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(EXAMPLE / "shop_stock.py", folder)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-stock\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[guilder.hooks]\nshop_stock = shop_stock:PLUGIN\n")
    return folder


def pay(shop: Shop, sku: str = "tea") -> Any:
    return shop.client().v1.payment_intents.create({
        "amount": 500, "currency": "cny", "confirm": True, "payment_method_types": ["wechat_pay"], "metadata": {"sku": sku},
        "payment_method_data": {"type": "wechat_pay"},
    })  # fmt: skip


def orders(stack: Stack, shop: Shop) -> int:
    """What the simulated channel has of the shop."""
    with sqlite3.connect(f"file:{stack.it.state}/simulators/book.sqlite3?mode=ro", uri=True) as book:
        account = shop.demo.simulated["wechatpay"]
        return int(book.execute("SELECT count(*) FROM trade WHERE account = ?", (account,)).fetchone()[0])


async def by_region(stack: Stack, shop: Shop) -> None:
    """A rule that asks for what the plug-in says."""
    rule = {"name": "north", "when": 'hooks["shop_stock.region"] == "north"', "then": [{"to": "wechatpay"}]}
    content = rulesets.read({"rules": [rule]})

    async def work(tx: Any) -> None:
        row = await rulesets.draft(tx, shop.book_id, content)
        await rulesets.activate(tx, shop.book_id, row["id"])

    async with stack.world() as world:
        await world.envs["test"].db.transact(work)


async def test_a_plug_in_from_outside_sets_aside_puts_back_and_ships(tmp_path: Path) -> None:
    stock = Stock()
    with (
        serving(stock) as url,
        running(tmp_path / "state", PYTHONPATH=str(install(tmp_path / "site")), SHOP_STOCK_URL=url) as stack,
    ):
        shop = await stack.merchant()
        await by_region(stack, shop)
        v1 = shop.client().v1

        paid = pay(shop)
        assert list(stock.pieces.values()) == ["set aside"], "before the channel is asked"
        [tried] = shop.get(f"payment_intents/{paid.id}/routing")["data"]
        assert "north" in str(tried), tried
        stock.broken = 2
        stack.pay(paid.next_action)
        await eventually(lambda: stock.shipped, within_s=30)
        assert v1.payment_intents.retrieve(paid.id).status == "succeeded", "the shop's stock holds up no payment"

        left = pay(shop)
        v1.payment_intents.cancel(left.id)
        await eventually(lambda: sorted(stock.pieces.values()) == ["put back", "shipped"], within_s=30)

        there = orders(stack, shop)
        with pytest.raises(stripe.CardError) as refused:
            pay(shop, "rare")
        assert "shop_stock: rare is sold out" in str(refused.value)
        stock.down = True
        with pytest.raises(stripe.CardError) as refused:
            pay(shop)
        assert "did not answer" in str(refused.value)
        assert orders(stack, shop) == there, "no channel was asked"
        stock.down = False
        await eventually(lambda: sorted(stock.pieces.values()).count("put back") == 3, within_s=40)
        assert stock.shipped == [next(iter(stock.pieces))], "once"
        told = shop.get(f"timeline?of={paid.id}")
        said = [e["text"] for e in told["entries"] if e["kind"] == "step"]
        assert said == ["the plug-in shop_stock, before asking: kept", "the plug-in shop_stock, on success: kept"]


async def test_K1_what_was_set_aside_by_a_process_that_died_is_put_back(tmp_path: Path) -> None:
    """Killed after the channel answered, and nothing written down; the payer never pays."""
    folder, stock = tmp_path / "failpoints", Stock()
    folder.mkdir()
    site = str(install(tmp_path / "site"))
    with (
        serving(stock) as url,
        running(tmp_path / "state", PYTHONPATH=site, SHOP_STOCK_URL=url, GUILDER_FAILPOINTS=str(folder)) as stack,
    ):
        shop = await stack.merchant()
        (folder / "pay.after_channel").write_text("kill")
        with pytest.raises(stripe.APIConnectionError):
            await asyncio.to_thread(pay, shop)
        assert list(stock.pieces.values()) == ["set aside"]

        v1 = shop.client(max_network_retries=0).v1
        [intent] = await eventually(lambda: v1.payment_intents.list().data)
        await eventually(lambda: v1.payment_intents.retrieve(intent.id).status == "requires_action", within_s=60)
        v1.payment_intents.cancel(intent.id)
        await eventually(lambda: list(stock.pieces.values()) == ["put back"], within_s=30)
        assert stock.shipped == []
