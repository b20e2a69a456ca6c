"""What people may do, as data: permissions, roles over them, and where a role reaches."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from guilder.core import ids
from guilder.merchants.keys import SCOPES

# What a key of a merchant can be given (merchants.keys.SCOPES), and what only people and service accounts are.
PERMISSIONS = (
    *SCOPES, "people:read", "people:write", "merchants:read", "merchants:write", "channels:read", "channels:write", "keys:read",
    "keys:write", "keys:reveal", "approvals:read", "approvals:write", "approvals:decide", "cases:read", "cases:write", "audit:read",
    "routing:read", "routing:write",
)  # fmt: skip


class At(StrEnum):
    """Where a role reaches."""

    PLATFORM = "platform"  # every merchant, and the platform itself
    MERCHANT = "merchant"
    STORE = "store"  # there are no stores yet: refused when it is granted
    OWN = "own"  # what the person made, or has to do


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that somebody has, and where."""

    role: str
    at: At
    merchant_id: UUID | None
    permissions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Authority:
    """What somebody may do, and where.  `over` answers for one merchant; the platform's own book is ids.PLATFORM."""

    grants: Sequence[Grant]
    _over: dict[UUID, frozenset[str]] = field(default_factory=dict)

    def over(self, merchant_id: UUID) -> frozenset[str]:
        """What is allowed with everything of this merchant."""
        found = self._over.get(merchant_id)
        if found is None:
            held = [g.permissions for g in self.grants if _reaches(g, merchant_id)]
            found = self._over[merchant_id] = frozenset().union(*held)
        return found

    def roles(self, merchant_id: UUID) -> frozenset[str]:
        """The roles that reach everything of this merchant."""
        return frozenset(g.role for g in self.grants if _reaches(g, merchant_id))

    def own(self, merchant_id: UUID) -> frozenset[str]:
        """What is allowed with what one made oneself, or has to do."""
        held = [g.permissions for g in self.grants if g.at is At.OWN and g.merchant_id in (None, merchant_id)]
        return frozenset().union(*held)

    @property
    def merchants(self) -> frozenset[UUID]:
        """The merchants that any grant names."""
        return frozenset(g.merchant_id for g in self.grants if g.merchant_id is not None)

    @property
    def everywhere(self) -> bool:
        """Whether any grant reaches the whole platform."""
        return any(g.at is At.PLATFORM for g in self.grants)


def _reaches(grant: Grant, merchant_id: UUID) -> bool:
    if grant.at is At.PLATFORM:
        return True
    return grant.at is At.MERCHANT and grant.merchant_id == merchant_id and merchant_id != ids.PLATFORM
