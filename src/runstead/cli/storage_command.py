"""Commands that use the storage of a server without the server: the options that they share."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import typer

from .options import Assign, Config, DataDir, Json, SettingsFile, merge_options
from .output import Output

if TYPE_CHECKING:
    from .request import ServeRequest

P = ParamSpec("P")


def storage_command(
    function: "Callable[Concatenate[Output, ServeRequest, P], int | None]", *, has_set: bool = True
) -> Callable[..., None]:
    """Return a command with the options of ``function`` and those that name the storage.

    ``function`` gets the output and the request as its first arguments, and returns the exit code; None is 0. A
    CommandError is printed. ``has_set``: the command has the option ``--set``.
    """

    def command(
        *,
        config: Config = None,
        data_dir: DataDir = None,
        settings: SettingsFile = None,
        assign: Assign = None,
        json: Json = False,
        **own: Any,
    ) -> None:
        from .request import ServeRequest

        output = Output(as_json=json)
        with output.handle_errors():
            request = ServeRequest.for_storage(config, data_dir, settings, assign)
            raise typer.Exit(function(output, request, **own) or 0)  # type: ignore[call-arg]

    return merge_options(command, function, given=2, without=() if has_set else ("assign",))
