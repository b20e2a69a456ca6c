"""What every test shares: the event loop's backend, and one running installation per test process."""

from collections.abc import Iterator

import pytest

from limits import pytest_collection_modifyitems
from stack import Stack, running
from watch import pytest_configure

__all__ = ["anyio_backend", "pytest_collection_modifyitems", "pytest_configure", "stack"]


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running installation; tests make merchants of their own in it."""
    with running(tmp_path_factory.mktemp("stack") / "state") as started:
        yield started
