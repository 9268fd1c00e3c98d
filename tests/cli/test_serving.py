"""`serve` in the foreground: refusals, exit, and remaining files."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from .processes import Background, Done, environ_of

Run = Callable[..., Done]
Start = Callable[..., Background]


def gone(url: str, seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            httpx.get(f"{url}/ok", timeout=1)
        except httpx.TransportError:
            return True
        time.sleep(0.05)
    return False


def test_serve_reports_its_url_and_exits_cleanly_on_sigterm(background: Start, project: Path, tmp_path: Path) -> None:
    serving = background("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--json", cwd=project)
    started = serving.wait_for("started")
    assert started["pid"] == serving.process.pid
    assert started["graphs"] == ["talker", "greeter", "asker", "broken"]
    assert started["data_dir"] == str(tmp_path / "data")
    assert httpx.get(f"{started['url']}/ok").status_code == 200
    assert serving.end(signal.SIGTERM) == 0


def test_runs_in_flight_are_released_and_resumed_by_the_next_server(
    background: Start, invoke: Run, project: Path, tmp_path: Path
) -> None:
    grace = ("--set", "shutdown_grace_seconds=0.2")
    serve = ("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), *grace, "--json")
    first = background(*serve, cwd=project)
    url = first.wait_for("started")["url"]
    said = {"messages": [{"role": "user", "content": "hi"}]}
    # With tokens requested, the model talks for three seconds.
    body = {"assistant_id": "talker", "input": said, "stream_mode": "messages-tuple"}
    thread = httpx.post(f"{url}/threads", json={}).json()["thread_id"]
    run = httpx.post(f"{url}/threads/{thread}/runs", json=body).json()["run_id"]
    while httpx.get(f"{url}/threads/{thread}/runs/{run}").json()["status"] != "running":
        time.sleep(0.02)
    assert first.end() == 0

    second = background(*serve, cwd=project)
    watched = invoke("watch", run, "--url", second.wait_for("started")["url"], "--json")
    (ended,) = watched.of("ended")
    assert (ended["status"], ended["attempt"]) == ("success", 2)


def test_serve_writes_nothing_to_the_working_directory(background: Start, project: Path, home: Path) -> None:
    before = sorted(project.rglob("*"))
    serving = background("serve", "--port", "0", "--json", cwd=project, PYTHONDONTWRITEBYTECODE="1")
    data = Path(serving.wait_for("started")["data_dir"])
    serving.end()
    assert sorted(project.rglob("*")) == before
    assert data.is_relative_to(home / "data" / "runstead")


def test_taken_port_error_names_the_remedy(runstead: Run, project: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = runstead("serve", "--port", port, "--data-dir", str(tmp_path), cwd=project)
    assert done.exit_code == 1
    assert done.err.startswith(f"error: cannot listen on 127.0.0.1:{port}: ")
    assert "--port 0" in done.err


def test_data_directory_belongs_to_one_server(background: Start, runstead: Run, project: Path, tmp_path: Path) -> None:
    serve = ("serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
    first = background(*serve, "--json", cwd=project)
    first.wait_for("started")
    second = runstead(*serve, cwd=project)
    assert second.exit_code == 1
    assert f"is in use by the process with pid {first.process.pid}" in second.err
    assert "Traceback" not in second.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "0.0.0.0 can be reached from other machines, and authentication is off"),
        (["--host", "no.such.host.invalid", "--allow-unauthenticated"], "is not an address of this machine"),
        (["--set", "port"], "write it as NAME=VALUE"),
        (["--set", "prot=1"], "flag --prot: there is no such setting; did you mean port?"),
        (["--port", "99999"], "flag --port: "),
        (["--settings", "nowhere.toml"], "there is no such settings file"),
        (["--config", "nowhere.json"], "nowhere.json: there is no such file"),
        (["graphs.py:greeter", "--config", "langgraph.json"], "give one of the two"),
        (["graphs.py"], "names no variable"),
    ],
)
def test_invalid_serve_arguments_are_refused_without_traceback(
    arguments: list[str], said: str, runstead: Run, project: Path
) -> None:
    done = runstead("serve", *arguments, cwd=project)
    assert done.exit_code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_worker_ignores_the_host_setting(runstead: Run, project: Path) -> None:
    cluster = {"RUNSTEAD_DATABASE_URL": "postgresql://127.0.0.1:1/x", "RUNSTEAD_REDIS_URL": "redis://127.0.0.1:1"}
    patience = ("--set", "database_patience_seconds=0.1")
    done = runstead("worker", *patience, cwd=project, RUNSTEAD_HOST="0.0.0.0", **cluster)
    assert "can be reached from other machines" not in done.err
    assert "127.0.0.1:1 cannot be reached" in done.err
    assert done.exit_code == 1


def test_configuration_with_unsupported_protection_is_refused(runstead: Run, project: Path, tmp_path: Path) -> None:
    (tmp_path / "graphs.py").write_text((project / "graphs.py").read_text())
    keys = {"graphs": {"greeter": "./graphs.py:greeter"}, "auth": {"path": "./auth.py:auth"}}
    (tmp_path / "langgraph.json").write_text(json.dumps(keys))
    done = runstead("serve", "--port", "0", cwd=tmp_path)
    assert done.exit_code == 2
    assert "auth.path: there is no file './auth.py'" in done.err


def test_graph_load_error_names_file_and_line(runstead: Run, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("x = 1\nimport nothing_like_this\ngraph = 1\n")
    done = runstead("serve", "agent.py:graph", "--port", "0", cwd=tmp_path)
    assert done.exit_code == 1
    assert f"at {tmp_path}/agent.py, line 2: import nothing_like_this" in done.err
    assert "Traceback" not in done.err


def test_crash_in_native_code_leaves_the_stacks_of_all_threads(project: Path, home: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [
        sys.executable,
        "-m",
        "runstead.cli",
        "serve",
        "--port",
        "0",
        "--data-dir",
        str(tmp_path / "data"),
        "--json",
    ]
    with log.open("w") as errors:
        serving = subprocess.Popen(
            command, cwd=project, env=environ_of(home), stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert serving.stdout is not None
        with serving.stdout as lines:
            assert "started" in lines.readline()
            serving.send_signal(signal.SIGSEGV)
            assert serving.wait(30) == -signal.SIGSEGV
    said = log.read_text()
    assert "Fatal Python error: Segmentation fault" in said
    assert said.count("most recent call first") > 1


def test_unknown_variable_causes_a_warning(background: Start, project: Path, tmp_path: Path) -> None:
    serve = ("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--json")
    serving = background(*serve, cwd=project, RUNSTEAD_PROT="1")
    assert serving.wait_for("warning")["warning"] == (
        "RUNSTEAD_PROT: no setting has this name, ignored; did you mean RUNSTEAD_PORT?"
    )


def test_child_server_ends_when_its_parent_dies(project: Path, home: Path, tmp_path: Path) -> None:
    code = f"""
import socket, time
from pathlib import Path
from runstead.cli.server_process import ServerProcess
listening = socket.create_server(("127.0.0.1", 0))
place = Path({str(tmp_path)!r})
ServerProcess(["--data-dir", str(place / "data")], listening, log=place / "log").start()
print(listening.getsockname()[1], flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=project, env=environ_of(home), stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    url = f"http://127.0.0.1:{parent.stdout.readline().strip()}"
    parent.stdout.close()
    assert httpx.get(f"{url}/ok", timeout=30).status_code == 200
    parent.kill()
    parent.wait()
    assert gone(url)


def test_next_server_can_take_over_the_socket(project: Path, home: Path, tmp_path: Path) -> None:
    from runstead.cli.server_process import ServerProcess

    before = os.getcwd()
    os.chdir(project)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        child = ServerProcess(
            ["--data-dir", str(tmp_path / "data")], listening, environ={"HOME": str(home)}, log=tmp_path / "log"
        )
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            child.start()
            first = child.pid
            assert httpx.get(f"{url}/ok", timeout=30).status_code == 200
            child.kill()
            child.start()
            # Requested before a server listens: the request waits, and is not refused.
            assert httpx.get(f"{url}/ok", timeout=30).status_code == 200
            assert child.pid != first
            assert child.has_died() is None
        finally:
            child.kill()
            os.chdir(before)
