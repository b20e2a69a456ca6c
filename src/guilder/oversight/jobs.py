"""What the worker does about cases: it wakes those that have waited, and says how many want somebody."""

from prometheus_client import Gauge

from guilder.platform import casework
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop

OPEN = Gauge("guilder_cases_open", "Cases that are not resolved", ["env"], multiprocess_mode="livemax")
OVERDUE = Gauge(
    "guilder_cases_overdue", "Cases that are not resolved, and should be", ["env"], multiprocess_mode="livemax"
)


async def wake(rt: Env) -> int:
    """Open what has waited for long enough."""
    return await casework.wake(rt.db)


async def measure(rt: Env) -> int:
    """How many cases there are to be resolved."""
    unresolved, overdue = await casework.measure(rt.db)
    OPEN.labels(rt.name).set(unresolved)
    OVERDUE.labels(rt.name).set(overdue)
    return 0


LOOPS = (Loop("cases.wake", 5.0, wake), Loop("cases.measure", 5.0, measure))
