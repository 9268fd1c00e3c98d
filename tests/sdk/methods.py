"""Methods of the installed client, read from its classes; and methods used by the tests here, read from their
source.

A name is ``noun.verb`` for methods of the clients (``threads.create``, ``client.close``), and ``stream.…`` for
those of a thread's stream (``stream.values``, ``stream.run.start``).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langgraph_sdk import get_client, get_sync_client

from .flavours import Flavour

NOWHERE = "http://127.0.0.1:1"
_TRANSPORT = "http"
"""Below all clients; it has no protocol of its own."""


def methods(flavour: Flavour) -> set[str]:
    """Return every public method of every class of this client."""
    client: Any = (get_client if flavour == "async" else get_sync_client)(url=NOWHERE, api_key=None)
    nouns = {name: value for name, value in vars(client).items() if name != _TRANSPORT}
    found = {f"client.{verb}" for verb in _public(client) if verb not in vars(client)}
    found |= {f"{noun}.{verb}" for noun, value in nouns.items() for verb in _public(value)}
    return found | set(_of_stream(client.threads.stream(assistant_id="agent")))


def used_by_tests(flavour: Flavour, folder: Path) -> set[str]:
    """Return every method that a test in ``folder`` uses with this client.

    A test that takes the client, or its flavour, from a fixture counts for both; another one counts for the client
    that it can be written for: the asynchronous one in an ``async def``.
    """
    found: set[str] = set()
    for file in folder.glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                arguments = {argument.arg for argument in node.args.args}
                own: Flavour = "async" if isinstance(node, ast.AsyncFunctionDef) else "sync"
                if own == flavour or arguments & {"client", "flavour"}:
                    found |= set(_used(node))
    return found


def _public(target: Any) -> Iterator[str]:
    return (name for name in dir(target) if not name.startswith("_") and name != _TRANSPORT)


def _of_stream(stream: Any) -> Iterator[str]:
    for name in _public(stream):
        yield f"stream.{name}"
        if isinstance(getattr(type(stream), name, None), property):
            # Readable only while the stream is open; its items are not the client's own.
            continue
        part = getattr(stream, name)
        if type(part).__module__.startswith("langgraph_sdk") and not callable(part):
            yield from (f"stream.{name}.{verb}" for verb in _public(part) if callable(getattr(type(part), verb, None)))


def _used(test: ast.AST) -> Iterator[str]:
    streams = {
        item.optional_vars.id
        for node in ast.walk(test)
        if isinstance(node, ast.With | ast.AsyncWith)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name) and _chain(item.context_expr)[-1:] == ["stream"]
    }
    for node in ast.walk(test):
        chain = _chain(node)
        if chain and chain[0] in streams:
            yield from (f"stream.{'.'.join(chain[1:end])}" for end in range(2, len(chain) + 1))
        elif len(chain) >= 2:
            yield ".".join(chain[-2:])


def _chain(node: ast.AST) -> list[str]:
    """Return the names of ``a.b.c``, with or without a call at its end; for another base expression, the names
    after it.
    """
    if isinstance(node, ast.Call):
        node = node.func
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else names
