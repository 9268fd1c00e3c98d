"""Options shared by several commands."""

import functools
import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON object per line instead of text.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="The langgraph.json to serve.  [default: ./langgraph.json]")
]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.  [default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on; 0 chooses a free one.  [default: 2024]")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="Directory of runs and threads.  [default: one per project, in the user's data directory]"
    ),
]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="A file of settings.  [default: ./runstead.toml, if there is one]")
]
Assign = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated.")
]
Unauthenticated = Annotated[
    bool | None,
    typer.Option("--allow-unauthenticated", help="Listen on a non-loopback address without authentication."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Runs to execute at once; 0 leaves all runs to worker processes.  [default: 64]"),
]
Targets = Annotated[
    list[str] | None, typer.Argument(metavar="[FILE.PY:GRAPH]...", help="Graphs to serve, without a langgraph.json.")
]
Url = Annotated[str | None, typer.Option("--url", help="URL of the server.  [default: from the settings]")]
Thread = Annotated[str | None, typer.Option("--thread", help="Id of the thread.")]


def merge_options(
    command: Callable[..., None], function: Callable[..., Any], *, given: int, without: Collection[str] = ()
) -> Callable[..., None]:
    """Return ``command`` with the name and help of ``function``, and the options of both, those of ``function`` first.

    The first ``given`` parameters of ``function`` are no options. ``without``: options of ``command`` to leave out.
    """
    own = list(inspect.signature(function).parameters.values())[given:]
    shared = [one for one in inspect.signature(command).parameters.values() if one.kind is one.KEYWORD_ONLY]
    kept = [one for one in shared if one.name not in without]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own] + kept
    functools.update_wrapper(command, function)
    # Typer reads both. Those of the function include what it is given.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command
