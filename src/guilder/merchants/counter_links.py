"""The address of a counter: what the code on it says, for ever.

    /q/{env}/{ref}/{link}      `ref`: the id of a store or till and its book's code; `link` cannot be guessed

Nothing is stored for it, so a plate that was printed once stays good.
"""

from uuid import UUID

from guilder.core import ids
from guilder.platform.environment import Env

_ABOUT = "counter "


def url(env: Env, book_id: UUID, id: UUID) -> str:
    """What the code of a store or till says."""
    ref = ids.mint_key(id, book_id)
    return f"{env.settings.cashier_url}/q/{env.name}/{ref}/{env.keyring.link(_ABOUT + ref)}"


def read_link(env: Env, ref: str, link: str) -> tuple[UUID, str] | None:
    """The store or till and the book code that a link names; None if the link is none of ours."""
    return ids.split_key(ref) if env.keyring.is_link(_ABOUT + ref, link) else None
