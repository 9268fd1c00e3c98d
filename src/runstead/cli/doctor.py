"""``runstead doctor``: check everything that a server needs, and name each problem with its fix."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runstead.bootstrap.database_check import check_databases
from runstead.bootstrap.key_check import check_keys
from runstead.installation import install_command
from runstead.resources.health_checks import HealthCheck
from runstead.runtime.user_code.watchdog import remedy_for
from runstead.settings import CONFIG_FILE, Settings, unknown_variable_warnings

from .output import FAILED, CommandError, Output
from .preflight import (
    load_app,
    load_embeddings,
    load_encryption_handlers,
    load_handlers,
    load_priorities,
    refuse_strangers,
    refuse_unprotected,
)
from .request import ServeRequest
from .stored_data_checks import check_stored_data

if TYPE_CHECKING:
    from runstead.graphs.configuration import GraphConfiguration

_MARKS: Final = {"ok": ("ok  ", "green"), "warning": ("warn", "yellow"), "failed": ("FAIL", "bold red")}
_SQLITE: Final = (3, 35, 0)
_CONFIGURATION: Final = (
    'write {"graphs": {"agent": "./agent.py:graph"}}, or name a graph: runstead doctor agent.py:graph'
)
_MB: Final = 1024 * 1024


def examine(request: ServeRequest, output: Output) -> int:
    """Print each finding as it is made. Return 1 if a problem would keep a server from working."""
    failed = warned = 0
    for finding in run_checks(request):
        failed += finding.state == "failed"
        warned += finding.state == "warning"
        output.line(
            "finding", subject=finding.subject, state=finding.state, detail=finding.detail, way_out=finding.remedy
        )
        mark, style = _MARKS[finding.state]
        output.say(mark, style=style, end="")
        output.say(f"  {finding.subject}: {finding.detail}")
        if finding.remedy:
            output.say(f"      {finding.remedy}", style="dim")
    output.line("examined", failed=failed, warnings=warned)
    output.say()
    output.say(f"errors: {failed}, warnings: {warned}" if failed or warned else "No problems found.", style="bold")
    return FAILED if failed else 0


def run_checks(request: ServeRequest) -> Iterator[HealthCheck]:
    """Yield all findings, in the order in which a start would encounter the problems."""
    yield check_python(sys.version_info[:3])
    yield check_sqlite(sqlite3.sqlite_version_info)
    try:
        settings = request.settings()
    except CommandError as error:
        yield HealthCheck("settings", "failed", error.problem, "correct it, or leave it out to get the default")
        return
    for warning in unknown_variable_warnings():
        yield HealthCheck("settings", "warning", warning, "correct the spelling, or unset it")
    yield check_port(settings)
    yield from check_user_code(settings)
    if settings.is_cluster:
        yield from check_cluster(settings)
    else:
        yield from check_data_dir(settings.data_dir)
    yield from check_stored_data(settings)
    try:
        configuration = request.configuration(settings)
    except CommandError as error:
        yield _without_configuration(request, settings, error)
        return
    yield _refusal("host", settings.host, lambda: refuse_strangers(configuration, settings))
    yield from check_encryption(configuration, settings)
    yield from check_configuration_file(configuration, settings)


def _without_configuration(request: ServeRequest, settings: Settings, error: CommandError) -> HealthCheck:
    """Return the finding about a configuration that cannot be read. A directory without one can be served by
    naming a graph, as the quickstart does."""
    file = settings.config or Path.cwd() / CONFIG_FILE
    if request.targets or file.exists():
        return HealthCheck("configuration", "failed", error.problem, "correct the place named above")
    return HealthCheck("configuration", "failed" if settings.config else "warning", error.problem, _CONFIGURATION)


def check_encryption(configuration: GraphConfiguration, settings: Settings) -> Iterator[HealthCheck]:
    """Check that the encryption keys can be read, that handlers can be loaded, and that both match the data."""
    from runstead.bootstrap.encryption import load_cipher
    from runstead.graphs.configuration import ConfigurationError
    from runstead.graphs.environment import apply_environment
    from runstead.resources.storage_errors import StorageError

    environ = dict(os.environ)
    try:
        # An unreadable environment is a finding about the configuration.
        with suppress(ConfigurationError):
            apply_environment(configuration, environ)
        cipher = load_cipher(settings, environ)
    except StorageError as error:
        yield HealthCheck("encryption", "failed", str(error))
        return
    if (found := check_keys(settings, cipher, has_handlers=configuration.encryption is not None)) is not None:
        yield found


def check_python(version: tuple[int, ...]) -> HealthCheck:
    text = ".".join(map(str, version))
    if version < (3, 11):
        return HealthCheck("python", "failed", f"{text} is too old", "use Python 3.11 or newer")
    return HealthCheck("python", "ok", text)


def check_sqlite(version: tuple[int, ...]) -> HealthCheck:
    text = ".".join(map(str, version))
    if version < _SQLITE:
        wanted = ".".join(map(str, _SQLITE))
        return HealthCheck("sqlite", "failed", f"{text} is too old", f"use a Python with SQLite {wanted} or newer")
    return HealthCheck("sqlite", "ok", text)


def check_port(settings: Settings) -> HealthCheck:
    """Check that the port is free, or used by an agent server, or used by another process."""
    place = f"{settings.host}:{settings.port}"
    if settings.port == 0:
        return HealthCheck("port", "ok", "any free one")
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if _answers(settings.url):
            return HealthCheck("port", "ok", f"{place} is used by an agent server, which answers at {settings.url}")
        way_out = "choose another with --port, or end the process that has it"
        return HealthCheck("port", "failed", f"cannot listen on {place}: {error.strerror or error}", way_out)
    return HealthCheck("port", "ok", f"{place} is free")


def check_user_code(settings: Settings) -> Iterator[HealthCheck]:
    """Check whether user code of the server that runs here has blocked its event loop. No finding if none runs."""
    import httpx

    try:
        user_code = httpx.get(f"{settings.url}/info", timeout=2, trust_env=False).json()["user_code"]
        blocks, seconds = int(user_code["blocks"]), float(user_code["blocked_seconds"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return
    if blocks == 0:
        yield HealthCheck("user code", "ok", f"has not blocked its event loop at {settings.url}")
        return
    yield HealthCheck(
        "user code",
        "warning",
        f"blocked its event loop {blocks} times at {settings.url}, {seconds:.1f} s in all; everything else waited",
        f'the log names each place; {remedy_for(None)}, or set "agent_isolation": "run" for its graph',
    )


def check_data_dir(path: Path) -> Iterator[HealthCheck]:
    """Check that the directory is writable, not used by another server, suitable for SQLite, and has free space."""
    exists = path.is_dir()
    place = _nearest(path)
    if not place.is_dir():
        yield HealthCheck("data", "failed", f"{place} is not a directory", "choose another place with --data-dir")
        return
    if not os.access(place, os.W_OK | os.X_OK):
        yield HealthCheck("data", "failed", f"{place} cannot be written to", "choose another place with --data-dir")
        return
    yield HealthCheck("data", "ok", str(path) if exists else f"{path} (will be created)")
    if exists:
        yield _owner(path)
        yield from check_databases(path)
    yield _wal(place)
    free = shutil.disk_usage(place).free // _MB
    if free < 100:
        yield HealthCheck("disk", "failed", f"{free} MB are free", "make room, or choose another place with --data-dir")
    elif free < 1024:
        yield HealthCheck("disk", "warning", f"{free} MB are free", "runs keep their checkpoints here; make room soon")
    else:
        yield HealthCheck("disk", "ok", f"{free // 1024} GB are free")


def check_cluster(settings: Settings) -> Iterator[HealthCheck]:
    """Check both servers, and that the schema is that of this version."""
    try:
        from runstead.bootstrap.admin import check_servers
        from runstead.bootstrap.migrations import look_at_schema
        from runstead.resources.storage_errors import StorageError

        checks = asyncio.run(check_servers(settings))
    except ImportError as error:
        way_out = install_command("postgres", "redis")
        yield HealthCheck("cluster", "failed", f"a package of it is missing: {error.name}", way_out)
        return
    yield from checks
    if checks[0].state == "failed":
        return
    try:
        schema = asyncio.run(look_at_schema(settings))
    except StorageError as error:
        yield HealthCheck("schema", "failed", str(error))
        return
    if schema.is_current:
        yield HealthCheck("schema", "ok", f"revision {schema.after}")
        return
    behind = f"revision {schema.before}" if schema.before else "not created yet"
    if settings.database_migrate_on_start:
        yield HealthCheck("schema", "warning", behind, "the next start migrates it, or run `runstead migrate` now")
    else:
        yield HealthCheck("schema", "failed", behind, "run `runstead migrate`; servers refuse to start until then")


def check_configuration_file(configuration: GraphConfiguration, settings: Settings) -> Iterator[HealthCheck]:
    """Check the file, its requirements, and that every graph can be imported."""
    from runstead.bootstrap.unsupported import auth_mode, without_effect
    from runstead.graphs.configuration import ConfigurationError
    from runstead.graphs.environment import apply_environment
    from runstead.graphs.modules import GraphLoadError, extend_search_path
    from runstead.graphs.registry import GraphRegistry

    where = str(configuration.file or configuration.directory)
    yield _refusal("configuration", where, lambda: refuse_unprotected(configuration, settings))
    for warning in (*configuration.warnings, *without_effect(configuration, settings)):
        yield HealthCheck("configuration", "warning", warning)
    try:
        apply_environment(configuration, os.environ)
    except ConfigurationError as error:
        yield HealthCheck("configuration", "failed", str(error), "correct the file, or remove the key")
    extend_search_path(configuration.search_paths)
    registry = GraphRegistry(configuration)
    for source in configuration.graphs:
        try:
            registry.resolve(source.graph_id).load()
        except GraphLoadError as error:
            yield HealthCheck("graph", "failed", str(error), "correct the line named above, or install what is missing")
        else:
            yield HealthCheck("graph", "ok", f"{source.graph_id} ({source.target})")
    yield _refusal("auth", auth_mode(settings, configuration), lambda: load_handlers(configuration, settings))
    if (index := configuration.store.index) is not None:
        yield _refusal("embedder", index.embed, lambda: load_embeddings(configuration))
    if configuration.priority.path is not None:
        yield _refusal("priority", configuration.priority.path, lambda: load_priorities(configuration))
    if configuration.encryption is not None:
        path = str(configuration.encryption.get("path"))
        yield _refusal("encryption handlers", path, lambda: load_encryption_handlers(configuration))
    if configuration.http.app is not None:
        yield _refusal("app", configuration.http.app, lambda: load_app(configuration))


def _refusal(subject: str, detail: str, check: Callable[[], None]) -> HealthCheck:
    try:
        check()
    except CommandError as error:
        return HealthCheck(subject, "failed", error.problem, error.hint)
    return HealthCheck(subject, "ok", detail)


def _answers(url: str) -> bool:
    import httpx

    try:
        return httpx.get(f"{url}/ok", timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _owner(path: Path) -> HealthCheck:
    from runstead.bootstrap.admin import own_data_dir
    from runstead.resources.storage_errors import DataDirInUse

    try:
        with own_data_dir(path):
            return HealthCheck("owner", "ok", "no server is using it")
    except DataDirInUse as error:
        return HealthCheck("owner", "warning", str(error), "a second server on it will be refused")


def _wal(place: Path) -> HealthCheck:
    """Check that SQLite's write-ahead log works here; some file systems, mostly network ones, do not support it."""
    way_out = "choose a local disk with --data-dir"
    try:
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            connection = sqlite3.connect(Path(scratch) / "probe.db")
            try:
                (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
                connection.execute("CREATE TABLE probe (x)")
                connection.commit()
            finally:
                connection.close()
    except (sqlite3.Error, OSError) as error:
        return HealthCheck(
            "wal", "failed", f"SQLite cannot work in {place}: {error}", "choose a local disk with --data-dir"
        )
    if mode != "wal":
        way_out = "choose a local disk with --data-dir"
        return HealthCheck("wal", "failed", f"SQLite has no write-ahead log in {place}, only {mode}", way_out)
    return HealthCheck("wal", "ok", "SQLite can keep its write-ahead log here")


def _nearest(path: Path) -> Path:
    """Return the path, or its closest parent that exists."""
    return next(place for place in (path, *path.parents) if place.exists())
