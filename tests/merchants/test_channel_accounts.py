"""Where a contract says that its channel is: never inside our network, unless the operator has opened it."""

import os
from typing import Any

import pytest

from guilder.core import ids
from guilder.core.errors import Invalid
from guilder.merchants import channel_accounts
from guilder.platform.crypto import Keyring
from guilder.platform.environment import Cache, Env
from guilder.platform.settings import BadSetting, Settings, load

pytestmark = pytest.mark.anyio
CONFIG = {
    "account_id": "acct_1",
    "secret_key": "sk_live_1",
    "publishable_key": "pk_live_1",
    "webhook_secret": "whsec_1",
    "currency": "USD",
}
INSIDE = ["https://10.0.0.1", "https://127.0.0.1:8443", "https://[::1]", "https://[fe80::1]", "https://192.168.1.7/x",
          "https://169.254.169.254/latest", "https://metadata.google.internal", "https://localhost", "https://2130706433",
          "http://api.stripe.com", "https://8.8.8.8:5432"]  # fmt: skip


def an_env(name: str, **over: Any) -> Env:
    async def never() -> int:
        return 0

    nothing: Any = None
    return Env(name, Settings(**over), nothing, nothing, Keyring(os.urandom(32)), Cache(never))


@pytest.mark.parametrize("url", INSIDE)
async def test_a_live_contract_that_leads_inside_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        await channel_accounts.new(an_env("live"), ids.new_id(), "stripe", CONFIG | {"base_url": url})
    assert (caught.value.code, caught.value.param) == ("url_invalid", "config")
    assert "base_url" in str(caught.value) and "sk_live_1" not in str(caught.value)


async def test_one_address_of_several_is_enough() -> None:
    config = {
        "base_url": "https://8.8.8.8", "client_id": "a", "client_secret": "b", "merchant_id": "c", "webhook_id": "d",
        "certificates_at": "https://8.8.8.8, https://10.0.0.1",
    }  # fmt: skip
    with pytest.raises(Invalid, match="certificates_at"):
        await channel_accounts.new(an_env("live"), ids.new_id(), "paypal", config)
    config["certificates_at"] = "https://8.8.8.8"
    assert await channel_accounts.new(an_env("live"), ids.new_id(), "paypal", config)


async def test_simulators_may_be_on_this_machine_and_nothing_of_test_elsewhere_inside() -> None:
    made = await channel_accounts.new(
        an_env("test"), ids.new_id(), "stripe", CONFIG | {"base_url": "http://127.0.0.1:8002"}
    )
    assert made.public["base_url"] == "http://127.0.0.1:8002"
    with pytest.raises(Invalid):
        await channel_accounts.new(an_env("test"), ids.new_id(), "stripe", CONFIG | {"base_url": "http://10.0.0.1"})


async def test_what_the_operator_has_opened_is_open() -> None:
    env = an_env("live", channel_networks="10.20.0.0/16, fd12::/48")
    for url in ("http://10.20.3.4:9000", "https://[fd12::7]"):
        assert await channel_accounts.new(env, ids.new_id(), "stripe", CONFIG | {"base_url": url})
    for url in ("https://10.21.0.1", "https://127.0.0.1", "https://169.254.169.254"):
        with pytest.raises(Invalid):
            await channel_accounts.new(env, ids.new_id(), "stripe", CONFIG | {"base_url": url})


def test_a_network_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(BadSetting, match="channel_networks"):
        load({"GUILDER_CHANNEL_NETWORKS": "10.0.0.1/8"})
