"""Parameters that several domains share."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from guilder.platform.web import Params

ShortText = Annotated[str, Meta(max_length=500)]


class Address(Params):
    """A postal address; kept and echoed."""

    city: ShortText | UnsetType | None = UNSET
    country: ShortText | UnsetType | None = UNSET
    line1: ShortText | UnsetType | None = UNSET
    line2: ShortText | UnsetType | None = UNSET
    postal_code: ShortText | UnsetType | None = UNSET
    state: ShortText | UnsetType | None = UNSET
