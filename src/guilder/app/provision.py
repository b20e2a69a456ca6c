"""The demo merchant: made once in `test`, with an account at each simulated channel.  Its keys are kept in the state folder."""

from typing import Any
from uuid import UUID

import aiohttp
import msgspec

from guilder.app import environments
from guilder.app.environments import World
from guilder.app.up import keep
from guilder.core import ids
from guilder.merchants import channel_accounts, keys, onboard
from guilder.platform.db import Tx
from guilder.platform.settings import Settings

CHANNELS = ("wechatpay", "alipay")


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
        demo = await make_merchant(world, "Demo Shop")
    keep(file, msgspec.json.encode(demo))
    return demo


async def make_merchant(
    world: World, name: str, *, trust: str = "public_key", late_success: str = "refund", funds: str = "platform"
) -> Demo:
    """A merchant in `test` with keys and an account at each simulated channel."""
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
    async with aiohttp.ClientSession() as http:
        for channel in CHANNELS:
            wish = {"channel": channel, "name": name} | ({"trust": trust} if channel == "wechatpay" else {})
            async with http.post(f"{world.settings.simulator_url}/sim/accounts", json=wish) as answer:
                answer.raise_for_status()
                opened = await answer.json()
            id = await channel_accounts.add(env, merchant, channel, opened["config"], funds=funds)
            accounts[channel], simulated[channel] = ids.show("ca", id), opened["id"]
    return Demo(
        ids.show("acct", merchant), made["secret"], made["public"], accounts, simulated, world.settings.simulator_url
    )
