"""``runstead migrate``, and other commands that use a database without a server, on either profile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from typer.testing import CliRunner

from runstead.cli.main import app
from runstead.infra.storage.migrations import HEAD
from tests.servers.postgres import a_schema

Cli: TypeAlias = Callable[..., list[dict[str, Any]]]


@pytest.fixture(params=["embedded", "scaled"])
def cli(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cli]:
    """Return a function that runs a command on a new, missing database and returns its output line by line."""
    env: dict[str, str | None] = {"RUNSTEAD_DATA_DIR": str(tmp_path / "data")}
    schema = a_schema()
    if request.param == "scaled":
        url = request.getfixturevalue("postgres_url")
        # Commands that only need the database do not connect to Redis.
        env |= {"RUNSTEAD_DATABASE_URL": url, "RUNSTEAD_REDIS_URL": "redis://127.0.0.1:1"}
        env |= {"RUNSTEAD_DATABASE_SCHEMA": schema}

    def run(*arguments: str, exit_code: int = 0) -> list[dict[str, Any]]:
        done = CliRunner().invoke(app, [*arguments, "--json"], env=env)
        assert done.exit_code == exit_code, done.output
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    yield run
    if request.param == "scaled":
        with psycopg.connect(url) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())


def test_migrate_creates_checks_and_keeps_a_schema(cli: Cli, tmp_path: Path) -> None:
    (seen,) = cli("migrate", "--check", exit_code=1)
    assert (seen["event"], seen["before"], seen["is_current"]) == ("schema", None, False)
    assert not (tmp_path / "data").exists()
    (made,) = cli("migrate")
    assert (made["before"], made["after"], made["is_current"]) == (None, HEAD, True)
    (again,) = cli("migrate")
    assert (again["before"], again["after"]) == (HEAD, HEAD)
    (seen,) = cli("migrate", "--check")
    assert seen["is_current"]


def test_keys_are_made_and_listed_in_the_database_of_the_settings(cli: Cli, tmp_path: Path) -> None:
    (made,) = cli("keys", "create", "--user", "alice")
    assert [key["key_id"] for key in cli("keys", "ls")] == [made["key_id"]]
    cli("keys", "revoke", made["key_id"])
    assert cli("keys", "ls")[0]["revoked_at"] is not None


def test_unreachable_database_is_reported_without_password(tmp_path: Path) -> None:
    env = {
        "RUNSTEAD_DATABASE_URL": "postgresql://me:secret@127.0.0.1:1/app",
        "RUNSTEAD_REDIS_URL": "redis://127.0.0.1:1",
        "RUNSTEAD_DATABASE_PATIENCE_SECONDS": "0.1",
    }
    done = CliRunner().invoke(app, ["migrate", "--check"], env=env)
    assert done.exit_code == 1
    assert "127.0.0.1:1 cannot be reached" in done.output
    assert "secret" not in done.output


async def test_server_without_migration_on_start_names_the_command(postgres_url: str, tmp_path: Path) -> None:
    schema = a_schema()
    env = {
        "RUNSTEAD_DATABASE_URL": postgres_url,
        "RUNSTEAD_REDIS_URL": "redis://127.0.0.1:1",
        "RUNSTEAD_DATABASE_SCHEMA": schema,
        "RUNSTEAD_DATABASE_MIGRATE_ON_START": "false",
    }
    (tmp_path / "g.py").write_text(
        "from langgraph.func import entrypoint\n\n@entrypoint()\ndef graph(x: int) -> int:\n    return x\n"
    )
    target = f"{tmp_path / 'g.py'}:graph"
    done = await asyncio.to_thread(CliRunner().invoke, app, ["serve", target, "--port", "0"], env=env)
    assert done.exit_code == 1
    assert "run `runstead migrate` first" in done.output


def test_keys_do_not_migrate_a_manually_migrated_schema(postgres_url: str) -> None:
    schema = a_schema()
    env = {
        "RUNSTEAD_DATABASE_URL": postgres_url,
        "RUNSTEAD_REDIS_URL": "redis://127.0.0.1:1",
        "RUNSTEAD_DATABASE_SCHEMA": schema,
        "RUNSTEAD_DATABASE_MIGRATE_ON_START": "false",
    }
    try:
        for command in (("create", "--user", "alice"), ("ls",), ("revoke", "key_1")):
            done = CliRunner().invoke(app, ["keys", *command], env=env)
            assert done.exit_code == 1
            assert "run `runstead migrate` first" in done.output
        assert CliRunner().invoke(app, ["migrate", "--check"], env=env).exit_code == 1, "nothing was made"
        assert CliRunner().invoke(app, ["migrate"], env=env).exit_code == 0
        assert CliRunner().invoke(app, ["keys", "create", "--user", "alice"], env=env).exit_code == 0
    finally:
        with psycopg.connect(postgres_url) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())
