"""``keys``: who shows one acts for its user."""

# No `from __future__ import annotations`: typer reads the annotations of these functions.
from typing import Annotated

import typer

from ..output import Output
from .options import Config, DataDir, Json, SettingsFile

app = typer.Typer(help="API keys: who shows one acts for its user.", no_args_is_help=True, rich_markup_mode=None)


@app.command("create")
def keys_create(
    user: Annotated[str, typer.Option("--user", help="Whom the key acts for.")],
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant this user is of.")] = "default",
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="A permission that graphs will see; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the key is for.  [default: the user]")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Make a key. It is shown this once."""
    from ..keys import create_key
    from ..request import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        request = ServeRequest(flags={"config": config, "data_dir": data_dir}, settings_file=settings)
        create_key(output, request.settings(), user=user, tenant=tenant, scopes=scope or (), name=name)


@app.command("ls")
def keys_ls(config: Config = None, data_dir: DataDir = None, settings: SettingsFile = None, json: Json = False) -> None:
    """List all keys, without what opens anything."""
    from ..keys import list_keys
    from ..request import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        request = ServeRequest(flags={"config": config, "data_dir": data_dir}, settings_file=settings)
        list_keys(output, request.settings())


@app.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="As `runstead keys ls` shows it.")],
    config: Config = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Close a key, from now on and for good."""
    from ..keys import revoke_key
    from ..request import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        request = ServeRequest(flags={"config": config, "data_dir": data_dir}, settings_file=settings)
        revoke_key(output, request.settings(), key_id)
