"""Files of a server are private to their owner under any umask, and are not written through links."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runstead.auth.none import LOCAL_ACTOR
from runstead.bootstrap.application import Application
from runstead.infra.transfer.archive import ArchiveWriter
from runstead.private_files import append_private, open_new, write_private
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import AssistantId, RunScope, RunSpec

GRAPHS = Path(__file__).parent.parent / "graphs" / "recorded.json"


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): oct(path.lstat().st_mode)
        for path in folder.rglob("*")
        if path.lstat().st_mode & 0o077
    }


@pytest.mark.parametrize("events", ["sql", "jsonl"])
async def test_data_directory_is_private_to_its_owner(events: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o777)
    application = Application.from_file(GRAPHS, data_dir=data, run_events=events, stream_memory_bytes=1)
    async with application.running() as services:
        with acting(LOCAL_ACTOR):
            spec = RunSpec(
                assistant_id=AssistantId("agent"),
                graph_id="agent",
                input={"messages": []},
                scope=RunScope(if_not_exists="create"),
            )
            await services.runs.create_and_wait(spec)
        assert (data / "runstead.db-wal").exists()
        assert open_to_others(tmp_path) == {}


def test_export_is_not_written_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    export = tmp_path / "export.zip"
    export.with_name("export.zip.part").symlink_to(precious)
    export.symlink_to(precious)
    with ArchiveWriter.writing(export):
        pass
    assert precious.read_text() == "precious"
    assert not export.is_symlink()
    assert export.stat().st_mode & 0o777 == 0o600


def test_files_are_private_and_links_are_not_followed(tmp_path: Path) -> None:
    precious, link = tmp_path / "precious", tmp_path / "link"
    precious.write_text("precious")
    link.symlink_to(precious)
    with pytest.raises(OSError, match="link"):
        append_private(link)
    os.close(open_new(link))
    write_private(tmp_path / "written", b"x")
    os.close(append_private(tmp_path / "log"))
    assert precious.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_mode & 0o077} == {"precious"}
