"""Reach a server: the unmodified langgraph_sdk client, and errors in words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from langgraph_sdk import get_client

from runstead.settings import SettingsError, load_settings

from .output import USAGE, CommandError

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient


def server_url(url: str | None, settings_file: Path | None) -> str:
    """The server that was named, or the one these settings would start."""
    if url:
        return url.rstrip("/")
    try:
        return load_settings(file=settings_file).url
    except SettingsError as error:
        raise CommandError(str(error), exit_code=USAGE) from error


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[LangGraphClient]:
    """A client for the server at ``url``, which has answered. Raises CommandError when none does."""
    # Asked first, and once: the SDK tries a refused connection for seconds before it says so.
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
        with told_in_words(url):
            yield client
    finally:
        await client.aclose()


@contextmanager
def told_in_words(url: str) -> Iterator[None]:
    """Make a CommandError of what HTTP says."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise CommandError(_detail(error)) from error
    except httpx.TransportError as error:
        raise CommandError(
            f"the connection to {url} was lost ({error or type(error).__name__})",
            "runs go on without it; find yours with `runstead runs ls`, and `runstead watch` it",
        ) from error


async def find_thread(client: LangGraphClient, run_id: str) -> str:
    """The thread of a run that is known by its id alone."""
    run: dict[str, Any] = await client.http.get(f"/runs/{run_id}")
    return str(run["thread_id"])


def _detail(error: httpx.HTTPStatusError) -> str:
    body = getattr(error, "body", None)
    detail = body.get("detail") if isinstance(body, dict) else None
    return str(detail or error)
