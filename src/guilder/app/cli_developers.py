"""The command line for those who integrate: `guilder listen`, `guilder trigger`."""

import asyncio
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from guilder.app.installation import Addresses
from guilder.core.errors import Invalid
from guilder.platform import settings

out = Console(highlight=False, soft_wrap=True, markup=False)


def _running() -> Addresses:
    """Where `guilder up` serves.  Raises Invalid if it does not."""
    file = settings.load().state_path / "up.json"
    if not file.exists():
        raise Invalid(f"Nothing runs here: {file} is missing. Start it with `guilder up`, or name --api and --key.")
    return msgspec.json.decode(file.read_bytes(), type=Addresses)


def listen(
    forward_to: Annotated[str, typer.Option(help="Where events go: http://localhost:4242/webhook.")],
    events: Annotated[
        str, typer.Option(help="Only these, with commas between: payment_intent.succeeded,refund.*")
    ] = "",
    env: Annotated[str, typer.Option(help="The environment: with live, name --key.")] = "test",
    api: Annotated[str, typer.Option(help="Default: what runs here.")] = "",
    key: Annotated[str, typer.Option(envvar="GUILDER_KEY", help="A secret key; default: the demo merchant's.")] = "",
) -> None:
    """Send events to an address as they happen, signed, until Ctrl-C."""
    from guilder.app.listen import listen as listening
    from guilder.notify import sign

    if env != "test" and not key:
        raise Invalid(f"Of {env} there is no demo merchant: name --key.")
    if not (api and key):
        at = _running()
        if not key and at.demo is None:
            raise Invalid("There is no demo merchant here: name --key.")
        api, key = api or at.api, key or (at.demo.secret_key if at.demo else "")
    if f"_{env}_" not in key:
        raise Invalid(f"The key is not one of {env}.")
    secret = sign.mint()
    out.print(f"Ready. The signing secret is {secret} (until this ends).")
    asyncio.run(listening(api, key, forward_to, [e for e in events.split(",") if e], secret, out.print))


def trigger(
    event: Annotated[str, typer.Argument(help="payment_intent.succeeded, charge.refunded, payout.paid …")],
) -> None:
    """Have something truly happen in the test environment, through the simulators."""
    from guilder.app.trigger import RECIPES
    from guilder.app.trigger import trigger as triggering

    if event not in RECIPES:
        raise Invalid(f"{event!r} cannot be triggered. What can: {', '.join(RECIPES)}.")
    id = asyncio.run(triggering(_running(), event, lambda line: out.print(f"  · {line}")))
    out.print(f"{event}  {id}")
