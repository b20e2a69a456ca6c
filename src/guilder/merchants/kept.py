"""What the domains keep of persons: each tells and blanks its own, and is registered by the composition root."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from msgspec import Struct

from guilder.core import ids
from guilder.core.check import never
from guilder.platform.db import Tx
from guilder.platform.persons import Blanks


@dataclass(frozen=True, slots=True)
class Person:
    """A customer with its payments; or somebody who paid without being one: his payment."""

    book_id: UUID
    id: UUID
    customer: bool
    livemode: bool
    payments: tuple[UUID, ...] = ()

    @property
    def shown(self) -> str:
        return ids.show("cus" if self.customer else "pi", self.id)

    @property
    def persons(self) -> list[UUID]:
        """Under whose keys something of him may lie: a payment may have become a customer's after something was said of it."""
        return list(dict.fromkeys((self.id, *self.payments)))


class Kept(Struct, kw_only=True):
    """Something that is kept of a person."""

    where: str
    id: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Blanked:
    """How much was blanked, by its name in the trail, and the ids of what it was blanked in."""

    counts: Mapping[str, int]
    shown: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """What one domain keeps of persons.  `personal`: the personal fields of its objects, as they are answered and said."""

    tell: Callable[[Tx, Person], Awaitable[list[Kept]]]
    blank: Callable[[Tx, Person], Awaitable[Blanked]]
    personal: Mapping[str, Blanks]


PaymentsOf = Callable[[Tx, Person], Awaitable[list[UUID]]]
_parts: list[Part] = []
_payments_of: list[PaymentsOf] = []


def register(parts: Sequence[Part], payments_of: PaymentsOf) -> None:
    """Make them known; called once, by the composition root.  `payments_of` finds a person's payments."""
    _parts[:], _payments_of[:] = parts, [payments_of]


def parts() -> Sequence[Part]:
    """Every domain's."""
    return _parts


def payments_of() -> PaymentsOf:
    """How a person's payments are found."""
    return _payments_of[0] if _payments_of else never("the domains that keep something of persons are registered")
