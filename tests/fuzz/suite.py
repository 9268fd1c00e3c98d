"""All targets, and the server that they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .checkpoints import checkpoint_targets
from .files import file_targets
from .http import http_targets
from .sockets import socket_targets
from .target import Target
from .world import World, running

TARGETS: Final = (
    *("bodies", "queries", "headers", "cursors", "websocket messages", "bytes"),
    *("stored values", "stored checkpoints", "langgraph.json", "import files", "backup files"),
)


@contextmanager
def world_and_targets(
    folder: Path, names: Sequence[str] = (), *, with_handlers: bool = False
) -> Iterator[tuple[World, list[Target]]]:
    """A running server, and the targets with these names; all targets, if no names are given."""
    with running(folder, with_handlers=with_handlers) as world, file_targets(folder / "files") as of_files:
        targets = [*http_targets(world), *socket_targets(world), *checkpoint_targets(world, folder), *of_files]
        assert [target.name for target in targets] == list(TARGETS)
        yield world, [target for target in targets if not names or target.name in names]
