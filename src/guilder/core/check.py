"""`must`: an impossible thing crashes; it is never answered politely."""

from typing import NoReturn


class Impossible(AssertionError):
    """A promise of this program is broken.  The transaction is rolled back and the process says where."""


def must(held: object, promise: str) -> None:
    """Crash with `promise` unless `held` is true.  Unlike assert, it is never compiled away."""
    if not held:
        raise Impossible(promise)


def never(promise: str) -> NoReturn:
    """Crash: this line cannot be reached."""
    raise Impossible(promise)
