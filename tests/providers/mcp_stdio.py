"""An MCP server over standard input and output, as a program that starts in milliseconds: it imports only json.

Its tools are those of `mcp_http`.
"""

from __future__ import annotations

import json
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_INTEGERS = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
_TOPIC = {"type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}
TOOLS = [
    {"name": "add", "description": "Add two numbers.", "inputSchema": {**_INTEGERS, "required": ["a", "b"]}},
    {"name": "lookup", "description": "Look a topic up.", "inputSchema": _TOPIC},
]


def result_of(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a request."""
    if method == "initialize":
        info = {"name": "fake", "version": "1"}
        version = params["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        given = params["arguments"]
        text = str(given["a"] + given["b"]) if params["name"] == "add" else f"about {given['topic']}"
        return {"content": [{"type": "text", "text": text}], "isError": False}
    return {}


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            result = result_of(message["method"], message.get("params") or {})
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)


if __name__ == "__main__":
    main()
