"""Commands that use the storage of a server without the server: the options that they share."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import typer

from .options import Assign, Config, DataDir, Json, SettingsFile, merge_options
from .output import CommandError, Output

if TYPE_CHECKING:
    from .request import ServeRequest

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


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


def run_on_storage(doing: Awaitable[T]) -> T:
    """Run a coroutine and return its result. Raises CommandError if the storage cannot be used."""
    import asyncio

    from runstead.resources.storage_errors import StorageError

    async def command() -> T:
        return await doing

    try:
        return asyncio.run(command())
    except (StorageError, OSError, ImportError) as error:
        raise CommandError(str(error)) from error


def run_with_store(opened: AbstractAsyncContextManager[S], work: Callable[[S], Awaitable[T]]) -> T:
    """Open a store, and return the result of ``work`` on it. Raises CommandError if the storage cannot be used."""

    async def doing() -> T:
        async with opened as store:
            return await work(store)

    return run_on_storage(doing())
