"""What the configuration of a channel account may hold, said once and read thrice: by types, by forms, by logs.

    class DuckPayConfig(ChannelConfig):
        shop: Setting
        key: Annotated[str, hint("the key of the duck", secret=True)]

    DuckPayConfig.fields()      # ConfigField(name='key', secret=True, ...), for consoles and command lines

Every field must hold something unless it has a default, for an empty secret is the same as no signature.
"""

from typing import get_args

import msgspec
import msgspec.inspect

from guilder.channels.info import ConfigField


def hint(text: str, *, secret: bool = False) -> msgspec.Meta:
    """Say of a field what it is, and whether it may ever be shown."""
    return msgspec.Meta(description=text, extra={"hint": text, "secret": secret})


class ChannelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One channel account's configuration.  ValueError if a field is missing, unknown, empty or of another type."""

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(self):
            if field.required and not str(getattr(self, field.name)).strip():
                raise ValueError(f"{field.name} is empty")

    @classmethod
    def fields(cls) -> tuple[ConfigField, ...]:
        """The fields in their order, with hints; secret ones are for writing only."""
        return tuple(_described(field) for field in msgspec.structs.fields(cls))

    @property
    def account_ref(self) -> str:
        """How the channel names this account in what it says of payments: mchid, seller_id."""
        raise NotImplementedError

    @property
    def app_ref(self) -> str:
        """How it names the application that asks, where it does: appid."""
        return ""

    @property
    def application(self) -> str:
        """What tells applications of one account apart, whether messages name it or not: channel accounts of the same one hear the same."""
        return self.app_ref

    def __repr__(self) -> str:
        shown = (f"{f.name}={getattr(self, f.name)!r}" for f in self.fields() if not f.secret)
        return f"{type(self).__name__}({', '.join(shown)})"


def _described(field: msgspec.structs.FieldInfo) -> ConfigField:
    said = msgspec.inspect.type_info(field.type)
    extra = (said.extra or {}) if isinstance(said, msgspec.inspect.Metadata) else {}
    plain = get_args(field.type)[0] if extra else field.type
    choices = tuple(str(c) for c in get_args(plain))
    return ConfigField(field.name, bool(extra.get("secret")), str(extra.get("hint", "")), choices, field.required)


def http_address(name: str, url: str) -> str:
    """`url` without a slash at its end.  ValueError unless it is http(s) with a host."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest.strip("/"):
        raise ValueError(f"{name} is not an http(s) address")
    return url.rstrip("/")
