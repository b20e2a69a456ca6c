"""Three installations that differ in how batches form: as they come, one item at a time, and everything that waits in one."""

from collections.abc import Iterator

import pytest

from stack import Stack, running

BATCHING = {
    "as they come": {},
    "one at a time": {"GUILDER_BATCH_SIZE": "1"},
    "all in one": {"GUILDER_BATCH_GATHER_MS": "150", "GUILDER_BATCH_LANES": "1"},
}


@pytest.fixture(scope="module", params=BATCHING, ids=lambda name: name.replace(" ", "-"))
def racing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """At least two API processes; see BATCHING."""
    with running(
        tmp_path_factory.mktemp("race") / "state", GUILDER_API_WORKERS="2", **BATCHING[request.param]
    ) as stack:
        yield stack
