"""A book as a page that a person can read.

assert await book(tx, BOOK) == page('''
    charge:1
      receivable -> payable   5.00 CNY
''')
"""

from textwrap import dedent
from uuid import UUID

from guilder.core.amount import shown as units_shown
from guilder.ledger.posting import Q
from guilder.platform.db import Database, Tx


def page(text: str) -> str:
    """What a test expects, without its indentation."""
    return dedent(text).strip()


async def book(source: Tx | Database, book_id: UUID) -> str:
    """Every journal of a book in order, with its transfers; accounts without what comes after their colon."""
    shown: list[str] = []
    last = None
    for r in await source.rows(Q.list_lines, book_id):
        if r["journal_id"] != last:
            last = r["journal_id"]
            shown.append(r["key"])
        ends = (r[end].partition(":")[0] for end in ("debit", "credit"))
        shown.append(f"  {' -> '.join(ends)}   {units_shown(r['units'], r['asset'])} {r['asset']}")
    return "\n".join(shown)


async def shown(source: Tx | Database, book_id: UUID) -> dict[str, int]:
    """Each account's balance, credits - debits, by the head of its code; accounts at zero left out."""
    sums: dict[str, int] = {}
    for r in await source.rows(Q.list_accounts, book_id):
        head = r["code"].partition(":")[0]
        sums[head] = sums.get(head, 0) + r["balance"]
    return {code: units for code, units in sums.items() if units}
