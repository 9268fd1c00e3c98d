#!/usr/bin/env python3
"""Run `make demo` and a few tests of each kind in environments that users may have, and print a line for each.

  .ci/environments.py            all of them
  .ci/environments.py NAME...    some of them
  .ci/environments.py --list     their names

They run in copies of the working tree: one for the calling account, and for root also one for an ordinary user.
Environments that this machine does not support are skipped with the reason. Logs of failures are kept.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
TESTS: Final = "@tests/house/each_kind.txt"
NOWHERE: Final = "/proc/nowhere"
"""Path that not even root can create."""
REFUSING: Final = "http://127.0.0.1:1"
OTHERS: Final = ("redis-server", "valkey-server", "postgres", "initdb", "pg_ctl", "psql", "node", "npm", "npx")
OTHER_PYTHONS: Final = ("python", "python3", "pip", "uv", "runstead", "pytest")
WITHIN: Final = 1_200.0
# Variables that installing needs on a machine: its indexes, certificates, proxies and caches.
INSTALLING: Final = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_", "NODE_EXTRA_CA_", "npm_config_")
PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True)
class Environment:
    """One environment, as its differences from an empty one."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    # Install in it as well, into a copy without .venv.
    installs: bool = False
    # Run as an ordinary user if root calls this.
    ordinary: bool = False
    network: bool = True
    # Failing programs with these names come first on the PATH.
    programs: tuple[str, ...] = ()
    # Locale to create for it, as name and character set.
    locale: tuple[str, str] | None = None


ENVIRONMENTS: Final = (
    Environment("empty", installs=True),
    Environment("user", installs=True, ordinary=True),
    Environment("urls", {
        "REDIS_URL": "redis://127.0.0.1:1/0", "REDIS_URI": "redis://127.0.0.1:1/0",
        "DATABASE_URL": "postgresql://127.0.0.1:1/other", "DATABASE_URI": "postgresql://127.0.0.1:1/other",
        "POSTGRES_URI": "postgresql://127.0.0.1:1/other",
        "PGHOST": "127.0.0.1", "PGPORT": "1", "PGDATA": NOWHERE, "PGUSER": "other",
        "PGPASSWORD": "other", "PGOPTIONS": "-c search_path=no",
    }),
    Environment("keys", {
        **{f"{tool}_{name}": value for tool in ("LANGSMITH", "LANGCHAIN") for name, value in {
            "TRACING": "true", "TRACING_V2": "true", "API_KEY": "other", "ENDPOINT": REFUSING, "PROJECT": "other",
        }.items()},
        "LANGGRAPH_API_URL": REFUSING, "OPENAI_API_KEY": "other", "OPENAI_BASE_URL": REFUSING,
        "ANTHROPIC_API_KEY": "other", "ANTHROPIC_BASE_URL": REFUSING, "OTEL_EXPORTER_OTLP_ENDPOINT": REFUSING,
    }),
    Environment("proxies", dict.fromkeys(PROXIES, REFUSING)),
    Environment("locale-c", {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, installs=True),
    Environment("locale-turkish", {"LANGUAGE": "tr"}, locale=("tr_TR", "UTF-8")),
    Environment("locale-latin", {"PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"}, locale=("tr_TR", "ISO-8859-9")),
    Environment("time-zone-east", {"TZ": "Pacific/Kiritimati"}),
    Environment("time-zone-unknown", {"TZ": "No/Such_Zone"}),
    Environment("python", {
        "PYTHONPATH": NOWHERE, "PYTHONHOME": NOWHERE, "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error",
        "PYTHONHASHSEED": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUSERBASE": NOWHERE, "PYTHONSAFEPATH": "1",
        "PYTHONDEVMODE": "1", "PYTHONIOENCODING": "ascii", "PYTHONSTARTUP": NOWHERE, "PYTHONINSPECT": "1",
        "PIP_USER": "1", "PIP_TARGET": NOWHERE, "PIP_REQUIRE_VIRTUALENV": "1", "UV_PROJECT_ENVIRONMENT": NOWHERE,
        "VIRTUAL_ENV": NOWHERE, "CONDA_PREFIX": NOWHERE,
    }, installs=True),
    Environment("make", {"VENV": NOWHERE, "ARGS": "--no-such-option", "WORKERS": "many", "BIN": NOWHERE}),
    Environment("node", {"NODE_OPTIONS": "--no-such-option", "NODE_PATH": NOWHERE, "NODE_ENV": "production"}),
    Environment("old-servers", programs=OTHERS),
    Environment("old-pythons", programs=(*OTHERS, *OTHER_PYTHONS), installs=True),
    Environment("no-network", network=False),
    Environment("no-home", {
        "HOME": NOWHERE, **{f"XDG_{name}_HOME": NOWHERE for name in ("DATA", "CONFIG", "CACHE", "STATE")},
        "XDG_RUNTIME_DIR": NOWHERE,
    }, installs=True),
    Environment("terminal", {"TERM": "dumb", "COLUMNS": "20", "LINES": "3", "FORCE_COLOR": "1", "DEBUG": "*"}),
)  # fmt: skip


class Skipped(Exception):
    """The environment cannot be tested on this machine; the text is the reason."""


class Failed(Exception):
    """A command failed; the text is the end of its log."""


def variables_of(environment: Environment, folder: Path) -> dict[str, str]:
    """Return all variables of an environment whose files are in a folder."""
    machine = {name: value for name, value in os.environ.items() if name.startswith(INSTALLING) or name in PROXIES}
    path = os.environ.get("PATH", os.defpath)
    more: dict[str, str] = {}
    if environment.programs:
        programs = folder / "programs"
        programs.mkdir(exist_ok=True)
        for name in environment.programs:
            (programs / name).write_text("#!/bin/sh\necho 'this is not the one' >&2\nexit 1\n", encoding="utf-8")
            (programs / name).chmod(0o755)
        path = f"{programs}{os.pathsep}{path}"
    if environment.locale:
        more = {"LC_ALL": make_locale(*environment.locale, folder), "LOCPATH": str(folder)}
    home = folder / "home"
    return {**machine, "PATH": path, "HOME": str(home), "TMPDIR": str(folder / "tmp"), **more, **environment.variables}


def make_locale(name: str, charset: str, folder: Path) -> str:
    """Make a locale in a folder and return its name; raise Skipped if this machine has no sources of locales."""
    whole = f"{name}.{charset}"
    try:
        done = subprocess.run(
            ["localedef", "-i", name, "-f", charset, str(folder / whole)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise Skipped("localedef is missing") from None
    if not (folder / whole).is_dir():
        raise Skipped(f"cannot make the locale {whole}: {(done.stderr.splitlines() or ['no reason given'])[-1]}")
    return whole


def without_network() -> list[str]:
    """Return a command prefix that leaves only the loopback interface; raise Skipped if that is not permitted."""
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    try:
        done = subprocess.run([*alone, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Skipped("unshare is missing") from None
    if done.returncode != 0:
        raise Skipped(f"not permitted: {done.stderr.strip()}")
    return alone


class Copies:
    """Copies of the working tree, one for each account, and the Python of each account."""

    def __init__(self, folder: Path, python: str) -> None:
        self._folder, self._python = folder, python

    def account(self, environment: Environment) -> pwd.struct_passwd | None:
        """Return the account for an environment, or None for the calling account."""
        if not environment.ordinary or os.geteuid() != 0:
            return None
        try:
            return pwd.getpwnam("nobody")
        except KeyError:
            raise Skipped("the unprivileged account is missing") from None

    def python(self, account: pwd.struct_passwd | None) -> str:
        """Return a Python that an account may run."""
        for python in (self._python, "/usr/bin/python3", "/usr/local/bin/python3"):
            found = shutil.which(python)
            usable = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
            if found and run_as(account, [found, "-I", "-c", usable], cwd="/").returncode == 0:
                return found
        raise Skipped(f"no Python that {account.pw_name if account else 'this account'} may run")

    def copy(self, account: pwd.struct_passwd | None) -> Path:
        """Return the folder of an account, with the working tree in ``runstead``."""
        folder = self._folder / (account.pw_name if account else "own")
        if not folder.exists():
            for name in ("home", "tmp", "runstead"):
                (folder / name).mkdir(parents=True)
            listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
            for name in filter(None, listed.decode().split("\0")):
                target = folder / "runstead" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        return folder


def run_as(account: pwd.struct_passwd | None, command: list[str], *, cwd: str) -> subprocess.CompletedProcess[bytes]:
    """Run a short command as an account."""
    user = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}
    return subprocess.run(command, cwd=cwd, capture_output=True, check=False, **user)  # type: ignore[call-overload,no-any-return]


def try_environment(environment: Environment, copies: Copies, logs: Path) -> str:
    """Run both commands in an environment and return their durations."""
    account = copies.account(environment)
    python = copies.python(account)
    folder = copies.copy(account)
    before = [] if environment.network else without_network()
    variables = variables_of(environment, folder)
    if environment.installs:
        shutil.rmtree(folder / "runstead" / ".venv", ignore_errors=True)
    if account is not None:
        subprocess.run(["chown", "-R", f"{account.pw_uid}:{account.pw_gid}", folder], check=True)
    took = []
    for target, arguments in (("demo", []), ("test", [f"ARGS={TESTS} -ra"])):
        log = logs / f"{environment.name}-{target}.log"
        began = time.monotonic()
        user = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}
        command = [*before, "make", target, f"PYTHON={python}", *arguments]
        with log.open("wb") as output:
            done = subprocess.run(  # type: ignore[call-overload]
                command, cwd=folder / "runstead", env=variables, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, timeout=WITHIN, check=False, **user,
            )  # fmt: skip
        text = log.read_text(encoding="utf-8", errors="replace")
        if done.returncode != 0:
            raise Failed(f"make {target}, see {log}\n" + "\n".join(f"    {line}" for line in text.splitlines()[-15:]))
        took.append(f"make {target} {time.monotonic() - began:.0f} s")
        if target == "test":
            took.append(text.rstrip().splitlines()[-1])
        log.unlink()
    return ", ".join(took)


def main() -> int:
    """Test the environments that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [one.name for one in ENVIRONMENTS]
    parser.add_argument("names", nargs="*", metavar="NAME", help="; ".join(names))
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--python", default=os.environ.get("PYTHON") or sys.executable, help="Python to install with")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(names))
        return 0
    if unknown := set(arguments.names) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    failed = 0
    folder = Path(tempfile.mkdtemp(prefix="runstead-environments-"))
    folder.chmod(0o755)
    logs = Path(tempfile.mkdtemp(prefix="runstead-environments-logs-"))
    copies = Copies(folder, arguments.python)
    try:
        for environment in ENVIRONMENTS:
            if arguments.names and environment.name not in arguments.names:
                continue
            try:
                outcome, remark = "ok", try_environment(environment, copies, logs)
            except Skipped as reason:
                outcome, remark = "skipped", str(reason)
            except (Failed, subprocess.TimeoutExpired) as error:
                outcome, remark = "FAILED", str(error)
                failed = 1
            print(f"{outcome:8}{environment.name:18} {remark}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if not failed:
            shutil.rmtree(logs, ignore_errors=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
