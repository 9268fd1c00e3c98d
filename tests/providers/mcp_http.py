"""An MCP server over streamable HTTP, with the official SDK: the same tools as `mcp_stdio`."""

from __future__ import annotations

from mcp.server.fastmcp import FastMCP


def mcp_server() -> FastMCP:
    """Return a server whose application is at ``/mcp`` and keeps sessions."""
    server = FastMCP("fake", log_level="WARNING")

    @server.tool()
    async def add(a: int, b: int) -> str:
        """Add two numbers."""
        return str(a + b)

    @server.tool()
    async def lookup(topic: str) -> str:
        """Look a topic up."""
        return f"about {topic}"

    return server
