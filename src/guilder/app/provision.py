"""The demo merchant: made once in `test`, with an account at each simulated channel.  Its keys are kept in the state folder."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import aiohttp
import msgspec

from guilder.app import environments
from guilder.app.environments import World
from guilder.app.up import keep
from guilder.core import ids
from guilder.core.check import must
from guilder.merchants import channel_accounts, keys, onboard
from guilder.payments import asking
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.settings import Settings

CHANNELS = ("wechatpay", "alipay", "unionpay", "stripe", "paypal")
OPTIONS = {"stripe": {"currency": "CNY"}, "paypal": {"currency": "CNY"}}  # so that one story has one currency
REGISTERED = ("stripe", "paypal")  # no call says where their callbacks go: they are told once


class Demo(msgspec.Struct):
    """A merchant with everything that a first payment needs."""

    merchant: str  # 'acct_…'
    secret_key: str
    publishable_key: str
    accounts: dict[str, str]  # channel -> 'ca_…'
    simulated: dict[str, str]  # channel -> the account's id at the simulator
    simulators: str = ""  # where they were opened


async def demo_merchant(s: Settings) -> Demo:
    """The demo merchant of this installation, made if it is missing."""
    file = s.state_path / "demo.json"
    if file.exists():
        demo = msgspec.json.decode(file.read_bytes(), type=Demo)
        if demo.simulators == s.simulator_url:
            return demo
    async with environments.open_world(s) as world:
        demo = await make_merchant(world, "Demo Shop", channels=CHANNELS)
    keep(file, msgspec.json.encode(demo))
    return demo


async def make_merchant(
    world: World,
    name: str,
    *,
    channels: Sequence[str] = ("wechatpay", "alipay"),
    trust: str = "public_key",
    late_success: str = "refund",
    funds: str = "platform",
) -> Demo:
    """A merchant in `test` with keys and an account at each of these simulated channels.  `trust`: how WeChat Pay signs for it."""
    env = world.envs["test"]
    made: dict[str, Any] = {}

    async def onboarding(tx: Tx) -> None:
        merchant = await onboard.onboard(tx, name, business_line="demo", late_success=late_success)
        secret = await keys.make(tx, merchant, "test", "sk", name="demo")
        public = await keys.make(tx, merchant, "test", "pk", name="demo")
        made.update(merchant=merchant, secret=secret.secret, public=public.secret)

    await world.control.transact(onboarding)
    merchant: UUID = made["merchant"]
    accounts, simulated = {}, {}
    async with aiohttp.ClientSession(f"{world.settings.simulator_url}/") as http:
        for channel in channels:
            wish = {"channel": channel, "name": name, "options": OPTIONS.get(channel, {})}
            wish |= {"trust": trust} if channel == "wechatpay" else {}
            opened = await _tell(http, "sim/accounts", wish)
            id = await channel_accounts.add(env, merchant, channel, opened["config"], funds=funds)
            if channel in REGISTERED:
                await _tell(http, f"sim/accounts/{opened['id']}/endpoint", {"url": await _callbacks(env, id)})
            accounts[channel], simulated[channel] = ids.show("ca", id), opened["id"]
    return Demo(
        ids.show("acct", merchant), made["secret"], made["public"], accounts, simulated, world.settings.simulator_url
    )


async def _tell(http: aiohttp.ClientSession, path: str, wish: dict[str, Any]) -> Any:
    async with http.post(path, json=wish) as answer:
        answer.raise_for_status()
        return await answer.json()


async def _callbacks(env: Env, id: UUID) -> str:
    account = await channel_accounts.get(env, id)
    must(account is not None, "what was stored is there")
    assert account is not None
    return asking.notify_url(env, account)
