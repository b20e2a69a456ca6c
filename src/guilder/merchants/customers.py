"""Customers: the payers that a merchant knows."""

from uuid import UUID

from guilder.platform.db import Database
from guilder.platform.sql import load

Q = load(__package__)


async def exists(db: Database, book_id: UUID, id: UUID) -> bool:
    """Whether a merchant has this customer (and has not deleted it)."""
    return await db.value(Q.find_customer_id, book_id, id) is not None
