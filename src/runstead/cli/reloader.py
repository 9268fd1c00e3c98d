"""``runstead dev``: a server in a child process, which is replaced when code changes.

The listening socket belongs to this process and is passed to each server in turn, so that clients that connect during a
reload wait a moment instead of being refused. Runs in flight are handed back and resumed by the next server; a reload
costs them no attempt in any case. While the code cannot be loaded, requests get the reason as their response.
"""

from __future__ import annotations

import signal
import socket
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from watchfiles import DefaultFilter, watch

from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.settings import Settings

from .failure_responder import FailureResponder
from .output import FAILED, Output
from .preflight import refuse_strangers, refuse_unprotected
from .process_replacement import AFTER_RELOAD
from .request import ServeRequest
from .server_process import ServerProcess, startup_timeout_seconds
from .serving import listen_on

if TYPE_CHECKING:
    from watchfiles import Change

    from runstead.graphs.configuration import GraphConfiguration

_SUFFIXES = (".py", ".json", ".toml", ".env")
_RELOAD_GRACE_SECONDS = 1
WITH_SNIPPET = "--snippet"
"""Option of a first server, which prints code for the graph once it serves."""


class _CodeFilter(DefaultFilter):
    """Filter for Python and configuration files of the project, without files that runs write."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(ignore_paths=[data_dir])

    def __call__(self, change: Change, path: str) -> bool:
        return path.endswith(_SUFFIXES) and super().__call__(change, path)


def reload_forever(request: ServeRequest, output: Output) -> None:
    """Serve, and restart the server on every change, until a signal."""
    settings = request.settings()
    configuration = request.configuration(settings)
    refuse_strangers(configuration, settings)
    refuse_unprotected(configuration, settings)
    with listen_on(settings) as listening:
        own = _own_settings(request, settings)
        patience = startup_timeout_seconds(settings.model_copy(update=own))
        server = ServerProcess(_for_child(request, own, output), listening, patience=patience)
        reloader = _Reloader(server, listening, output, show_errors=settings.show_errors is not False)
        stopping = threading.Event()

        def stop(signum: int, frame: FrameType | None) -> None:
            server.terminate()
            stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        server.start(WITH_SNIPPET)
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
                if not reloader.look():
                    raise SystemExit(FAILED)
                if changed:
                    reloader.reload(sorted({Path(path).name for _, path in changed}))
        finally:
            reloader.end()


class _Reloader:
    """Current server, and the responder while there is none."""

    def __init__(self, server: ServerProcess, listening: socket.socket, output: Output, *, show_errors: bool) -> None:
        self._server, self._listening, self._output, self._show_errors = server, listening, output, show_errors
        self._responder: FailureResponder | None = None
        self._is_reload = False

    def look(self) -> bool:
        """Respond with the reason from now on, if the server has ended by itself. Return False if no change of the
        code would help; the server has printed the reason."""
        if (code := self._server.has_died()) is None:
            return True
        if self._server.failure is not None and self._server.failure.by_storage:
            return False
        # A server that could not start has lost no run; one that ended later has, and its runs count a lost attempt.
        self._is_reload = self._is_reload and self._server.failure is not None
        self._responder = FailureResponder(self._listening, self._answer(code))
        self._output.line("died", exit_code=code)
        if self._server.failure is not None:
            self._output.say(self._server.failure.traceback, end="")
        self._output.say(f"The server ended with exit code {code}. A changed file starts the next one.", style="red")
        return True

    def reload(self, names: list[str]) -> None:
        """Replace the server."""
        self._output.line("reloading", changed=names)
        self._output.say(f"{', '.join(names)} changed: restarting the server", style="yellow")
        if self._stop() is not None:
            self._is_reload = True
        if self._responder is not None:
            self._responder.close()
            self._responder = None
        self._server.start(AFTER_RELOAD if self._is_reload else WITH_SNIPPET)

    def end(self) -> None:
        """End the current server."""
        if self._responder is not None:
            self._responder.close()
        # A signal during a reload was meant for the previous server.
        if self._server.stop_requested:
            self._server.wait()
        else:
            self._stop()

    def _stop(self) -> int | None:
        code = self._server.stop()
        if code == -signal.SIGKILL:
            self._output.line("killed")
            self._output.say("The server did not end, and was killed.", style="yellow")
        return code

    def _answer(self, code: int) -> dict[str, str]:
        failure = self._server.failure
        if failure is None:
            text = f"The server ended with exit code {code}; `runstead dev` starts it again when a file changes."
            return {"detail": text}
        if not self._show_errors:
            return {"detail": "The server cannot start; the terminal of `runstead dev` shows the reason."}
        return {"detail": failure.problem, "traceback": failure.traceback}


def _own_settings(request: ServeRequest, settings: Settings) -> JsonObject:
    """Return the development server's own defaults, for settings that are not set."""
    own: JsonObject = {}
    # A reload should be quick, and runs that do not finish are resumed anyway.
    if settings.shutdown_grace_seconds == Settings.model_fields["shutdown_grace_seconds"].default:
        own["shutdown_grace_seconds"] = _RELOAD_GRACE_SECONDS
    if settings.show_errors is not None and not _sets(request, "show_errors"):
        # The child process runs `serve`, which has other defaults than `dev`.
        own["show_errors"] = settings.show_errors
    return own


def _for_child(request: ServeRequest, own: JsonMapping, output: Output) -> list[str]:
    arguments = request.arguments() + (["--json"] if output.as_json else [])
    for name, value in own.items():
        arguments += ["--set", f"{name}={str(value).lower()}"]
    return arguments


def _sets(request: ServeRequest, name: str) -> bool:
    return any(text.partition("=")[0].strip() == name for text in request.assigned)


def _watched(configuration: GraphConfiguration) -> list[Path]:
    """Return the project's directories, without those inside another of them."""
    places = {*configuration.search_paths, *(source.file.parent for source in configuration.graphs if source.file)}
    return sorted(place for place in places if not any(other in place.parents for other in places))
