"""A reset deletes a data directory that no server uses, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from runstead import Application
from runstead.testing.local_server import local_server

from .processes import Done, Terminal

Run = Callable[..., Done]


class State(TypedDict, total=False):
    x: int


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def application(data: Path) -> Application:
    graph = StateGraph(State).add_node("act", lambda state: {"x": 1}).add_edge(START, "act").compile()
    return Application({"agent": graph}, port=0, data_dir=data)


def test_reset_deletes_the_data_of_a_stopped_server_alone(application: Application, data: Path, invoke: Run) -> None:
    with local_server(application):
        used = invoke("reset", "--yes", "--data-dir", str(data))
        assert (used.exit_code, "is in use" in used.err or "uses" in used.err) == (1, True)
    unasked = invoke("reset", "--data-dir", str(data))
    assert (unasked.exit_code, "--yes" in unasked.err, data.exists()) == (2, True, True)
    (data / "notes.txt").write_text("mine")
    foreign = invoke("reset", "--yes", "--data-dir", str(data))
    assert (foreign.exit_code, "notes.txt" in foreign.err) == (1, True)
    (data / "notes.txt").unlink()
    assert invoke("reset", "--yes", "--data-dir", str(data), "--json").of("reset")[0]["deleted"] is True
    assert not data.exists()
    assert "no data" in invoke("reset", "--yes", "--data-dir", str(data)).out


def test_reset_refuses_a_directory_that_is_no_data_directory(tmp_path: Path, invoke: Run) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    done = invoke("reset", "--yes", "--data-dir", str(tmp_path))
    assert (done.exit_code, "is no data directory" in done.err) == (1, True)
    assert (tmp_path / "thesis.tex").exists()


def test_reset_refuses_a_cluster(tmp_path: Path, invoke: Run) -> None:
    cluster = {"RUNSTEAD_DATABASE_URL": "postgresql://nowhere/x", "RUNSTEAD_REDIS_URL": "redis://nowhere"}
    assert "cluster" in invoke("reset", "--yes", "--data-dir", str(tmp_path), **cluster).err


def test_reset_asks_at_a_terminal(application: Application, data: Path, terminal: Callable[..., Terminal]) -> None:
    with local_server(application):
        pass
    asking = terminal("reset", "--data-dir", str(data))
    asking.wait_for("y/n: ")
    asking.press("n\n")
    assert (asking.end(), data.exists()) == (0, True)
