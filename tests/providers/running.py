"""All HTTP providers on one loopback port, in a thread of the tests."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Self

import uvicorn
from mcp.server.fastmcp.server import StreamableHTTPASGIApp
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from .anthropic_wire import anthropic_routes
from .google_wire import google_routes
from .mcp_http import mcp_sessions
from .openai_wire import openai_routes
from .script import ScriptedAnswers


@dataclass
class Providers:
    """The running providers: their URLs, and their received requests."""

    url: str
    answers: ScriptedAnswers = field(default_factory=ScriptedAnswers)

    @property
    def mcp_url(self) -> str:
        return f"{self.url}/mcp"

    @property
    def environ(self) -> dict[str, str]:
        """The variables that direct the SDKs to these providers instead of the real ones."""
        return {
            "OPENAI_API_KEY": "fake",
            "OPENAI_BASE_URL": f"{self.url}/openai/v1",
            "OPENAI_API_BASE": f"{self.url}/openai/v1",
            "ANTHROPIC_API_KEY": "fake",
            "ANTHROPIC_BASE_URL": f"{self.url}/anthropic",
            "ANTHROPIC_API_URL": f"{self.url}/anthropic",
            "GOOGLE_API_KEY": "fake",
            "GOOGLE_GEMINI_BASE_URL": f"{self.url}/google",
            "MCP_URL": self.mcp_url,
        }

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
            providers = cls(f"http://127.0.0.1:{listening.getsockname()[1]}")
            config = uvicorn.Config(_application(providers.answers), log_level="warning", timeout_graceful_shutdown=1)
            server = uvicorn.Server(config)
            thread = threading.Thread(target=asyncio.run, args=(server.serve([listening]),), name="providers")
            thread.start()
            try:
                yield providers
            finally:
                server.should_exit = True
                thread.join()


def _application(answers: ScriptedAnswers) -> Starlette:
    sessions = mcp_sessions()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with sessions.run():
            yield

    return Starlette(
        routes=[
            Mount("/openai/v1", routes=openai_routes(answers)),
            Mount("/anthropic", routes=anthropic_routes(answers)),
            Mount("/google", routes=google_routes(answers)),
            Route("/mcp", StreamableHTTPASGIApp(sessions)),
        ],
        exception_handlers={ClientDisconnect: _client_is_gone},
        lifespan=lifespan,
    )


async def _client_is_gone(_: Request, __: Exception) -> Response:
    """Ignore a client that was killed in the middle of its request."""
    return Response(status_code=499)
