"""Contracts with channels: their configuration at rest, and the adapter that is built from it."""

from dataclasses import dataclass
from uuid import UUID

import msgspec

from guilder.channels import registry
from guilder.channels.model import Channel, Info
from guilder.core import ids
from guilder.core.errors import Invalid
from guilder.platform import trail
from guilder.platform.db import Row, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)


@dataclass(frozen=True, slots=True, eq=False)
class ChannelAccount:
    """A contract, opened: `channel` speaks for it."""

    book_id: UUID
    id: UUID
    name: str
    funds: str
    channel: Channel
    account_ref: str  # what the channel calls it: mchid, seller_id
    app_ref: str
    fee_bps: int = 0  # what the platform keeps of each charge, in hundredths of a percent

    @property
    def info(self) -> Info:
        return self.channel.info


async def add(
    env: Env, book_id: UUID, channel: str, config: dict[str, str], *, name: str = "", funds: str = "platform"
) -> UUID:
    """Store a contract.  Raises Invalid if the adapter cannot be built from `config`."""
    try:
        registry.make(channel, config)
    except (ValueError, KeyError) as error:
        raise Invalid(f"This is no configuration of {channel}: {error}", param="config") from error
    id = ids.new_id()
    secret = registry.secret_fields(channel)
    public = {k: v for k, v in config.items() if k not in secret}
    sealed = env.keyring.seal(msgspec.json.encode(config), _about(id))

    async def store(tx: Tx) -> None:
        await tx.run(
            Q.insert_channel_account,
            book_id,
            id,
            channel,
            name or channel,
            funds,
            msgspec.json.encode(public).decode(),
            sealed,
        )

    async def note(tx: Tx) -> None:
        await tx.run(Q.bump_revision)
        trail.note(
            tx,
            "channel_account.added",
            ids.show("ca", id),
            book_id=book_id,
            after={"channel": channel, "env": env.name},
        )

    await env.db.transact(store)
    await env.control.transact(note)
    return id


async def get(env: Env, account_id: UUID) -> ChannelAccount | None:
    """One contract by its id, built once per change."""

    async def load() -> ChannelAccount | None:
        row = await env.db.row(Q.find_channel_account, account_id)
        if row is None:
            return None
        return _open(env, row, await env.control.value(Q.find_fee, row["book_id"]) or 0)

    return await env.cache.get(("channel_account", env.name, account_id), load)


async def of_merchant(env: Env, book_id: UUID) -> list[ChannelAccount]:
    """A merchant's enabled contracts, oldest first."""

    async def load() -> list[ChannelAccount]:
        rows = await env.db.rows(Q.list_channel_accounts, book_id)
        accounts = [await get(env, r["id"]) for r in rows if r["enabled"]]
        return [a for a in accounts if a is not None]

    return await env.cache.get(("channel_accounts", env.name, book_id), load)


async def all_enabled(env: Env) -> list[ChannelAccount]:
    """Every enabled contract of an environment, oldest first."""
    accounts = [await get(env, r["id"]) for r in await env.db.rows(Q.list_all_channel_accounts)]
    return [a for a in accounts if a is not None]


def _open(env: Env, row: Row, fee_bps: int) -> ChannelAccount:
    config = msgspec.json.decode(env.keyring.open(row["sealed"], _about(row["id"])), type=dict[str, str])
    account_ref, app_ref = registry.refs(row["channel"], config)
    return ChannelAccount(
        row["book_id"],
        row["id"],
        row["name"],
        row["funds"],
        registry.make(row["channel"], config),
        account_ref,
        app_ref,
        fee_bps,
    )


def _about(id: UUID) -> str:
    return f"merchants.channel_account/{id}"
