"""What the worker does for merchants: a change of a contract is told to every process, through the revision of the control database."""

from guilder.merchants import channel_accounts
from guilder.platform.environment import Env
from guilder.platform.jobs import Job, Kind


async def tell(rt: Env, job: Job) -> None:
    """Have every process look at contracts again."""
    await channel_accounts.tell(rt)


KINDS: tuple[Kind, ...] = (Kind(channel_accounts.TELL, tell, retry_s=(1, 10, 60)),)
