"""Damaged or hand-made files: refused with a sentence, for any damage."""

from __future__ import annotations

import gc
import json
import logging
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from runstead.infra.checkpoints.blocked_names import BlockedNames
from runstead.infra.transfer.archive import Archive
from runstead.infra.transfer.backup import back_up, restore
from runstead.infra.transfer.exceptions import FileUnusable
from runstead.infra.transfer.export import export
from runstead.infra.transfer.import_ import import_all
from tests.servers.sqlite import current_data

from .conftest import NewPlace
from .samples import threads_of

WRONG_MANIFESTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "nested too deeply": lambda said: None,
    "a list": lambda said: [said],
    "tables that are none": lambda said: {**said, "tables": 7},
    "counters that are none": lambda said: {**said, "counters": []},
    "a counter without an end": lambda said: {**said, "counters": dict.fromkeys(said["counters"], 1e999)},
    "a counter that is too large": lambda said: {**said, "counters": dict.fromkeys(said["counters"], 10**30)},
    "members that are numbers": lambda said: {**said, "members": [1]},
    "a member whose name is a list": lambda said: {**said, "members": [{"name": [[]], "part": "threads", "rows": 1}]},
}
WRONG_VALUES: tuple[tuple[str, int, Any], ...] = (
    ("threads", 1, ["a list"]),
    ("threads", 6, "neither true nor false"),
    ("threads", 6, [1]),
    ("threads", 9, "no time"),
    ("runs", 1, 2**63),
    ("runs", 1, "no number"),
    ("threads", 1, 5),
    ("checkpoints", 2, None),
    ("writes", 6, True),
    ("checkpoints", 6, {"an": "object"}),
    ("checkpoints", 6, "no base64!"),
    ("checkpoints", 5, ["msgpack"]),
)


@pytest.fixture
async def exported(tmp_path: Path, new_data_dir: NewPlace) -> Path:
    async with new_data_dir() as source:
        await source.database.write(threads_of(2, steps=1))
        await export(source, tmp_path / "export.zip")
    return tmp_path / "export.zip"


def _opened(file: Path, change: Callable[[str, bytes], bytes]) -> AbstractContextManager[Archive]:
    return Archive.opened(changed(file, change))


def changed(file: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """The file with changed members."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, change(name, data))
    return file


@pytest.mark.parametrize("how", WRONG_MANIFESTS)
async def test_import_with_a_wrong_manifest_is_refused(how: str, exported: Path, new_data_dir: NewPlace) -> None:
    def change(name: str, data: bytes) -> bytes:
        if name != "manifest.json":
            return data
        wrong = WRONG_MANIFESTS[how](json.loads(data))
        return b"[" * 100_000 if wrong is None else json.dumps(wrong).encode()

    with pytest.raises(FileUnusable, match=r"manifest that cannot be read|has lost"), _opened(exported, change):
        raise AssertionError("it was opened")


@pytest.mark.parametrize(("table", "place", "value"), WRONG_VALUES)
async def test_import_of_a_row_with_a_value_that_no_column_holds_is_refused(
    table: str, place: int, value: Any, exported: Path, new_data_dir: NewPlace
) -> None:
    def rows(data: bytes) -> Iterator[str]:
        for row in map(json.loads, data.splitlines()):
            if row[0] == table:
                row[place] = value
            yield json.dumps(row) + "\n"

    def change(name: str, data: bytes) -> bytes:
        return "".join(rows(data)).encode() if "threads" in name else data

    async with new_data_dir() as target:
        with Archive.opened(changed(exported, change)) as archive, pytest.raises(FileUnusable, match="is damaged in"):
            await import_all(archive, target, blocked=BlockedNames())


async def test_comparison_that_ends_early_logs_nothing(
    exported: Path, new_data_dir: NewPlace, caplog: pytest.LogCaptureFixture
) -> None:
    """Its readers are closed before the database, not when their exception is garbage collected."""

    def change(name: str, data: bytes) -> bytes:
        return data if name == "manifest.json" else data.replace(b'["runs"', b'["walks"')

    async def imported() -> None:
        async with new_data_dir() as target:
            await target.database.write(threads_of(3, steps=1))
            with Archive.opened(changed(exported, change)) as archive:
                await import_all(archive, target)

    with caplog.at_level(logging.WARNING):
        with pytest.raises(FileUnusable):
            await imported()
        gc.collect()
    assert caplog.text == ""


def flipped(file: Path, name: str) -> Path:
    """The file with a changed byte in a compressed member."""
    with zipfile.ZipFile(file) as archive:
        start = archive.getinfo(name).header_offset + 30 + len(name)
    data = bytearray(file.read_bytes())
    for place in range(start + 40, start + 200):
        data[place] ^= 0xFF
    file.write_bytes(data)
    return file


def test_restore_of_a_damaged_backup_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    file, target = tmp_path / "backup.zip", tmp_path / "target"
    back_up(current_data(tmp_path / "data"), file)
    target.mkdir()
    with pytest.raises(FileUnusable, match="is not a whole backup of Runstead"):
        restore(flipped(file, "runstead.db"), target)
    assert list(target.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [{"sizes": 7}, {"sizes": {"runstead.db": 1}, "sha256": [1]}, {"sizes": [[]]}, {"sizes": "x"}]
)
def test_restore_with_a_wrong_manifest_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    file, target = tmp_path / "backup.zip", tmp_path / "target"
    back_up(current_data(tmp_path / "data"), file)
    target.mkdir()

    def change(name: str, data: bytes) -> bytes:
        return json.dumps({**json.loads(data), **wrong}).encode() if name == "manifest.json" else data

    with pytest.raises(FileUnusable):
        restore(changed(file, change), target)
    assert list(target.iterdir()) == []
