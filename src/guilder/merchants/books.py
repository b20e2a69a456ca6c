"""Books by the six characters that stand for them in keys and links."""

from dataclasses import dataclass
from uuid import UUID

from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)


@dataclass(frozen=True, slots=True)
class Owner:
    """The merchant whose book it is: both have one id."""

    book_id: UUID
    name: str
    business_line: str
    late_success: str


async def owner_of(env: Env, code: str) -> Owner | None:
    """Whose book `code` names; looked up at most once per change of what is shared."""

    async def look_up() -> Owner | None:
        row = await env.control.row(Q.find_merchant_by_book_code, code)
        return Owner(row["id"], row["name"], row["business_line"], row["late_success"]) if row else None

    return await env.cache.get(("book", code), look_up)
