"""Connection to a server: the unmodified langgraph_sdk client, with readable errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
from langgraph_sdk import get_client

from runstead.runtime.json_types import JsonObject
from runstead.settings import SettingsError, load_settings

from .output import USAGE, CommandError

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient

_LOG_IN: Final = "log in with --api-key KEY, or with --header 'authorization: Bearer TOKEN'"


def server_url(url: str | None, settings_file: Path | None) -> str:
    """Return the given URL, or that of the server that these settings would start."""
    if url:
        return url.rstrip("/")
    try:
        return load_settings(file=settings_file).url
    except SettingsError as error:
        raise CommandError(str(error), exit_code=USAGE) from error


@asynccontextmanager
async def connect(
    url: str, *, api_key: str | None = None, headers: Mapping[str, str] | None = None
) -> AsyncIterator[LangGraphClient]:
    """Yield a client for the server at ``url``, once it has responded. Raises CommandError if it does not.

    Without ``api_key``, the SDK takes that of LANGGRAPH_API_KEY and similar variables.
    """
    # Checked first, and once: the SDK retries a refused connection for seconds before it reports an error.
    try:
        async with httpx.AsyncClient(timeout=10, trust_env=False) as probe:
            answered = await probe.get(f"{url}/ok", headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise CommandError(
            f"no server answers at {url} ({str(error) or type(error).__name__})",
            "start one with `runstead dev` or `runstead serve`, or name another with --url",
        ) from error
    if answered.status_code != httpx.codes.OK:
        raise _unusable(url, answered)
    own_key: JsonObject = {"api_key": api_key} if api_key else {}
    client = get_client(url=url, headers=headers, **own_key)
    try:
        with describe_errors(url):
            yield client
    finally:
        await client.aclose()


@contextmanager
def describe_errors(url: str) -> Iterator[None]:
    """Convert HTTP errors to CommandError."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise _server_error(error) from error
    except httpx.TransportError as error:
        raise CommandError(
            f"the connection to {url} was lost ({error or type(error).__name__})",
            "runs continue without it; find yours with `runstead runs ls`, and follow it with `runstead watch`",
        ) from error


def _unusable(url: str, answered: httpx.Response) -> CommandError:
    """Return the error for a server that does not report to be usable: its own sentence, if it sent one."""
    try:
        body = answered.json()
    except ValueError:
        body = None
    detail = _sentence(body)
    if detail is None:
        problem = f"{url} answers, but not as an agent server would: HTTP {answered.status_code} for /ok"
        return CommandError(problem, "name the server's own address with --url")
    trace = body.get("traceback") if isinstance(body, dict) else None
    return CommandError(f"the server at {url} cannot serve: {detail}" + (f"\n{trace.rstrip()}" if trace else ""))


def _server_error(error: httpx.HTTPStatusError) -> CommandError:
    status = error.response.status_code
    sentence = _sentence(getattr(error, "body", None)) or f"the server answered HTTP {status} for {error.request.url}"
    hint = _LOG_IN if status == httpx.codes.UNAUTHORIZED else None
    return CommandError(sentence, hint)


def _sentence(body: object) -> str | None:
    detail = body.get("detail") if isinstance(body, dict) else None
    return detail if isinstance(detail, str) and detail else None
