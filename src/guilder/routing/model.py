"""What rules are made of, and what became of a choice: read from the API, kept as JSON."""

from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from guilder.core.amount import MAX
from guilder.core.ids import ALPHABET, LENGTH
from guilder.platform.health import UP, Standing
from guilder.platform.web import Currency, Params, Units

Place = Annotated[
    str,
    Meta(
        pattern=rf"^(ca_[{ALPHABET}]{{{LENGTH}}}|[a-z][a-z_]{{0,39}})$",
        description="A channel account (ca_…), or a channel: any of its accounts.",
        examples=["wechatpay"],
        extra={"says": "It is a channel account, ca_…, or a channel: wechatpay, alipay."},
    ),
]
Strategy = Literal["first", "weighted", "cheapest", "best_success"]


class Target(Params):
    """Where payments of a rule go."""

    to: Place
    weight: Annotated[
        int, Meta(ge=0, le=1_000_000, description="Of weighted: its share; 0 only if nothing else is left.")
    ] = 1
    priority: Annotated[
        int, Meta(ge=0, le=1000, description="Lower ones first; the strategy orders those that are equal.")
    ] = 0


class Rule(Params):
    """Payments for which `when` is true go to one of `then`."""

    name: Annotated[str, Meta(pattern=r"^[^\x00-\x1f]{1,100}$", examples=["large by night"])]
    then: Annotated[list[Target], Meta(min_length=1, max_length=20)]
    when: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1000,
            description="An expression (CEL) over the payment.",
            examples=["amount >= 100000"],
        ),
    ] = "true"
    strategy: Strategy = "first"
    only: Annotated[
        bool,
        Meta(
            description="Nowhere else: without it, the accounts that it does not name follow behind those that it does."
        ),
    ] = False


class Fee(Params):
    """What an account costs us, for `cheapest` and for comparisons."""

    of: Place
    fee_bps: Annotated[int, Meta(ge=0, le=10_000, description="Hundredths of a percent.")] = 0
    fixed: Annotated[int, Meta(ge=0, le=MAX, description="Minor units, of each payment.")] = 0
    way: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Of this way only.")] | UnsetType = UNSET


class Cap(Params):
    """What an account takes at most; payments above go elsewhere."""

    of: Place
    amount_per_day: Annotated[Units | UnsetType, Meta(description="Within any 24 hours, in `currency`.")] = UNSET
    currency: Currency = "cny"
    count_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType = UNSET


class Content(Params):
    """A version of the rules."""

    rules: Annotated[list[Rule], Meta(max_length=200, description="In order: the first that is true decides.")] = msgspec.field(default_factory=list)  # fmt: skip
    fees: Annotated[list[Fee], Meta(max_length=200)] = msgspec.field(default_factory=list)
    limits: Annotated[list[Cap], Meta(max_length=200)] = msgspec.field(default_factory=list)
    zone: Annotated[
        str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_+/-]{0,49}$", description="In which hours and days are meant.")
    ] = "Asia/Shanghai"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A channel account that can take the payment, and the way it would."""

    account_id: UUID
    channel: str
    way: str
    standing: Standing = UP


class Passed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A candidate that was not chosen."""

    account: str
    why: str  # 'paused', 'not_answering', 'over_limit', 'not_sent', 'not_named', 'ranked_lower'
    way: str = ""


class Skipped(msgspec.Struct, frozen=True):
    """A rule that could not be worked out, or names nobody who can take the payment."""

    rule: str
    why: str


class Routed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which account was chosen, by what, and why no other: kept with the attempt."""

    account: str
    ruleset: str | None = None  # 'rs_…'
    number: int | None = None
    rule: str | None = None  # None: no rule was true; the oldest account comes first
    strategy: str | None = None
    passed: tuple[Passed, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    last_resort: bool = False  # it does not answer, and nothing else is left
    fee: int | None = None  # what it costs, where the ruleset says
