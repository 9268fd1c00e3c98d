"""``encryption``: manage the keys of encryption at rest."""

# No `from __future__ import annotations`: typer reads the annotations of these functions.
import typer

from ..output import Output
from .options import Assign, Config, DataDir, Json, SettingsFile

app = typer.Typer(help="Manage the keys of encryption at rest.", no_args_is_help=True, rich_markup_mode=None)


@app.command("new-key")
def encryption_new_key(json: Json = False) -> None:
    """Print a new key, for encryption_keys. It is not stored anywhere."""
    from ..encryption import new_key

    new_key(Output(as_json=json))


@app.command("status")
def encryption_status(
    config: Config = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    json: Json = False,
) -> None:
    """Count the values that each key encrypts, and those that are not encrypted. Fails if a key is missing."""
    from ..encryption import status
    from ..request import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        status(ServeRequest.for_storage(config, data_dir, settings, assign), output)


@app.command("rewrite")
def encryption_rewrite(
    config: Config = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    json: Json = False,
) -> None:
    """Encrypt everything with the first key, also unencrypted data. Servers that have the key may keep running."""
    from ..encryption import rewrite
    from ..request import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        rewrite(ServeRequest.for_storage(config, data_dir, settings, assign), output)
