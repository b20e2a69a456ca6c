"""What a channel declares of itself: its ways, what each needs, what else it can do, and when its days and files begin.

The core reads nothing else before it asks: a way that is not declared is never chosen, an operation that is not declared never asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time, tzinfo
from enum import StrEnum
from typing import Literal


class Operation(StrEnum):
    """What a channel may be able to do beside collecting."""

    CLOSE = "close"
    CANCEL = "cancel"  # close that also gives back what was paid
    CAPTURE = "capture"
    REFUND = "refund"
    PAYOUT = "payout"
    IDENTIFY = "identify"  # the wallet's OAuth tells who pays
    EVIDENCE = "evidence"  # disputes are answered by call
    RESCUE_REFUND = "rescue_refund"


Shows = Literal["qr", "redirect", "form", "sdk", "nothing"]


@dataclass(frozen=True, slots=True)
class Way:
    """One way of paying at a channel: how the API asks for it, and what it takes.

    `payment_method_options[<type>][client]` chooses it; the first way of a type is what is taken without one.
    """

    name: str  # 'jsapi'; noted on each attempt
    type: str  # the API's type of payment method: 'wechat_pay'
    client: str  # 'web', 'qr', 'wap', 'app', 'jsapi', 'mini', 'barcode' ...
    shows: Shows  # what the payer is given; 'nothing': the payer was scanned, there is only waiting
    needs: tuple[str, ...] = ()  # options without which it cannot be asked: 'openid', 'auth_code'
    takes: tuple[str, ...] = ()  # options that it passes on
    operations: frozenset[Operation] | None = None  # None: whatever the channel can do
    query_after_s: tuple[int, ...] | None = None  # None: the channel's
    max_expiry_s: int | None = None  # None: the channel's; a scanned payer is waited for briefly
    at_once: bool = False  # asking for it may collect at once: it is never asked for in order to be closed
    least: int = 1  # minor units
    most: int | None = None
    scans: str = (
        ""  # what the payer's own code looks like, for ways that scan him: a regular expression of the whole code
    )


@dataclass(frozen=True, slots=True)
class Info:
    """What a channel can do."""

    code: str  # 'wechatpay'
    title: str  # as people call it: 'WeChat Pay'
    ways: tuple[Way, ...]
    currencies: frozenset[str]
    operations: frozenset[Operation]
    min_expiry_s: int
    max_expiry_s: int
    zone: tzinfo  # of its days
    day_cut: time  # when its day begins there; after noon: on the evening before
    statement_from: time  # local time on the next day from which the file may be fetched
    query_after_s: tuple[int, ...]  # schedule of queries after creation; the last one repeats until the expiry
    refund_query_after_s: tuple[int, ...]
    payout_query_after_s: tuple[int, ...] = (10, 60, 600, 3600)
    statements: tuple[str, ...] = ("trades",)  # StatementKinds that it hands out
    payee: tuple[str, ...] = ()  # what a payout must know of who is paid; a name that ends in '?' may be left out
    max_refunds: int = 50
    hold_s: int = 0  # how long money that is held for us stays held
    key_s: int | None = None  # how long the channel knows our keys: older ones are never asked again; None: for ever
    collects_in_parts: bool = (
        False  # a payment may come in several sums, each with a number of its own: Outcome.credits
    )
    extra: dict[str, str] = field(default_factory=dict)  # for people: what else is worth knowing
    titles: Mapping[str, str] = field(default_factory=dict)  # language -> what people call it there, if not `title`
    names: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict
    )  # type -> language -> what payers call that, if not as the channel

    def way(self, name: str) -> Way:
        """The way of this name.  KeyError if there is none."""
        for way in self.ways:
            if way.name == name:
                return way
        raise KeyError(name)

    def called(self, language: str, type: str | None = None) -> str:
        """What people call it, or what payers call one of its types, in this language; in English if we do not know."""
        names = self.names.get(type or "", {})
        return names.get(language) or names.get("en") or self.titles.get(language) or self.title

    def collects_at_once(self, name: str) -> bool:
        """Whether asking for a payment by this way may already collect it."""
        way = self.way(name)
        return way.at_once or way.shows == "nothing"

    def asks_after(self, name: str) -> tuple[int, ...]:
        """When payments by the way of this name are asked about, in seconds after their creation."""
        return self.way(name).query_after_s or self.query_after_s

    def can(self, operation: Operation, way: str | None = None) -> bool:
        """Whether it can do this, for payments by `way` if one is named."""
        if operation not in self.operations:
            return False
        own = self.way(way).operations if way is not None else None
        return own is None or operation in own


@dataclass(frozen=True, slots=True)
class ConfigField:
    """One field of a channel account's configuration."""

    name: str
    secret: bool
    hint: str
    choices: tuple[str, ...] = ()
    required: bool = True
