"""schemathesis, signed in as an operator, holds the calls of people to their document: every check, no 5xx."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import crew
from stack import Stack

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(900)]
PATHS = "^/v1/(users|sessions|invitations|roles|grants|service_accounts)(/|$)"
# No schema says which words sign in, or for how long guessing has to wait.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "429"]
"""


async def test_schemathesis_finds_nothing_in_the_calls_of_people(door: Stack, tmp_path: Path) -> None:
    async with door.world() as world:
        boss = await crew.somebody(world, ("operator", "platform", None))
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", door.api + "/openapi.json", "--checks", "all",
        "--header", f"Authorization: Bearer {boss.token}", "--max-examples", "10", "--seed", "2", "--workers", "1",
        "--continue-on-failure", "--no-shrink", "--include-path-regex", PATHS,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, timeout=800, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
