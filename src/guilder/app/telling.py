"""What a command that fails says: one sentence on standard error, without a traceback."""

import sys
from collections.abc import Callable

from guilder.core.errors import GuilderError
from guilder.platform.cluster import EmbeddedError
from guilder.platform.runtime import RuntimeFailure


def told(command: Callable[[], int]) -> int:
    """Run a command; its exit status."""
    try:
        return command()
    except (GuilderError, EmbeddedError, RuntimeFailure) as error:
        return failed(getattr(error, "message", None) or str(error))
    except OSError as error:
        return failed(f"{error}. If nothing runs yet, start with `up`.")
    except KeyboardInterrupt:
        return 130


def failed(why: str) -> int:
    sys.stderr.write(f"guilder: {why}\n")
    return 1
