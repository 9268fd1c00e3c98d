"""An MCP server over streamable HTTP, with the official SDK: the same tools as `mcp_stdio`."""

from __future__ import annotations

import logging
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import TextContent, Tool

from .mcp_stdio import TOOLS, result_of

# It writes a traceback for each client that ends its session.
logging.getLogger("mcp.server.streamable_http").setLevel(logging.CRITICAL)


def mcp_sessions() -> StreamableHTTPSessionManager:
    """Return the ASGI endpoint of all sessions."""
    server: Server[Any, Any] = Server("fake")

    @server.list_tools()  # type: ignore[no-untyped-call, untyped-decorator]
    async def list_tools() -> list[Tool]:
        return [Tool.model_validate(each) for each in TOOLS]

    @server.call_tool()  # type: ignore[untyped-decorator]
    async def call_tool(name: str, arguments: dict[str, Any]) -> list[TextContent]:
        result = result_of("tools/call", {"name": name, "arguments": arguments})
        return [TextContent.model_validate(each) for each in result["content"]]

    return StreamableHTTPSessionManager(server)
