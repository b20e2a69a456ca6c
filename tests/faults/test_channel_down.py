"""One of three channel accounts half silent, under load: the others notice nothing, traffic moves and comes back, nothing is paid twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(400)]


def test_traffic_moves_and_comes_back_and_nothing_is_paid_twice() -> None:
    """What `bench/chaos.py` measures, small."""
    done = subprocess.run(
        [sys.executable, "bench/chaos.py", "--quick", "--json"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=390
    )  # fmt: skip
    print(done.stderr)
    told = json.loads(done.stdout)

    assert told["books_agree"], done.stderr
    assert told["doubled"] == 0
    assert told["moved_s"] < 10
    assert told["back_s"] < 30
    assert told["left_percent"] < 15, "probes"
    assert told["others_during"] >= told["others_before"] - 0.5
