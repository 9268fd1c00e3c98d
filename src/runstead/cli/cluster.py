"""``runstead cluster``: a complete cluster on this machine without Docker, for trials and development.

PostgreSQL and Valkey are those of this machine, or of their PyPI wheels. They keep their data in the project's data
directory, so that the next start continues from there. Everything ends with this process.
"""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from runstead.bootstrap.admin import own_data_dir
from runstead.installation import install_command
from runstead.resources.storage_errors import DataDirInUse
from runstead.settings import ENV_PREFIX, Settings

from .output import CommandError, Output
from .preflight import refuse_strangers, refuse_unprotected
from .request import ServeRequest
from .server_process import ServerProcess, startup_timeout_seconds
from .servers.postgres import NoPostgres, PostgresServer
from .servers.valkey import NoValkey, ValkeyServer
from .serving import listen_on, url_of

_LOOK_EVERY: Final = 0.2
_ELSEWHERE: Final = Path("/var/lib/runstead")
"""Data directory for root, whose own directories PostgreSQL's user may not enter."""


def run_cluster(request: ServeRequest, output: Output, *, workers: int) -> int:
    """Run one gateway and the given number of workers until Ctrl-C or SIGTERM. A worker that dies is restarted."""
    if os.name != "posix":
        raise CommandError("a cluster of processes needs Linux or macOS", "use WSL")
    settings = request.settings()
    if settings.is_cluster:
        raise CommandError(
            "the settings name servers of a cluster already",
            "start `runstead serve` and `runstead worker` on them, or take database_url and redis_url out",
        )
    configuration = request.configuration(settings)
    refuse_strangers(configuration, settings)
    refuse_unprotected(configuration, settings)
    with ExitStack() as stack:
        environ = stack.enter_context(_servers(settings, output))
        listening = stack.enter_context(listen_on(settings))
        # There is no load balancer that must notice the shutdown.
        common = [*request.arguments(), *(["--json"] if output.as_json else []), "--set", "shutdown_notice_seconds=0"]
        patience = startup_timeout_seconds(settings)
        gateway = ServerProcess([*common, "--workers", "0"], listening, environ=environ, patience=patience)
        arguments = _for_worker(common)
        children = [
            gateway,
            *(
                ServerProcess([*arguments, *metrics_port(settings, number)], None, environ=environ, patience=patience)
                for number in range(1, workers + 1)
            ),
        ]
        stack.callback(_stop_all, children)
        received = _signals(stack)
        for child in children:
            child.start()
        url = url_of(listening, settings)
        output.line("cluster", url=url, workers=workers, database=environ[f"{ENV_PREFIX}DATABASE_URL"])
        output.say(f"A cluster of one gateway and {workers} workers is starting at {url}; Ctrl-C ends it", style="bold")
        while not received:
            for number, child in enumerate(children):
                if (code := child.has_died()) is not None:
                    output.say(f"{how_it_ended(number, code)}; starting it again")
                    child.start()
                    time.sleep(1)
            time.sleep(_LOOK_EVERY)
    return 0


def how_it_ended(number: int, code: int) -> str:
    """Return which process of the cluster ended, and how. ``number`` is 0 for the gateway."""
    name = f"worker {number}" if number else "the gateway"
    if code >= 0:
        return f"{name} ended with exit code {code}"
    reason = ", perhaps for lack of memory" if code == -signal.SIGKILL else ""
    return f"{name} was killed by signal {-code}{reason}"


@contextmanager
def _servers(settings: Settings, output: Output) -> Iterator[Mapping[str, str]]:
    """Run PostgreSQL and Valkey for the duration of a block, and yield the settings to connect to them."""
    own = settings.data_dir / "cluster"
    with ExitStack() as stack:
        try:
            # Only the owner can enter it, so the servers' own folders must be elsewhere if another user runs them.
            stack.enter_context(own_data_dir(own))
            folder = _made(_folder(own))
            postgres, valkey = PostgresServer(folder / "postgres"), ValkeyServer(folder / "valkey")
            output.say(f"Starting PostgreSQL and Valkey in {folder}", style="dim")
            stack.callback(postgres.stop)
            postgres.start()
            stack.callback(valkey.stop)
            valkey.start()
        except (NoPostgres, NoValkey) as error:
            raise CommandError(str(error), f"{install_command('cluster')} installs both") from error
        except (DataDirInUse, OSError) as error:
            raise CommandError(str(error), "end the other cluster, or choose another place with --data-dir") from error
        ours = {name: value for name, value in os.environ.items() if name.upper().startswith(ENV_PREFIX)}
        yield {**ours, f"{ENV_PREFIX}DATABASE_URL": postgres.url, f"{ENV_PREFIX}REDIS_URL": valkey.url}


def _folder(wanted: Path) -> Path:
    """Return the folder for the data of both servers. Raises CommandError if PostgreSQL's user can enter none."""
    name = f"cluster-{hashlib.sha256(os.fsencode(wanted)).hexdigest()[:8]}"
    if os.geteuid() != 0:
        return wanted
    for folder in (wanted, _ELSEWHERE / name):
        if all(_may_be_entered(place) for place in (folder, *folder.parents) if place.exists()):
            return folder
    raise CommandError(
        f"PostgreSQL does not run as root, and its user can enter neither {wanted} nor {_ELSEWHERE}",
        f"start it as another user, or `chmod o+x {_ELSEWHERE}`",
    )


def _made(folder: Path) -> Path:
    """Create the folder so that PostgreSQL's user can pass through it to its own, whatever the umask is."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=0o711)
        place.chmod(0o711)
    return folder


def _may_be_entered(place: Path) -> bool:
    return bool(place.stat().st_mode & stat.S_IXOTH)


def _for_worker(arguments: list[str]) -> list[str]:
    """Return the arguments without those that only a listening server understands."""
    kept: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word in ("--host", "--port", "--data-dir"):
            next(rest, None)
        elif word != "--allow-unauthenticated":
            kept.append(word)
    return kept


def metrics_port(settings: Settings, number: int) -> list[str]:
    """Return the arguments that give a worker a port for metrics of its own: those after the gateway's."""
    if not settings.metrics_port:
        return []
    return ["--set", f"metrics_port={settings.metrics_port + number}"]


def _signals(stack: ExitStack) -> list[int]:
    """Return a list to which received signals are added."""
    received: list[int] = []

    def tell(number: int, _: object) -> None:
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        stack.callback(signal.signal, number, signal.signal(number, tell))
    return received


def _stop_all(children: list[ServerProcess]) -> None:
    for child in children:
        child.terminate()
    for child in children:
        child.wait()
