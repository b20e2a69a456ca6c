"""`make demo`: one story through the official SDK, from the first payment to the reconciled day.

An installation of its own beside whatever runs, a small shop server that hears the webhooks, payers who pay, walk away or pay twice, a
channel that loses a callback; then the channels close their day with one row removed and one changed, and exactly these two breaks show.
Every step is checked; one check that fails fails the demonstration.
"""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from rich.console import Console
from rich.table import Table

from guilder import ledger
from guilder.app import environments, installation
from guilder.app.environments import World
from guilder.app.installation import Installation
from guilder.app.provision import Demo
from guilder.core import clock, ids
from guilder.core.errors import GuilderError
from guilder.ledger.posting import balances
from guilder.merchants import channel_accounts
from guilder.platform.db import Tx
from guilder.reconciliation import reconcile
from guilder.reconciliation.render import render

out = Console(highlight=False)
CHANNELS = ("wechatpay", "alipay")  # where the story happens; their days are Beijing's


class CheckFailed(GuilderError):
    """A check of the demonstration failed."""


@dataclass
class Story:
    """What the demonstration holds while it runs."""

    it: Installation
    world: World
    demo: Demo
    http: aiohttp.ClientSession
    client: Any  # stripe.StripeClient
    heard: list[dict[str, Any]] = field(default_factory=list)  # webhooks, verified
    intents: dict[str, str] = field(default_factory=dict)  # what happened -> id
    checks: int = 0

    def check(self, what: str, held: object) -> None:
        """Count a check, or fail."""
        if not held:
            raise CheckFailed(f"Not so: {what}.")
        self.checks += 1

    async def sdk(self, call: Callable[..., Any], *args: Any) -> Any:
        """The SDK is blocking: call it in a thread, as a shop's server would in its own."""
        return await asyncio.to_thread(call, *args)

    async def simulate(self, path: str, body: dict[str, Any]) -> Any:
        """Turn the simulated world."""
        async with self.http.post(self.it.at.simulators + path, json=body) as answer:
            answer.raise_for_status()
            return await answer.json()


async def run(*, keep: bool = False) -> int:
    """Tell the story; 0 if every check held."""
    try:
        import stripe
    except ImportError:
        out.print("The demonstration needs the official SDK: run it with `make demo`, or `pip install stripe`.")
        return 1
    folder = _folder()
    began = time.monotonic()
    out.print("\n[bold]Guilder, one story from payment to reconciliation[/bold]\n")
    try:
        with _step("an installation of its own: PostgreSQL, API, cashier, worker, simulators"):
            it = await asyncio.to_thread(installation.start, folder / "state")
        try:
            async with environments.open_world(it.settings()) as world, aiohttp.ClientSession() as http:
                assert it.at.demo is not None
                client = stripe.StripeClient(it.at.demo.secret_key, base_addresses={"api": it.at.api})
                story = Story(it, world, it.at.demo, http, client)
                await _tell(story)
        finally:
            it.stop()
        out.print(f"[bold green]All {story.checks} checks held[/bold green] in {time.monotonic() - began:.0f} s.")
    except GuilderError as error:
        out.print(f"\n[bold red]{error.message}[/bold red]")
        out.print(f"Its logs are in {folder}/state/logs.")
        return 1
    if keep:
        out.print(f"The data is kept: GUILDER_STATE={folder}/state ./run up")
    else:
        installation.remove(folder / "state")
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _folder() -> Path:
    """A folder that the database's own user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="guilder-demo-"))
    folder.chmod(0o755)
    return folder


async def _tell(story: Story) -> None:
    runner = await _shop_server(story)
    try:
        for title, chapter in CHAPTERS:
            with _step(title):
                await chapter(story)
    finally:
        await runner.cleanup()
    await _tables(story)


async def _shop_server(story: Story) -> web.AppRunner:
    """The shop: it believes a webhook when the SDK has verified it, and counts each event once."""
    import stripe

    async def hear(request: web.Request) -> web.Response:
        try:
            event = stripe.Webhook.construct_event(await request.read(), request.headers["Stripe-Signature"], secret)  # type: ignore[no-untyped-call]
        except (stripe.SignatureVerificationError, KeyError):
            return web.Response(status=400)
        if event["id"] not in {e["id"] for e in story.heard}:
            story.heard.append(json.loads(str(event)))
        return web.Response()

    app = web.Application()
    app.router.add_post("/webhooks", hear)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    endpoint = await story.sdk(
        story.client.v1.webhook_endpoints.create, {"url": f"http://127.0.0.1:{port}/webhooks", "enabled_events": ["*"]}
    )
    secret = endpoint.secret
    return runner


async def _create(story: Story, name: str, amount: int, way: str, description: str, dial: str = "") -> Any:
    """A payment by `way`, confirmed; `dial` says what the simulated channel does wrong."""
    method = f"pm_sim_{way}" + (f"__{dial}" if dial else "")
    intent = await story.sdk(
        story.client.v1.payment_intents.create,
        {"amount": amount, "currency": "cny", "payment_method_types": ["wechat_pay", "alipay"], "payment_method": method,
         "payment_method_options": {"alipay": {"client": "qr"}}, "confirm": True, "description": description},
    )  # fmt: skip
    story.intents[name] = intent.id
    return intent


async def _scan(story: Story, intent: Any, action: str = "pay") -> None:
    """The payer takes the phone."""
    step = intent.next_action
    await story.simulate("/sim/pay", {"code": step[step["type"]]["data"], "action": action})


async def _becomes(story: Story, name: str, status: str, within_s: float = 30) -> Any:
    """Wait until a payment has a status."""
    deadline = time.monotonic() + within_s
    while True:
        intent = await story.sdk(story.client.v1.payment_intents.retrieve, story.intents[name])
        if intent.status == status:
            story.check(f"{name} is {status}", True)
            return intent
        if time.monotonic() > deadline:
            raise CheckFailed(f"Not so: {name} should be {status} within {within_s:.0f} s, and is {intent.status}.")
        await asyncio.sleep(0.1)


async def _wechat(story: Story) -> None:
    intent = await _create(story, "tea", 1250, "wechat_pay", "Tea")
    story.check("a code to scan is shown", intent.next_action.type == "wechat_pay_display_qr_code")
    await _scan(story, intent)
    await _becomes(story, "tea", "succeeded")


async def _alipay(story: Story) -> None:
    await _scan(story, await _create(story, "book", 8800, "alipay", "A book"))
    await _becomes(story, "book", "succeeded")


async def _lost_callback(story: Story) -> None:
    await _scan(story, await _create(story, "callback lost", 3300, "wechat_pay", "Lamp", "callback_lost"))
    await _becomes(story, "callback lost", "succeeded")


async def _lost_answer(story: Story) -> None:
    intent = await _create(story, "answer lost", 4400, "wechat_pay", "Chair", "silence_after")
    story.check("silence is no failure: it is processing", intent.status == "processing")
    await _scan(story, await _becomes(story, "answer lost", "requires_action", 60))
    await _becomes(story, "answer lost", "succeeded")


async def _paid_twice(story: Story) -> None:
    first = await _create(story, "paid twice", 5500, "wechat_pay", "Desk", "close-silence_before")
    second = await story.sdk(
        story.client.v1.payment_intents.confirm, first.id,
        {"payment_method": "pm_alipay", "payment_method_options": {"alipay": {"client": "qr"}}},
    )  # fmt: skip
    await _scan(story, first)
    await _scan(story, second)
    await _becomes(story, "paid twice", "succeeded")


async def _walked_away(story: Story) -> None:
    intent = await _create(story, "walked away", 700, "wechat_pay", "Umbrella")
    await story.sdk(story.client.v1.payment_intents.cancel, intent.id)
    await _becomes(story, "walked away", "canceled")


async def _refund(story: Story) -> None:
    refund = await story.sdk(
        story.client.v1.refunds.create,
        {"payment_intent": story.intents["book"], "amount": 3000, "reason": "requested_by_customer"},
    )
    deadline = time.monotonic() + 30
    while (await story.sdk(story.client.v1.refunds.retrieve, refund.id)).status != "succeeded":
        story.check("the refund succeeds in time", time.monotonic() < deadline)
        await asyncio.sleep(0.1)
    refused = await story.sdk(_refund_too_much, story)
    story.check("a refund above what is left is refused", refused == "amount_too_large")


def _refund_too_much(story: Story) -> str | None:
    import stripe

    try:
        story.client.v1.refunds.create({"payment_intent": story.intents["book"], "amount": 6000})
    except stripe.InvalidRequestError as error:
        return error.code
    return None


async def _books(story: Story) -> None:
    """The surplus has gone back, everything was told, and the book is sound."""
    book = ids.read("acct", story.demo.merchant)
    assert book is not None
    deadline = time.monotonic() + 60
    while True:
        broken, shown = await _look(story, book)
        told = {e["data"]["object"]["id"] for e in story.heard if e["type"] == "payment_intent.succeeded"}
        paid = {story.intents[n] for n in ("tea", "book", "callback lost", "answer lost", "paid twice")}
        if shown.get("surplus") == 0 and paid <= told:
            break
        story.check(
            f"the surplus goes back and the shop is told in time ({shown}, {len(told)} told)",
            time.monotonic() < deadline,
        )
        await asyncio.sleep(0.2)
    story.check("the book keeps L1 to L10", broken == [])
    story.check(
        "we owe the merchant what was paid and not given back",
        shown["payable"] == 1250 + 8800 + 3300 + 4400 + 5500 - 3000,
    )
    story.check("the channels owe us the same", shown["receivable"] == shown["payable"])


async def _look(story: Story, book: Any) -> tuple[list[Any], dict[str, int]]:
    async def look(tx: Tx) -> Any:
        shown: dict[str, int] = {}
        for row in await balances(tx, book):
            code = row["code"].partition(":")[0]
            shown[code] = shown.get(code, 0) + row["shown"]
        return await ledger.sweep(tx), shown

    return await story.world.envs["test"].db.transact(look)


async def _day(story: Story) -> None:
    """The channels close their day; WeChat's file lacks one row and has one changed."""
    day = clock.beijing_day(clock.now()).isoformat()
    for channel in CHANNELS:
        account = story.demo.simulated[channel]
        flaws = {"remove": 1, "change": 1} if channel == "wechatpay" else {}
        story.intents[f"planted in {channel}"] = json.dumps(
            await story.simulate(f"/sim/accounts/{account}/close-day", {"day": day, **flaws})
        )


CHAPTERS: tuple[tuple[str, Callable[[Story], Awaitable[None]]], ...] = (
    ("a payer scans a code and pays by WeChat Pay", _wechat),
    ("another pays by Alipay", _alipay),
    ("a callback is lost: Guilder asks", _lost_callback),
    ("an answer is lost: unknown is no failure", _lost_answer),
    ("one payment is paid twice, at two channels: the second goes back", _paid_twice),
    ("a payer walks away: the order is closed at the channel", _walked_away),
    ("30.00 of the book go back", _refund),
    ("the book is swept; the shop was told of everything", _books),
    ("the channels close their day, with one row removed and one changed", _day),
)


async def _tables(story: Story) -> None:
    env = story.world.envs["test"]
    payments = Table(title="Payments", title_justify="left")
    for column in ("what happened", "amount", "status", "id"):
        payments.add_column(column, justify="right" if column == "amount" else "left")
    for name, id in story.intents.items():
        if id.startswith("pi_"):
            intent = await story.sdk(story.client.v1.payment_intents.retrieve, id)
            payments.add_row(name, f"{intent.amount / 100:.2f}", intent.status, id)
    out.print(payments)
    await _journals(story)
    webhooks = Table(title="Webhooks that the shop received and verified", title_justify="left")
    webhooks.add_column("type")
    webhooks.add_column("count", justify="right")
    types = [e["type"] for e in story.heard]
    for type in sorted(set(types)):
        webhooks.add_row(type, str(types.count(type)))
    out.print(webhooks)
    day = clock.beijing_day(clock.now())
    for channel in CHANNELS:
        account = await channel_accounts.get(env, ids.read("ca", story.demo.accounts[channel]))  # type: ignore[arg-type]
        assert account is not None
        report = await reconcile(env, account, day)
        out.print(render(report))
        planted = json.loads(story.intents[f"planted in {channel}"])
        expected = {*planted["removed"], *(c["key"] for c in planted["changed"])}
        story.check(
            f"{channel}: exactly the planted breaks show",
            {b.key for b in report.breaks} == expected and report.open == len(expected),
        )
        story.check(f"{channel}: the totals add up", report.adds_up)


async def _journals(story: Story) -> None:
    from guilder.ledger.posting import lines

    table = Table(title="Journals", title_justify="left")
    for column in ("rule", "debit", "credit", "amount"):
        table.add_column(column, justify="right" if column == "amount" else "left")
    book = ids.read("acct", story.demo.merchant)
    names = {ids.text(id): channel for channel, shown in story.demo.accounts.items() if (id := ids.read("ca", shown))}
    for row in await lines(story.world.envs["test"].db, book):  # type: ignore[arg-type]
        debit, credit = (_named(row[side], names) for side in ("debit", "credit"))
        table.add_row(row["rule"], debit, credit, f"{row['units'] / 100:.2f} {row['asset']}")
    out.print(table)


def _named(code: str, names: dict[str, str]) -> str:
    head, _, tail = code.partition(":")
    return f"{head} ({names.get(tail, tail)})" if tail else head


class _step:
    """Say what happens, and how long it took."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        self.began = time.monotonic()
        out.print(f"  · {self.what} … ", end="")
        sys.stdout.flush()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        out.print("[red]failed[/red]" if kind else f"[dim]{time.monotonic() - self.began:.1f} s[/dim]")
