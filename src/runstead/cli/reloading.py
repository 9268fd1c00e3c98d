"""``runstead dev``: a server in a process of its own, made anew when code changes.

The listening socket belongs to this process and is handed to each server in turn, so that clients who come during a
reload wait a moment instead of being refused. Runs in flight are handed back and resumed by the next server.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from watchfiles import DefaultFilter, watch

from runstead.settings import Settings

from .children import ServerChild
from .output import Output
from .preflight import refuse_strangers, refuse_unprotected
from .request import ServeRequest
from .serving import listen_on, show_snippet, url_of

if TYPE_CHECKING:
    from watchfiles import Change

    from runstead.graphs.configuration import GraphConfiguration

_SUFFIXES = (".py", ".json", ".toml", ".env")
_RELOAD_GRACE_SECONDS = 1


class _CodeFilter(DefaultFilter):
    """Python and configuration files of the project, not what runs write."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(ignore_paths=[data_dir])

    def __call__(self, change: Change, path: str) -> bool:
        return path.endswith(_SUFFIXES) and super().__call__(change, path)


def reload_forever(request: ServeRequest, output: Output) -> None:
    """Serve, watch, serve again, until a signal."""
    settings = request.settings()
    configuration = request.configuration(settings)
    refuse_strangers(configuration, settings)
    refuse_unprotected(configuration, settings)
    with listen_on(settings) as listening:
        server = ServerChild(_for_child(request, settings, output), listening)
        stopping = threading.Event()

        def stop(signum: int, frame: FrameType | None) -> None:
            server.tell_to_stop()
            stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        server.start()
        show_snippet(url_of(listening, settings), configuration, output)
        try:
            changes = watch(
                *_watched(configuration),
                watch_filter=_CodeFilter(settings.data_dir),
                stop_event=stopping,
                rust_timeout=300,
                yield_on_timeout=True,
                raise_interrupt=False,
            )
            for changed in changes:
                _follow(changed, server, output)
        finally:
            # A signal that came in the middle of a reload was for the server before this one.
            if not server.was_told:
                server.tell_to_stop()
            server.wait()


def _follow(changed: set[tuple[Change, str]], server: ServerChild, output: Output) -> None:
    """What a look at the files, and at the server, calls for."""
    if (code := server.has_died()) is not None:
        output.line("died", exit_code=code)
        output.say(f"The server ended with {code}; it starts again when a file changes.", style="red")
    if changed:
        names = sorted({Path(path).name for _, path in changed})
        output.line("reloading", changed=names)
        output.say(f"{', '.join(names)} changed: serving anew", style="yellow")
        server.stop()
        server.start()


def _for_child(request: ServeRequest, settings: Settings, output: Output) -> list[str]:
    arguments = request.arguments() + (["--json"] if output.as_json else [])
    # Nobody wants to wait long for a reload, and what does not finish is resumed anyway.
    if settings.shutdown_grace_seconds == Settings.model_fields["shutdown_grace_seconds"].default:
        arguments += ["--set", f"shutdown_grace_seconds={_RELOAD_GRACE_SECONDS}"]
    if settings.show_errors is not None and not _sets(request, "show_errors"):
        # The child serves, and would not know that it is for somebody who works on the graphs.
        arguments += ["--set", f"show_errors={str(settings.show_errors).lower()}"]
    return arguments


def _sets(request: ServeRequest, name: str) -> bool:
    return any(text.partition("=")[0].strip() == name for text in request.assigned)


def _watched(configuration: GraphConfiguration) -> list[Path]:
    """The project's directories, without those inside another of them."""
    places = {*configuration.search_paths, *(source.file.parent for source in configuration.graphs if source.file)}
    return sorted(place for place in places if not any(other in place.parents for other in places))
