"""A process that reconciles a file and dies on its way: `python -m reconciliation.dying` with its orders, as JSON, on stdin."""

import asyncio
import json
import os
import signal
import sys
from datetime import date
from hashlib import sha1
from pathlib import Path
from typing import Any
from uuid import UUID

from guilder.channels.wechatpay.statement import read_statement
from guilder.merchants import channel_accounts
from guilder.platform import db
from guilder.platform.crypto import Keyring
from guilder.platform.environment import Cache, Env
from guilder.platform.settings import Settings
from guilder.reconciliation.reconcile import settle


async def run(orders: dict[str, Any]) -> None:
    """Settle, and kill -9 this process at the step that the orders name."""

    def say(step: str, done: int, total: int) -> None:
        if step == orders["step"] and done >= orders["done"]:
            os.kill(os.getpid(), signal.SIGKILL)

    pool = await db.Database("test", orders["dsn"], size=4).open()
    control = await db.Database("control", orders["control"], size=1).open()
    env = Env("test", Settings(), pool, control, Keyring(bytes(range(32))), Cache(lambda: asyncio.sleep(0, 0)))
    account = await channel_accounts.get(env, UUID(orders["account"]))
    assert account is not None
    raw = Path(orders["file"]).read_bytes()
    await settle(
        env,
        account,
        read_statement(date.fromisoformat(orders["day"]), raw, sha1(raw, usedforsecurity=False).hexdigest()),
        say,
    )


asyncio.run(run(json.load(sys.stdin)))
