"""``keys``: create, list and revoke API keys."""

# No `from __future__ import annotations`: typer reads the annotations of these functions.
from typing import Annotated

import typer

from ..output import Output
from .options import Config, DataDir, Json, SettingsFile

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True, rich_markup_mode=None)


@app.command("create")
def keys_create(
    user: Annotated[str, typer.Option("--user", help="User that the key acts for.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Tenant of the user.")] = "default",
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="Scope of the key, visible to graphs; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the key.  [default: the user]")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Create a key. It is shown only once."""
    from ..keys import create_key
    from ..request import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        request = ServeRequest.for_storage(config, data_dir, settings)
        create_key(output, request.settings(), user=user, tenant=tenant, scopes=scope or (), name=name)


@app.command("ls")
def keys_ls(config: Config = None, data_dir: DataDir = None, settings: SettingsFile = None, json: Json = False) -> None:
    """List keys (secrets are not shown)."""
    from ..keys import list_keys
    from ..request import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        request = ServeRequest.for_storage(config, data_dir, settings)
        list_keys(output, request.settings())


@app.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, see `runstead keys ls`.")],
    config: Config = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Revoke a key permanently."""
    from ..keys import revoke_key
    from ..request import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        request = ServeRequest.for_storage(config, data_dir, settings)
        revoke_key(output, request.settings(), key_id)
