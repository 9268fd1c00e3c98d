"""Connection to a server: the unmodified langgraph_sdk client, with readable errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from langgraph_sdk import get_client

from runstead.runtime.json_types import JsonObject
from runstead.settings import SettingsError, load_settings

from .output import USAGE, CommandError

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient


def server_url(url: str | None, settings_file: Path | None) -> str:
    """Return the given URL, or that of the server that these settings would start."""
    if url:
        return url.rstrip("/")
    try:
        return load_settings(file=settings_file).url
    except SettingsError as error:
        raise CommandError(str(error), exit_code=USAGE) from error


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[LangGraphClient]:
    """Yield a client for the server at ``url``, once it has responded. Raises CommandError if it does not."""
    # Checked first, and once: the SDK retries a refused connection for seconds before it reports an error.
    try:
        async with httpx.AsyncClient(timeout=10, trust_env=False) as probe:
            answered = await probe.get(f"{url}/ok")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise CommandError(
            f"no server answers at {url} ({error})",
            "start one with `runstead dev` or `runstead serve`, or name another with --url",
        ) from error
    if answered.status_code != httpx.codes.OK:
        raise CommandError(f"{url} answers, but not as an agent server would: HTTP {answered.status_code} for /ok")
    client = get_client(url=url)
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
        raise CommandError(_detail(error)) from error
    except httpx.TransportError as error:
        raise CommandError(
            f"the connection to {url} was lost ({error or type(error).__name__})",
            "runs continue without it; find yours with `runstead runs ls`, and follow it with `runstead watch`",
        ) from error


async def find_thread(client: LangGraphClient, run_id: str) -> str:
    """Return the thread of a run of which only the id is known."""
    run: JsonObject = await client.http.get(f"/runs/{run_id}")
    return str(run["thread_id"])


def _detail(error: httpx.HTTPStatusError) -> str:
    body = getattr(error, "body", None)
    detail = body.get("detail") if isinstance(body, dict) else None
    return str(detail or error)
