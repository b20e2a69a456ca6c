"""A PostgreSQL, the simulators, and merchants with an account at each channel."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from guilder.platform import db, embedded, outbox, schema
from guilder.platform.crypto import Keyring
from guilder.platform.environment import Cache, Env
from guilder.platform.settings import Settings
from reconciliation.merchant import Merchant, open_merchant
from simulators.process import Simulators

SCHEMAS = ("guilder.platform", "guilder.ledger", "guilder.merchants", "guilder.payments", "guilder.reconciliation")
KEY = bytes(range(32))
DATABASES = ("guilder_control", "guilder_test")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.Server]:
    state = Path(tmp_path_factory.mktemp("state"))
    yield embedded.start(state, databases=DATABASES, say=lambda _: None)
    embedded.destroy(state)


@pytest.fixture(scope="session")
async def database(server: embedded.Server) -> embedded.Server:
    control = schema.script(["guilder.platform"]) + schema.script(["guilder.merchants"], "control.sql")
    await schema.apply(server.dsn("guilder_control", "owner"), control)
    await schema.apply(server.dsn("guilder_test", "owner"), schema.script(SCHEMAS))
    return server


@pytest.fixture(scope="session")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    started = Simulators(Path(tmp_path_factory.mktemp("simulators"))).start()
    yield started
    started.stop()


@pytest.fixture
async def env(database: embedded.Server) -> AsyncIterator[Env]:
    control = await db.Database("control", database.dsn("guilder_control", "app"), size=2).open()
    pool = await db.Database("test", database.dsn("guilder_test", "app"), size=6).open()
    revisions = iter(range(1 << 30))  # every look finds something new: nothing is cached between tests

    async def revision() -> int:
        return next(revisions)

    settings = Settings(public_api_url="http://127.0.0.1:9")
    outbox.register(())
    env = Env("test", settings, pool, control, Keyring(KEY), Cache(revision))
    yield env
    await env.close()
    await control.close()
    async with db.connected(database.dsn("guilder_test", "owner")) as connection:
        await connection.execute("DELETE FROM merchants.channel_account")


@pytest.fixture
async def wechat(env: Env, simulators: Simulators) -> Merchant:
    return await open_merchant(env, simulators, "wechatpay")


@pytest.fixture(params=["wechatpay", "alipay"])
async def merchant(request: pytest.FixtureRequest, env: Env, simulators: Simulators) -> Merchant:
    return await open_merchant(env, simulators, request.param)
