"""Settings: `guilder.toml` in the state folder (or GUILDER_CONFIG), then the environment, which wins.

    GUILDER_API_PORT=8010        api_port = 8010
    GUILDER_BATCH_SIZE=1         batch_size = 1

A name that nobody knows is an error, not a guess.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from guilder.core.errors import GuilderError
from guilder.platform import guard

PREFIX = "GUILDER_"
_ELSEWHERE = frozenset({"CONFIG", "UV", "STATE", "FAILPOINTS", "KEEP"})  # read before or beside the settings


Count = Annotated[int, msgspec.Meta(ge=1)]


class BadSetting(GuilderError):
    """A setting is wrong."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that an operator may set."""

    state: str = ".state"  # where data, logs and secrets of this installation lie
    host: str = "127.0.0.1"
    api_port: int = 8000
    cashier_port: int = 8001
    simulators_port: int = 8002
    metrics_port: int = 8009
    public_api_url: str = ""  # as channels reach it for callbacks; default: http://host:api_port
    public_cashier_url: str = ""  # as payers reach it; default: http://host:cashier_port
    simulators_url: str = ""  # default: http://host:simulators_port
    trusted_proxies: str = (
        ""  # addresses, comma separated, whose X-Forwarded-For is believed: tries to sign in are counted by address
    )
    channel_networks: str = ""  # networks inside yours, comma separated, in which channels may lie (10.20.0.0/16): else only on the public internet
    api_workers: Count = max(1, (os.cpu_count() or 2) // 2)  # a core for them, one for PostgreSQL and the rest
    fronts: Annotated[int, msgspec.Meta(ge=0, le=64)] = (
        0  # processes of the channel front (front=async); 0: the worker asks
    )
    environments: tuple[str, ...] = ("test", "live")
    database_url: str = ""  # a server of yours; default: the embedded one
    owner_database_url: str = ""  # its login for the owner of the schemas, used to apply them
    pool_size: Count = 5  # connections per process and environment; the auditor has one more, in the worker
    encryption_key: str = ""  # 32 bytes in base64; default: the file `encryption.key` in the state folder
    batch_size: Count = 256
    batch_gather_ms: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 0.0
    batch_lanes: Count = 2
    log_level: str = "INFO"
    payment_expiry_s: Count = 7200  # of an attempt that says nothing else
    accounting_zone: str = "Asia/Shanghai"  # where accounting days and months begin

    def __post_init__(self) -> None:
        try:
            guard.networks(self.channel_networks)
        except ValueError as error:
            raise ValueError(f"channel_networks: {error}") from None

    @property
    def channel_inside(self) -> guard.Networks:
        return guard.networks(self.channel_networks)

    @property
    def api_url(self) -> str:
        return self.public_api_url or f"http://{self.host}:{self.api_port}"

    @property
    def cashier_url(self) -> str:
        return self.public_cashier_url or f"http://{self.host}:{self.cashier_port}"

    @property
    def simulator_url(self) -> str:
        return self.simulators_url or f"http://{self.host}:{self.simulators_port}"

    @property
    def state_path(self) -> Path:
        return Path(self.state)


def load(environ: Mapping[str, str] | None = None, **over: object) -> Settings:
    """Read the settings.  `over` wins over everything.  Raises BadSetting."""
    environ = os.environ if environ is None else environ
    state = environ.get("GUILDER_STATE", ".state")
    file = Path(environ.get("GUILDER_CONFIG") or Path(state) / "guilder.toml")
    values: dict[str, object] = {"state": state}
    if file.exists():
        try:
            values |= tomllib.loads(file.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadSetting(f"{file} is not valid TOML: {error}") from error
    elif environ.get("GUILDER_CONFIG"):
        raise BadSetting(f"GUILDER_CONFIG names {file}, which does not exist.")
    for name, value in environ.items():
        key = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and key not in _ELSEWHERE:
            values[key.lower()] = value.split(",") if key == "ENVIRONMENTS" else value
    values |= over
    try:
        settings = msgspec.convert(values, Settings, strict=False)
        if "accounting_zone" in values:  # the default needs no proof, and a machine may lack the data
            ZoneInfo(settings.accounting_zone)
        return settings
    except ZoneInfoNotFoundError as error:
        raise BadSetting(f"accounting_zone is no time zone: {error}. Say one like Asia/Shanghai or UTC.") from error
    except msgspec.ValidationError as error:
        raise BadSetting(
            f"A setting is wrong: {error}. Settings come from {file} and from {PREFIX}* variables."
        ) from error
