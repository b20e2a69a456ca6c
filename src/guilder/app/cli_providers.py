"""The command line of OpenID providers: `guilder people providers list | add | remove`."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from guilder.app.cli_services import in_control, in_world, out
from guilder.core.errors import Invalid

if TYPE_CHECKING:
    from guilder.app.environments import World
    from guilder.people.providers import Provider

app = typer.Typer(no_args_is_help=True, help="Single sign-on: the OpenID providers that may say who somebody is.")


@app.command("list")
def list_() -> None:
    """Show the providers, and where each has to send people back to; never their secrets."""
    from guilder.people import providers

    async def work(world: "World") -> "tuple[list[Provider], str]":
        return await providers.everybody(next(iter(world.envs.values()))), world.settings.api_url

    found, api = in_world(work)
    table = Table(Column("name", no_wrap=True), "issuer", "client", "e-mail of", "somebody new", "redirect URI")
    for p in found:
        new = "by invitation" if p.link is providers.Link.INVITATION else "only if signed in"
        table.add_row(p.name, p.issuer, p.client_id, ", ".join(p.domains) or "any domain", new, _back(api, p.name))
    out.print(table)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Stands in addresses: work, google …")],
    issuer: Annotated[str, typer.Argument(help="https://sso.example.com, letter by letter as the provider says it.")],
    client_id: Annotated[str, typer.Argument(help="What the provider calls us.")],
    secret: Annotated[
        typer.FileText,
        typer.Argument(help="A file with the client secret; - reads stdin. On the command line others could see it."),
    ],
    domain: Annotated[
        list[str] | None, typer.Option(help="Let in only verified e-mail addresses of this domain; may be said again.")
    ] = None,
    link: Annotated[
        str, typer.Option(help="Who new is let in: invitation (who is invited), signed_in (who links while signed in).")
    ] = "invitation",
) -> None:
    """Let people sign in by an OpenID provider.  It is asked what it says of itself first."""
    from guilder.people import providers
    from guilder.people.providers import Link, New

    if link not in set(Link):
        raise Invalid(f"--link is {' or '.join(Link)}, not {link!r}.")
    new = New(name, issuer, client_id, secret.read().strip(), tuple(d.lower() for d in domain or ()), Link(link))

    async def work(world: "World") -> str:
        await providers.add(next(iter(world.envs.values())), new)
        return _back(world.settings.api_url, name)

    out.print(f"People can sign in by {name}. Tell the provider this redirect URI:\n{in_world(work)}")


@app.command()
def remove(name: str) -> None:
    """Let nobody in by a provider any more.  Whoever is signed in stays so: end those sessions too if you have to."""
    from guilder.people import providers

    in_control(lambda tx: providers.remove(tx, name))
    out.print(f"Nobody signs in by {name} any more.")


def _back(api: str, name: str) -> str:
    return f"{api}/auth/oidc/{name}/callback"
