"""The doctor finds problems of a setup, and names the remedies."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import os
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runstead.auth.none import LOCAL_ACTOR
from runstead.bootstrap.application import Application
from runstead.cli.doctor import check_port, check_python, check_sqlite, examine, run_checks
from runstead.cli.output import Output
from runstead.cli.request import ServeRequest
from runstead.graphs.configuration import configuration_of
from runstead.infra.encryption.keyring import key_id_of_key
from runstead.infra.engines.data_dir import own_data_dir
from runstead.resources.health_checks import HealthCheck
from runstead.runtime import RunScope, RunSpec, acting
from runstead.runtime.runs.types import AssistantId, ThreadId
from runstead.settings import Settings, load_settings
from tests.servers.postgres import a_schema
from tests.servers.valkey import own_valkey

from .processes import Done


def look(directory: Path, targets: tuple[str, ...] = (), **flags: Any) -> dict[str, HealthCheck]:
    """Return the findings by subject; the worst of several for one subject."""
    request = ServeRequest(flags={"port": 0, "data_dir": directory / "data", **flags}, targets=targets)
    order = ("ok", "warning", "failed")
    found: dict[str, HealthCheck] = {}
    for finding in run_checks(request):
        before = found.get(finding.subject)
        if before is None or order.index(finding.state) > order.index(before.state):
            found[finding.subject] = finding
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "bad.py").write_text("import nothing_like_this\n")
    (tmp_path / "good.py").write_text(
        "from langgraph.func import entrypoint\n\n@entrypoint()\ndef graph(x: int) -> int:\n    return x\n"
    )
    return tmp_path


def configure(place: Path, **keys: Any) -> Path:
    file = place / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"agent": "./good.py:graph"}, **keys}))
    return file


def test_valid_setup_passes_all_checks(place: Path) -> None:
    found = look(place, config=configure(place))
    assert {finding.state for finding in found.values()} == {"ok"}, found
    subjects = {"python", "sqlite", "host", "port", "data", "wal", "disk", "configuration", "auth", "graph"}
    assert set(found) == subjects


class _Info(http.server.BaseHTTPRequestHandler):
    """A server that reports in /info how often its user code blocked."""

    blocks = 0

    def do_GET(self) -> None:
        body = json.dumps({"user_code": {"blocks": self.blocks, "blocked_seconds": 1.25 * self.blocks}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@pytest.mark.parametrize(("blocks", "state"), [(0, "ok"), (2, "warning")])
def test_blocking_user_code_is_reported_with_a_remedy(place: Path, blocks: int, state: str) -> None:
    handler = type("_Info", (_Info,), {"blocks": blocks})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            found = look(place, config=configure(place), port=server.server_port)["user code"]
        finally:
            server.shutdown()
            serving.join()
    assert found.state == state
    if blocks:
        assert "2 times" in found.detail
        assert "2.5 s" in found.detail
        assert found.remedy is not None
        assert '"agent_isolation": "run"' in found.remedy
        assert "plain `def`" in found.remedy


def test_app_and_embedder_are_checked(place: Path) -> None:
    (place / "site.py").write_text("from starlette.applications import Starlette\n\napp = Starlette()\nother = 1\n")
    good = {"http": {"app": "./site.py:app"}, "store": {"index": {"dims": 8, "embed": "runstead:hashed"}}}
    found = look(place, config=configure(place, **good))
    assert (found["app"].state, found["embedder"].state) == ("ok", "ok")
    bad = {"http": {"app": "./site.py:other"}, "store": {"index": {"dims": 8, "embed": "./gone.py:embed"}}}
    found = look(place, config=configure(place, **bad))
    assert "http.app: ./site.py:other is a int" in found["app"].detail
    assert "store.index.embed: './gone.py:embed' cannot be used" in found["embedder"].detail


def test_graph_import_error_names_graph_and_line(place: Path) -> None:
    graph = look(place, config=configure(place, graphs={"a": "./good.py:graph", "b": "./bad.py:graph"}))["graph"]
    assert graph.state == "failed"
    assert "graph 'b' (./bad.py:graph) cannot be loaded: ModuleNotFoundError" in graph.detail
    assert "line 1: import nothing_like_this" in graph.detail


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"auth": {"path": "./auth.py:auth"}}, "there is no file './auth.py'"),
        ({"encryption": {"path": "./e.py:e"}}, "there is no file './e.py'"),
        ({"graphs": {"a": "./gone.py:graph"}}, "there is no file './gone.py'"),
    ],
)
def test_unsupported_configuration_is_a_failure(keys: dict[str, Any], said: str, place: Path) -> None:
    found = look(place, config=configure(place, **keys))["configuration"]
    assert found.state == "failed"
    assert said in found.detail


def test_key_without_effect_is_a_warning(place: Path) -> None:
    found = look(place, config=configure(place, checkpointer={"path": "./c.py:c"}))["configuration"]
    assert found.state == "warning"
    assert "checkpointer.path: ./c.py:c is not used" in found.detail


def test_unreadable_env_file_is_a_failure(place: Path) -> None:
    (place / ".env").write_bytes(b"A=\xff\xfe\n")
    found = look(place, config=configure(place, env=".env"))["configuration"]
    assert found.state == "failed"
    assert "env: cannot be read: " in found.detail


def test_missing_configuration_names_both_remedies(place: Path) -> None:
    found = look(place, config=place / "langgraph.json")["configuration"]
    assert "runstead dev file.py:graph" in found.detail
    assert found.remedy == (
        'write {"graphs": {"agent": "./agent.py:graph"}}, or name a graph: runstead doctor agent.py:graph'
    )


def test_non_loopback_address_without_authentication_is_reported(place: Path) -> None:
    host = look(place, config=configure(place), host="0.0.0.0")["host"]
    assert host.state == "failed"
    assert host.remedy
    assert "--allow-unauthenticated" in host.remedy


def test_taken_port_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = check_port(Settings(port=port, data_dir=tmp_path))
    assert (finding.state, finding.remedy) == (
        "failed",
        "choose another with --port, or end the process that has it",
    )
    assert check_port(Settings(port=port, data_dir=tmp_path)).state == "ok"


def test_port_taken_by_an_agent_server_is_not_a_failure(server: str, tmp_path: Path) -> None:
    finding = check_port(Settings(port=int(server.rpartition(":")[2]), data_dir=tmp_path))
    assert finding.state == "ok"
    assert f"an agent server, which answers at {server}" in finding.detail


def test_owner_of_the_data_directory_is_reported(place: Path) -> None:
    with own_data_dir(place / "data"):
        owner = look(place, config=configure(place))["owner"]
    assert owner.state == "warning"
    assert str(os.getpid()) in owner.detail
    assert look(place, config=configure(place))["owner"].state == "ok"


def test_data_directory_below_a_file_is_a_failure(place: Path) -> None:
    # Permissions cannot serve as an example: root may write everywhere.
    (place / "file").write_text("")
    found = look(place, config=configure(place), data_dir=place / "file" / "data")
    assert found["data"].state == "failed"


def test_outdated_versions_are_reported() -> None:
    assert check_python((3, 10, 2)) == HealthCheck("python", "failed", "3.10.2 is too old", "use Python 3.11 or newer")
    assert check_python((3, 13, 0)).state == "ok"
    assert check_sqlite((3, 34, 1)).state == "failed"


def test_misspelt_variable_is_reported(place: Path, runstead: Callable[..., Done]) -> None:
    configure(place)
    done = runstead("doctor", "--json", "--port", "0", cwd=place, RUNSTEAD_PROT="3000")
    assert {"RUNSTEAD_PROT: no setting has this name, ignored; did you mean RUNSTEAD_PORT?"} == {
        finding["detail"] for finding in done.of("finding") if finding["state"] == "warning"
    }
    assert done.exit_code == 0


def test_invalid_setting_ends_the_checks(runstead: Callable[..., Done]) -> None:
    done = runstead("doctor", "--json", "--set", "max_attempts=none")
    assert done.exit_code == 1
    (failed,) = [finding for finding in done.of("finding") if finding["state"] == "failed"]
    assert failed["detail"].startswith("flag --max-attempts: ")


def test_exit_code_is_nonzero_on_failures(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = {"port": 0, "data_dir": place / "data"}
    assert examine(ServeRequest(flags={**flags, "config": configure(place)}), Output()) == 0
    assert "No problems found." in capsys.readouterr().out
    assert examine(ServeRequest(flags=flags, targets=("bad.py:graph",)), Output()) == 1
    assert "errors: 1, warnings: 0" in capsys.readouterr().out


def test_doctor_creates_no_data_directory(place: Path) -> None:
    look(place, config=configure(place))
    assert not (place / "data").exists()


def test_cluster_servers_are_checked(place: Path, postgres_url: str, tmp_path: Path) -> None:
    with own_valkey(tmp_path / "valkey", maxmemory="100mb", maxmemory_policy="allkeys-lru") as valkey:
        found = look(place, config=configure(place), database_url=postgres_url, redis_url=valkey.url)
    assert {found[subject].state for subject in ("postgres", "postgres connections", "redis", "redis memory")} == {"ok"}
    assert "data" not in found, "nothing is kept there"
    # A test server: it does not sync to disk.
    assert found["postgres durability"].state in ("failed", "warning")
    assert found["schema"].state in ("ok", "warning")
    assert (found["redis policy"].state, found["redis policy"].remedy is None) == ("warning", False)


@pytest.mark.parametrize(
    ("migrating", "state", "said"), [(True, "warning", "the next start"), (False, "failed", "refuse to start")]
)
def test_missing_schema_is_reported_with_the_migrating_command(
    migrating: bool, state: str, said: str, place: Path, postgres_url: str
) -> None:
    urls: dict[str, Any] = {"database_url": postgres_url, "redis_url": "redis://127.0.0.1:1"}
    how: dict[str, Any] = {"database_schema": a_schema(), "database_migrate_on_start": migrating}
    schema = look(place, config=configure(place), **urls, **how)["schema"]
    assert (schema.state, schema.detail) == (state, "not created yet")
    assert schema.remedy
    assert said in schema.remedy
    assert "`runstead migrate`" in schema.remedy


def test_unreachable_servers_are_reported_without_passwords(place: Path) -> None:
    urls: dict[str, Any] = {
        "database_url": "postgresql://me:hush@127.0.0.1:1/x",
        "redis_url": "redis://:hush@127.0.0.1:1",
    }
    found = look(place, config=configure(place), **urls)
    assert (found["postgres"].state, found["redis"].state) == ("failed", "failed")
    assert not any("hush" in finding.detail for finding in found.values())


def _with_databases(place: Path, name: str = "data") -> Path:
    """A data directory as left by a server, with a thread that has a state."""
    data = place / name

    async def serve() -> None:
        settings = load_settings({"data_dir": data, "port": 0})
        async with Application(settings, configuration_of(["good.py:graph"], place)).running() as services:
            with acting(LOCAL_ACTOR):
                spec = RunSpec(
                    assistant_id=AssistantId("graph"),
                    graph_id="graph",
                    thread_id=ThreadId("t1"),
                    input=1,
                    scope=RunScope(if_not_exists="create"),
                )
                await services.runs.create_and_wait(spec)

    asyncio.run(serve())
    return data


def test_intact_databases_pass_while_a_server_uses_them(place: Path) -> None:
    data = _with_databases(place)
    assert look(place, config=configure(place))["database"].state == "ok"
    with own_data_dir(data):
        assert look(place, config=configure(place))["database"].state == "ok"


@pytest.mark.parametrize("name", ["runstead.db", "checkpoints.db"])
@pytest.mark.parametrize("damage", ["header", "page", "cut"])
def test_corrupt_database_is_reported_by_name(place: Path, name: str, damage: str) -> None:
    file = _with_databases(place) / name
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    if damage == "header":
        content[:16] = b"no database here"
    elif damage == "page":
        # All but the first pages, which hold the schema.
        content[3 * 4096 :] = b"\xa5" * (len(content) - 3 * 4096)
    else:
        del content[len(content) // 2 :]
    file.write_bytes(content)
    found = look(place, config=configure(place))["database"]
    assert found.state == "failed"
    assert str(file) in found.detail
    assert found.remedy is not None
    assert "backup" in found.remedy


def test_checkpoint_file_of_another_server_is_reported(place: Path) -> None:
    data, other = _with_databases(place), _with_databases(place, "other")
    for file in data.glob("checkpoints.db*"):
        file.unlink()
    found = look(place, config=configure(place))["database"]
    assert (found.state, "is missing or empty" in found.detail) == ("failed", True)
    (data / "checkpoints.db").write_bytes((other / "checkpoints.db").read_bytes())
    found = look(place, config=configure(place))["database"]
    assert (found.state, "belongs to another database" in found.detail) == ("failed", True)


def test_database_of_a_later_version_is_reported(place: Path) -> None:
    data = _with_databases(place)
    with sqlite3.connect(data / "runstead.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    found = look(place, config=configure(place))["database"]
    assert (found.state, found.remedy) == ("failed", "install the version that wrote it")


def test_encryption_keys_are_checked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(place)
    assert "encryption" not in look(place, config=config)
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "short")
    found = look(place, config=config)["encryption"]
    assert (found.state, "16, 24 or 32 characters" in found.detail) == ("failed", True)
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "k" * 32)
    found = look(place, config=config)["encryption"]
    assert (found.state, found.detail.startswith("1 keys; ")) == ("ok", True)


def test_keys_that_do_not_fit_the_data_are_reported(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "data").mkdir(exist_ok=True)
    with sqlite3.connect(place / "data" / "runstead.db") as connection:
        connection.execute("CREATE TABLE encryption_keys (key_id TEXT PRIMARY KEY)")
    config = configure(place)

    def recorded(*key_ids: str) -> Any:
        with sqlite3.connect(place / "data" / "runstead.db") as connection:
            connection.execute("DELETE FROM encryption_keys")
            connection.executemany("INSERT INTO encryption_keys VALUES (?)", [(key_id,) for key_id in key_ids])
        return look(place, config=config).get("encryption")

    assert recorded() is None
    assert "the key abcd; no key is configured" in recorded("abcd").detail
    assert "handlers of a langgraph.json have encrypted" in recorded("handlers").detail
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "k" * 32)
    wrong = recorded("abcd")
    assert (wrong.state, "those that are configured are" in wrong.detail) == ("failed", True)
    assert recorded().state == "ok"
    monkeypatch.setenv("RUNSTEAD_ENCRYPTION_KEYS", base64.b64encode(b"n" * 32).decode())
    assert "nothing is encrypted with it yet" in recorded(key_id_of_key(b"k" * 32)).detail


def test_encryption_handlers_are_loaded(place: Path) -> None:
    (place / "crypt.py").write_text("from langgraph_sdk import Encryption\n\nencryption = Encryption()\nother = 1\n")
    found = look(place, config=configure(place, encryption={"path": "./crypt.py:encryption"}))
    assert found["encryption handlers"].state == "ok"
    found = look(place, config=configure(place, encryption={"path": "./crypt.py:other"}))
    assert "not a langgraph_sdk.Encryption" in found["encryption handlers"].detail


def test_directory_of_the_quickstart_has_no_errors(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    handler = type("_Info", (_Info,), {"blocks": 0})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            found = look(place, port=server.server_port)
        finally:
            server.shutdown()
            serving.join()
    assert found["port"].state == "ok"
    assert (found["configuration"].state, found["configuration"].remedy is not None) == ("warning", True)


def test_mistake_in_langgraph_json_is_reported_with_its_own_fix(place: Path) -> None:
    finding = look(place, config=configure(place, http={"disable_runs": "yes"}))["configuration"]
    assert (finding.state, finding.remedy) == ("failed", "correct the place named above")
    assert "must be true or false" in finding.detail
