"""The data directory is used by one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runstead.infra.engines.data_dir import LOCK_FILE, own_data_dir
from runstead.resources.storage_errors import DataDirInUse, StorageUnusable

OWNER = """
import sys, time
from pathlib import Path
from runstead.infra.engines.data_dir import own_data_dir
with own_data_dir(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


def test_directory_is_created_and_locked(tmp_path: Path) -> None:
    with own_data_dir(tmp_path / "a" / "b") as path:
        assert path.is_dir()
    with own_data_dir(tmp_path / "a" / "b"):
        pass


def test_second_owner_gets_the_pid_and_a_remedy(tmp_path: Path) -> None:
    with own_data_dir(tmp_path), pytest.raises(DataDirInUse, match=rf"pid {os.getpid()}.*--data-dir"):
        own_data_dir(tmp_path).__enter__()


def test_other_process_gets_the_pid_and_killed_owner_leaves_no_lock(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"mine\n"
        with pytest.raises(DataDirInUse) as taken:
            own_data_dir(tmp_path).__enter__()
        assert taken.value.pid == owner.pid
    finally:
        owner.kill()
        owner.communicate()
    with own_data_dir(tmp_path):
        pass


def test_deleted_lock_file_does_not_admit_a_second_owner(tmp_path: Path) -> None:
    with own_data_dir(tmp_path):
        (tmp_path / LOCK_FILE).unlink()
        with pytest.raises(DataDirInUse, match=rf"pid {os.getpid()}"):
            own_data_dir(tmp_path).__enter__()
    with own_data_dir(tmp_path):
        pass


def test_readable_files_of_an_earlier_version_become_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for name in ("runstead.db", "runstead.db-wal", "checkpoints.db"):
        (tmp_path / name).touch(mode=0o644)
    with own_data_dir(tmp_path):
        assert [file.name for file in (tmp_path, *tmp_path.iterdir()) if file.stat().st_mode & 0o077] == []


def test_path_that_is_a_file_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageUnusable):
        own_data_dir(tmp_path / "file").__enter__()
