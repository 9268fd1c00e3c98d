"""Commands and settings named by pages exist, with the documented options and arguments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from runstead.cli.main import app
from runstead.settings import ENV_PREFIX, Settings
from tests.docs.pages import PAGES, ROOT, blocks, spans

CHANGELOG: Final = ROOT / "CHANGELOG.md"
VARIABLES: Final = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
# Read by tests and benchmarks, not by a server.
OTHER_VARIABLES: Final = {
    "RUNSTEAD_SIM_FIRST", "RUNSTEAD_SIM_SCHEDULES", "RUNSTEAD_SIM_SEED",
    "RUNSTEAD_TEST_DATABASE_URL", "RUNSTEAD_TEST_REDIS_URL",
}  # fmt: skip
# Names of PostgreSQL, Redis, LangGraph's configuration or the shell that these pages use.
NOT_OURS: Final = {
    "max_connections", "synchronous_commit", "full_page_writes", "target_session_attrs", "used_memory", "evicted_keys",
    "check_db", "ssl_ca_certs", "stop_grace_period", "behind_others", "oldest_seconds",
}  # fmt: skip
COMMAND: Final[Any] = typer.main.get_command(app)


def of_shell(code: str) -> Iterator[str]:
    """The calls of ``runstead`` in a block."""
    for line in code.replace("\\\n", " ").splitlines():
        words = re.sub(r"^(?:\$ )?(?:export )?(?:[A-Z_]+=\S+ +)*", "", line.strip())
        if words.startswith("runstead "):
            yield words


def in_blocks() -> Iterator[Any]:
    for block in blocks("sh", "console", "bash", pages=[*PAGES, CHANGELOG]):
        for number, line in enumerate(of_shell(block.code), start=1):
            yield pytest.param(line, id=f"{block.name}.{number}")


def in_spans() -> Iterator[Any]:
    for page in [*PAGES, CHANGELOG]:
        for number, span in enumerate(spans(page), start=1):
            # Alternatives may be given together: `runstead crons ls | pause`.
            first, *others = span.split(" | ")
            if first.startswith("runstead "):
                group = first.rpartition(" ")[0]
                for choice in (first, *(f"{group} {other}" for other in others)):
                    yield pytest.param(choice, id=f"{page.relative_to(ROOT)}-{number}-{choice}")


def found(words: list[str]) -> tuple[TyperCommand, list[str]]:
    """The command that the words name, and its arguments."""
    command, rest = COMMAND, words
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


@pytest.mark.parametrize("line", list(in_blocks()))
def test_call_in_a_code_block_is_parsed(line: str) -> None:
    command, rest = found(shlex.split(line, comments=True)[1:])
    command.make_context(command.name, rest)
    for number, word in enumerate(rest):
        if word == "--set":
            assert rest[number + 1].partition("=")[0] in Settings.model_fields


@pytest.mark.parametrize("span", list(in_spans()))
def test_command_in_a_sentence_exists(span: str) -> None:
    command, rest = found(span.split()[1:])
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in rest if word.startswith("--")} <= options | {"--help"}


@pytest.mark.parametrize("page", [*PAGES, CHANGELOG], ids=lambda page: str(page.relative_to(ROOT)))
def test_variables_that_a_page_names_are_settings(page: Path) -> None:
    named = set(re.findall(r"RUNSTEAD_[A-Z][A-Z_]*[A-Z]", page.read_text()))
    assert named <= VARIABLES | OTHER_VARIABLES


@pytest.mark.parametrize("name", ["scale.md", "postgres.md"])
def test_settings_that_a_page_for_operators_names_exist(name: str) -> None:
    named = {word for span in spans(ROOT / "docs" / name) for word in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", span)}
    named |= {
        word
        for block in blocks("toml", pages=[ROOT / "docs" / name])
        for word in re.findall(r"^(\w+) =", block.code, re.M)
    }
    assert named - NOT_OURS <= set(Settings.model_fields)


def test_defaults_named_by_a_page_are_correct() -> None:
    """A value in parentheses after a setting on a page is its default."""
    units = {"": 1, " MiB": 1024 * 1024}
    for page in PAGES:
        for name, value, unit in re.findall(r"`(\w+)` \((\d+)( MiB)?\)", page.read_text()):
            if name in Settings.model_fields:
                assert int(value) * units[unit] == Settings.model_fields[name].default, f"{page.name}: {name}"
