"""`dev` reloads changed code, and runs in flight continue."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.infra.engines.data_dir import own_data_dir

from .conftest import GRAPHS
from .processes import CTRL_C, Background, Done, Terminal

Start = Callable[..., Background]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "agent.py").write_text(GRAPHS)
    return tmp_path


@pytest.fixture
def developing(work: Path, background: Start) -> Iterator[tuple[Background, str]]:
    """A started `dev` of two graphs, and its URL."""
    graphs = ("agent.py:greeter", "agent.py:talker")
    dev = background("dev", *graphs, "--port", "0", "--data-dir", str(work / "data"), "--json", cwd=work)
    yield dev, dev.wait_for("started")["url"]
    assert dev.end() == 0


def change(work: Path, before: str, after: str) -> None:
    (work / "agent.py").write_text((work / "agent.py").read_text().replace(before, after))


def test_changed_code_is_served_at_the_same_url(
    developing: tuple[Background, str], work: Path, invoke: Callable[..., Done]
) -> None:
    dev, url = developing
    assert "hello to you" in invoke("run", "greeter", "hi", "--url", url).out
    change(work, "hello to you", "changed words")
    assert dev.wait_for("reloading")["changed"] == ["agent.py"]
    # Requested immediately: the socket waits for the next server.
    assert httpx.get(f"{url}/ok", timeout=30).status_code == 200
    # The server that is stopping may have answered.
    dev.wait_for("started")
    assert "changed words" in invoke("run", "greeter", "hi", "--url", url).out


def test_run_in_flight_resumes_after_a_reload(
    developing: tuple[Background, str], work: Path, terminal: Callable[..., Terminal]
) -> None:
    _, url = developing
    talking = terminal("run", "talker", "hi", "--url", url)
    talking.wait_for("word5")
    # Longer than the second that a reload waits for runs to finish.
    change(work, "hello to you", "changed words")
    talking.wait_for("attempt 2: resumed")
    talking.wait_for("word99")
    talking.wait_for("-- success")
    assert talking.end() == 0


def test_dev_survives_a_syntax_error_and_serves_the_correction(
    developing: tuple[Background, str], work: Path, invoke: Callable[..., Done]
) -> None:
    dev, url = developing
    change(work, "def greeter():", "def greeter(:")
    assert dev.wait_for("error")["error"].startswith("graph 'greeter' (agent.py:greeter) cannot be loaded: ")
    assert dev.wait_for("died")["exit_code"] == 1
    change(work, "def greeter(:", "def greeter():")
    dev.wait_for("started")
    assert "hello to you" in invoke("run", "greeter", "hi", "--url", url).out


def test_signal_during_a_reload_ends_the_next_server(developing: tuple[Background, str], work: Path) -> None:
    dev, _ = developing
    change(work, "hello to you", "changed words")
    dev.wait_for("reloading")
    dev.process.send_signal(signal.SIGTERM)
    # A server that gets no signal is awaited, and then killed.
    said, _ = dev.process.communicate(timeout=30)
    assert dev.process.returncode == 0
    assert '"killed"' not in said


def test_files_written_by_runs_cause_no_reload(developing: tuple[Background, str], work: Path) -> None:
    dev, url = developing
    (work / "data" / "note.py").write_text("")
    (work / "notes.txt").write_text("")
    change(work, "hello to you", "changed words")
    assert dev.wait_for("reloading")["changed"] == ["agent.py"]
    assert httpx.get(f"{url}/ok", timeout=30).status_code == 200


def test_dev_prints_url_and_snippet_and_stops_on_ctrl_c(work: Path, terminal: Callable[..., Terminal]) -> None:
    dev = terminal("dev", "agent.py:greeter", "--port", "0", "--data-dir", str(work / "data"), cwd=work)
    dev.wait_for("Runstead serves greeter at ")
    dev.wait_for("\r\n")
    url = dev.before.strip()
    dev.wait_for("  data  ")
    dev.wait_for(" --url ")
    # Once it serves, and not before.
    dev.wait_for(f'client = get_sync_client(url="{url}')
    dev.wait_for('client.runs.stream(None, "greeter", ')
    dev.press(CTRL_C)
    assert dev.end() == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/ok")


def test_dev_without_reload_is_one_process(work: Path, background: Start) -> None:
    dev = background(
        "dev", "agent.py:greeter", "--no-reload", "--port", "0", "--data-dir", str(work / "data"), "--json", cwd=work
    )
    assert dev.wait_for("started")["pid"] == dev.process.pid
    assert dev.end(signal.SIGINT) == 0


def test_printed_snippet_works(developing: tuple[Background, str]) -> None:
    from langgraph_sdk import get_sync_client

    client = get_sync_client(url=developing[1])
    question: Any = {"messages": [{"role": "human", "content": "hello"}]}
    parts = list(client.runs.stream(None, "greeter", input=question, stream_mode="messages-tuple"))
    said = "".join(part.data[0]["content"] for part in parts if part.event == "messages")
    assert said == "hello to you"


def test_dev_ends_when_its_data_directory_is_in_use(work: Path, background: Start) -> None:
    data = work / "data"
    with own_data_dir(data):
        dev = background("dev", "agent.py:greeter", "--port", "0", "--data-dir", str(data), "--json", cwd=work)
        assert "is in use by" in dev.wait_for("error")["error"]
        assert dev.process.wait(60) == 1


def test_dev_shows_the_traceback_of_broken_code(work: Path, terminal: Callable[..., Terminal]) -> None:
    (work / "agent.py").write_text("def load():\n    return {}['graph']\n\n\ngreeter = load()\n")
    dev = terminal("dev", "agent.py:greeter", "--port", "0", "--data-dir", str(work / "data"), cwd=work)
    dev.wait_for("Traceback (most recent call last):\r\n")
    dev.wait_for("KeyError: 'graph'")
    # The first frame is the user's.
    assert dev.before.splitlines()[0].endswith('agent.py", line 5, in <module>')
    dev.wait_for("A changed file starts the next one.")
    dev.press(CTRL_C)
    assert dev.end() == 0
