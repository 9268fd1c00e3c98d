"""Commands that call a server: the options that they share, and the connection that these describe."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, TypeVar

import typer

from .options import Json, SettingsFile, Url, merge_options
from .output import USAGE, CommandError, Output

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient

Headers = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="'NAME: VALUE'", help="A header of every request; may be repeated."),
]
ApiKey = Annotated[
    str | None, typer.Option("--api-key", help="Key to log in with.  [default: the variable LANGGRAPH_API_KEY]")
]

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServerClient:
    """Server that a command calls, the credentials for it, and the command's output."""

    output: Output
    given_url: str | None = None
    settings_file: Path | None = None
    api_key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def url_option(self) -> str:
        """The option that names this server, for commands that are shown for copying. Without credentials."""
        return f" --url {self.given_url}" if self.given_url else ""

    def call(self, work: "Callable[[LangGraphClient], Awaitable[T]]") -> T:
        """Connect, and return the result of ``work``. Raises CommandError, with the server's own sentence."""
        import asyncio

        from .connection import connect, server_url

        url = server_url(self.given_url, self.settings_file)

        async def command() -> T:
            async with connect(url, api_key=self.api_key, headers=dict(self.headers)) as client:
                return await work(client)

        try:
            return asyncio.run(command())
        except KeyboardInterrupt:
            raise SystemExit(130) from None


def client_command(function: Callable[Concatenate[ServerClient, P], int | None]) -> Callable[..., None]:
    """Return a command with the options of ``function`` and those of the connection.

    ``function`` gets the server as its first argument, and returns the exit code; None is 0. A CommandError is
    printed.
    """

    def command(
        *,
        url: Url = None,
        api_key: ApiKey = None,
        header: Headers = None,
        settings: SettingsFile = None,
        json: Json = False,
        **own: Any,
    ) -> None:
        output = Output(as_json=json)
        with output.handle_errors():
            headers = tuple(_header(text) for text in header or ())
            server = ServerClient(output, url, settings, *_credentials(api_key, headers))
            raise typer.Exit(function(server, **own) or 0)  # type: ignore[call-arg]

    return merge_options(command, function, given=1)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        problem = f"--header {text!r} is not a header; write it as 'NAME: VALUE', such as 'authorization: Bearer TOKEN'"
        raise CommandError(problem, exit_code=USAGE)
    return name.strip().lower(), value.strip()


def _credentials(
    api_key: str | None, headers: tuple[tuple[str, str], ...]
) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """Return the API key and the other headers: the SDK accepts the key's header only as a key."""
    keys = [value for name, value in headers if name == "x-api-key"]
    if api_key and keys:
        raise CommandError("--api-key and the header x-api-key were both given; give one of the two", exit_code=USAGE)
    return api_key or (keys[-1] if keys else None), tuple(one for one in headers if one[0] != "x-api-key")
