"""Real bytes of real channels.  They lie beside the repository and are no part of it; where CI runs they must be there."""

import os
from pathlib import Path

BESIDE = "the golden files lie beside the repository, and here they do not"


def lacking(file: Path) -> bool:
    """Whether a test may be skipped for want of a file."""
    return not file.exists() and not os.environ.get("CI")
