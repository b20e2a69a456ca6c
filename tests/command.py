"""The command line, as the operator of a running installation calls it."""

import os
import subprocess
import sys

from stack import Stack


def guilder(stack: Stack, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """`guilder …words`, with `said` on its standard input."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")} | stack.it.environ
    return subprocess.run(
        [sys.executable, "-m", "guilder.app.cli", *words], env=ours, input=said, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip
