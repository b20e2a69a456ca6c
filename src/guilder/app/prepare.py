"""What a start needs of the domains: their schemas in the databases, and a demo merchant.

A process of its own that ends when it is done: the supervisor, which stays, need not load all that (`up.Hand`).  It is told in lines what
to do, and answers each with a line of JSON: {"done": …}, or {"refused": why}.
"""

import asyncio
import sys

import msgspec

from guilder.app import environments, provision
from guilder.core.errors import GuilderError
from guilder.platform import settings
from guilder.platform.cluster import EmbeddedError
from guilder.platform.db import CommitUnknown, DatabaseError, DriverError
from guilder.platform.settings import Settings


async def carry_out(s: Settings, what: str) -> object:
    """'schemas': make those that are missing.  'demo': the demo merchant."""
    if what == "schemas":
        return await environments.apply_schemas(s)
    return await provision.demo_merchant(s)


def main() -> None:
    """Do what is asked until nobody asks."""
    s = settings.load()
    for line in sys.stdin:
        try:
            answer: dict[str, object] = {"done": asyncio.run(carry_out(s, line.strip()))}
        except (DatabaseError, DriverError, CommitUnknown) as error:
            answer = {"refused": f"The database does not answer: {error}. Is it up? `./run doctor` says more."}
        except (GuilderError, EmbeddedError, OSError) as error:
            answer = {"refused": getattr(error, "message", None) or str(error)}
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
