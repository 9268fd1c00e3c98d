"""Fixtures for the command line: a project, a server of it, and ways to run commands."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runstead.cli.main import app

from .processes import Background, Done, Terminal, command_of, environ_of

GRAPHS = '''
from typing import Annotated, TypedDict

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt

from runstead.graphs.scripted import ScriptedChatModel, turns

PACE = 0.03


class Chat(TypedDict):
    messages: Annotated[list, add_messages]


def talker():
    """Says a hundred words in three seconds."""
    words = " ".join(f"word{number}" for number in range(100))
    return create_agent(ScriptedChatModel(script=turns(AIMessage(words)), delay=PACE), [])


def greeter():
    return create_agent(ScriptedChatModel(script=turns(AIMessage("hello to you"))), [])


def _ask(state):
    return {"messages": [AIMessage(f"the answer was {interrupt({'question': 'really?'})!r}")]}


asker = StateGraph(Chat).add_node("ask", _ask).add_edge(START, "ask").compile()


def _fail(state):
    raise ValueError("nothing works")


broken = StateGraph(Chat).add_node("fail", _fail).add_edge(START, "fail").compile()
'''


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def runstead(home: Path) -> Callable[..., Done]:
    """Run a command to its end."""

    def run(*arguments: str, cwd: Path = home, **environ: str) -> Done:
        done = subprocess.run(
            command_of(*arguments),
            cwd=cwd,
            env=environ_of(home, environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def invoke(home: Path) -> Callable[..., Done]:
    """The same in this process and much faster: for commands that only call a server."""

    def run(*arguments: str, **environ: str) -> Done:
        clean: dict[str, str | None] = {name: None for name in os.environ if name.startswith("RUNSTEAD_")}
        result = CliRunner().invoke(app, list(arguments), env={**clean, "HOME": str(home), **environ})
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def background(home: Path) -> Iterator[Callable[..., Background]]:
    """Start commands that end with the test at the latest."""
    started: list[Background] = []

    def start(*arguments: str, cwd: Path = home, **environ: str) -> Background:
        started.append(Background(*arguments, cwd=cwd, home=home, **environ))
        return started[-1]

    yield start
    for command in started:
        command.process.kill()
        command.process.wait()
        if command.process.stdout:
            command.process.stdout.close()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a few graphs and a langgraph.json."""
    place = tmp_path_factory.mktemp("project")
    (place / "graphs.py").write_text(GRAPHS)
    graphs = {name: f"./graphs.py:{name}" for name in ("talker", "greeter", "asker", "broken")}
    (place / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    return place


@pytest.fixture(scope="session")
def server(project: Path, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server that serves the project."""
    data = tmp_path_factory.mktemp("server") / "data"
    serving = Background("serve", "--port", "0", "--data-dir", str(data), "--json", cwd=project, home=home)
    yield str(serving.wait_for("started")["url"])
    assert serving.end() == 0


@pytest.fixture
def terminal(home: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, cwd: Path = home) -> Terminal:
        opened.append(Terminal(command_of(*arguments), cwd=cwd, home=home))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()
