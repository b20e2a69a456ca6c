"""A start that cannot be: what is wrong is said in a sentence, not in a traceback."""

import asyncio
from pathlib import Path

import pytest

from guilder.app import environments, installation
from guilder.platform import embedded
from guilder.platform.db import connected


def test_a_database_of_another_version_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """The process that prepares the start says why; the supervisor says it again and ends, PostgreSQL with it."""
    state = tmp_path / "state"
    it = installation.start(state)
    s = it.settings()
    it.stop()
    server = embedded.start(state, databases=(embedded.CONTROL, "guilder_test"), say=lambda _: None)

    async def another_version() -> None:
        async with connected(environments.dsn(s, "guilder_test", "owner")) as connection:
            await connection.execute("UPDATE schema_version.applied SET digest = repeat('0', 64)")

    asyncio.run(another_version())
    server.stop()
    try:
        with pytest.raises(
            installation.DidNotStart, match=r"guilder: The database guilder_test was made by another version of Guilder"
        ) as refused:
            installation.start(state)
        assert "Traceback" not in (state / "up.out").read_text(), refused.value
        assert not (state / "up.json").exists()
    finally:
        installation.remove(state)
