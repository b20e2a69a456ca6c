"""One simulator process for the tests of the simulators; those that kill start their own."""

from collections.abc import Iterator

import pytest

from simulators.process import Shop, Simulators


@pytest.fixture(scope="session")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    """Running simulators."""
    simulators = Simulators(tmp_path_factory.mktemp("simulators"))
    yield simulators.start()
    simulators.stop()


@pytest.fixture
def own_sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    """Simulators for one test: it may kill them or move their clock."""
    simulators = Simulators(tmp_path_factory.mktemp("simulators"))
    yield simulators.start()
    simulators.stop()


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop that hears callbacks."""
    shop = Shop()
    yield shop
    shop.close()
