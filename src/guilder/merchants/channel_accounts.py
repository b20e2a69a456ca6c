"""Contracts with channels: their configuration at rest, and the adapter that is built from it."""

import base64
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from guilder.channels import registry
from guilder.channels.info import Info
from guilder.channels.model import Channel
from guilder.core import clock, ids
from guilder.core.check import must
from guilder.core.errors import Invalid, NotFound
from guilder.platform import approval, context, guard, jobs, trail
from guilder.platform.approval import SEALED, Approval, Command
from guilder.platform.db import Row, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)
KIND = "channel_account"  # of what waits for approval
TELL = "merchants.tell"  # the job that has every process look at contracts again


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
    application: str = ""  # what the channel tells comes to every contract with the same account and application

    @property
    def info(self) -> Info:
        return self.channel.info


@dataclass(frozen=True, slots=True)
class New:
    """A contract to be stored; its configuration is checked and sealed."""

    book_id: UUID
    id: UUID
    channel: str
    name: str
    funds: str
    public: dict[str, str]
    sealed: bytes

    def command(self) -> dict[str, Any]:
        """As it waits for approval: sealed."""
        return {
            "do": "add", "channel_account": ids.show("ca", self.id), "channel": self.channel, "name": self.name, "funds": self.funds,
            "public": self.public, "config": SEALED + base64.b64encode(self.sealed).decode(),
        }  # fmt: skip


async def new(
    env: Env, book_id: UUID, channel: str, config: dict[str, str], *, name: str = "", funds: str = "platform"
) -> New:
    """A contract from its configuration.  Raises Invalid if no adapter can be built from it, or if it names an address inside our network."""
    try:
        registry.make(channel, config)
    except (ValueError, KeyError) as error:
        raise Invalid(f"This is no configuration of {channel}: {error}", param="config") from error
    await _outside(env, config)
    id, secret = ids.new_id(), registry.secret_fields(channel)
    public = {k: v for k, v in config.items() if k not in secret}
    return New(
        book_id, id, channel, name or channel, funds, public, env.keyring.seal(msgspec.json.encode(config), _about(id))
    )


async def _outside(env: Env, config: dict[str, str]) -> None:
    """Raise Invalid if a channel would lie where nothing of ours may go.  It is looked at again whenever it is called: see `platform.wire`."""
    for name, value in config.items():
        for url in (part.strip() for part in value.split(",")):
            if not url.lower().startswith(("http://", "https://")):
                continue
            try:
                target = guard.check_url(url, loopback=env.name == "test", inside=env.settings.channel_inside)
            except guard.Refused as error:
                raise Invalid(f"{name}: {error}", code="url_invalid", param="config") from None
            await guard.check_host(target, param="config")


async def add(
    env: Env, book_id: UUID, channel: str, config: dict[str, str], *, name: str = "", funds: str = "platform"
) -> UUID:
    """Store a contract.  Raises Invalid if the adapter cannot be built from `config`; ApprovalRequired if others have to agree: they are asked."""
    made = await new(env, book_id, channel, config, name=name, funds=funds)

    async def work(tx: Tx) -> Approval | None:
        return await change(tx, book_id, made.command(), f"Add a contract with {channel}, {made.name!r}.")

    asked = await env.db.transact(work)
    if asked is not None:
        raise approval.required(asked, livemode=env.livemode)
    await tell(env)
    return made.id


async def change(tx: Tx, book_id: UUID, command: dict[str, Any], summary: str) -> Approval | None:
    """Do what `command` says, or open the approval that it needs.  Raises NotFound."""
    need = (await approval.rules(tx, KIND, [book_id])).need(book_id)
    if need is None:
        await _carry_out(tx, book_id, command)
        return None
    by = context.current()
    asked = approval.ask(book_id, KIND, command["channel_account"], summary, command, need, by)
    approval.open_one(tx, asked, by)
    return asked


async def change_approved(tx: Tx, command: Command) -> dict[str, Any]:
    """Do what all have agreed to."""
    await _carry_out(tx, command.book_id, command.do)
    return {"channel_account": command.do["channel_account"]}


async def _carry_out(tx: Tx, book_id: UUID, do: dict[str, Any]) -> None:
    shown = do["channel_account"]
    id = ids.read("ca", shown)
    must(id is not None, "a command names its contract")
    if do["do"] == "add":
        sealed = base64.b64decode(do["config"].removeprefix(SEALED))
        public = msgspec.json.encode(do["public"]).decode()
        await tx.run(Q.insert_channel_account, book_id, id, do["channel"], do["name"], do["funds"], public, sealed)
        trail.note(
            tx, "channel_account.added", shown, book_id=book_id, after={"channel": do["channel"], "funds": do["funds"]}
        )
    else:
        enabled = do["do"] == "enable"
        if await tx.value(Q.set_channel_account_enabled, book_id, id, enabled) is None:
            raise NotFound(f"No such channel account: '{shown}'", param="channel_account")
        trail.note(
            tx,
            f"channel_account.{do['do']}d",
            shown,
            book_id=book_id,
            before={"enabled": not enabled},
            after={"enabled": enabled},
        )
    # Every process forgets what it has cached of contracts when the control revision moves, which is in another database: soon after.
    await jobs.put(tx, TELL, ids.text(ids.new_id()), clock.now())


async def tell(env: Env) -> None:
    """Have every process look at contracts again."""
    await env.control.transact(lambda tx: tx.run(Q.bump_revision))


async def find(tx: Tx, book_id: UUID, id: UUID) -> Row | None:
    """A merchant's contract, enabled or not, without its secrets."""
    return await tx.row(Q.show_channel_account, book_id, id)


async def every(env: Env, book_id: UUID) -> list[Row]:
    """A merchant's contracts, enabled or not, without their secrets, oldest first."""
    return await env.db.rows(Q.show_channel_accounts, book_id)


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


async def twins(env: Env, account: ChannelAccount, code: str) -> list[ChannelAccount]:
    """Other contracts, enabled or not, with the same account and application at the channel, in the books of this code (`ids.book_code`).

    What the channel tells to an application, each of them hears.
    """

    async def load() -> dict[str, list[UUID]]:
        found: dict[str, list[UUID]] = {}
        for row in await env.db.rows(Q.list_channel_accounts_of_channel, account.info.code):
            found.setdefault(ids.book_code(row["book_id"]), []).append(row["id"])
        return found

    of_book = await env.cache.get(("channel_accounts_of", env.name, account.info.code), load)
    others = [await get(env, id) for id in of_book.get(code, ()) if id != account.id]
    return [o for o in others if o and (o.account_ref, o.application) == (account.account_ref, account.application)]


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
        registry.application(row["channel"], config),
    )


def _about(id: UUID) -> str:
    return f"merchants.channel_account/{id}"
