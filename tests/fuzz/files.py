"""Targets that read files: langgraph.json, exports, backups."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hypothesis import strategies as st

from runstead.graphs.configuration import ConfigurationError, read_configuration
from runstead.infra.checkpoints.blocked_names import BlockedNames
from runstead.infra.transfer.archive import Archive
from runstead.infra.transfer.backup import back_up, restore
from runstead.infra.transfer.endpoints import data_dir_place
from runstead.infra.transfer.exceptions import TransferError
from runstead.infra.transfer.export import export
from runstead.infra.transfer.import_ import import_all
from runstead.resources.storage_errors import StorageError
from tests.servers.sqlite import current_data
from tests.transfer.samples import threads_of

from .target import Target
from .values import Json, documents, encoded, mutated, mutated_bytes
from .world import Fault

_REFUSED: Final = (TransferError, StorageError, OSError)
"""Errors that the commands show as one sentence."""
_CONFIGURATION: Final[Json] = {
    "dependencies": [".", "./src"],
    "graphs": {"a": "./graphs.py:echo", "b": {"path": "./graphs.py:asks", "description": "d"}},
    "env": {"A": "1"},
    "auth": {"path": "./a.py:auth", "openapi": {"securitySchemes": {"k": {"type": "apiKey"}}, "security": [{"k": []}]}},
    "store": {"index": {"dims": 8, "embed": "runstead:hashed", "fields": ["$"]}, "ttl": {"default_ttl": 5}},
    "checkpointer": {"ttl": {"strategy": "delete", "default_ttl": 5}, "serde": {"allowed_json_modules": [["a", "B"]]}},
    "http": {
        "app": "./a.py:app",
        "cors": {"allow_origins": ["*"], "allow_origin_regex": "a.*", "max_age": 1},
        "configurable_headers": {"include": ["x-*"], "exclude": ["x-a"]},
        "mount_prefix": "/agents",
        "disable_mcp": True,
    },
    "webhooks": {"env_prefix": "A_", "url": {"require_https": True, "allowed_domains": ["*.a.b"]}},
    "encryption": {"path": "./a.py:e"},
    "python_version": "3.11",
    "ui": {"a": "./a.tsx"},
}


@contextmanager
def file_targets(folder: Path) -> Iterator[list[Target]]:
    """Targets over files in ``folder``, which they change."""
    folder.mkdir()
    with asyncio.Runner() as runner:
        exported, backup = runner.run(_exported(folder)), _backed_up(folder)
        numbers = iter(range(10**9))

        def attempt_import(data: bytes) -> None:
            file = folder / "file.zip"
            file.write_bytes(data)
            target = folder / f"target-{next(numbers)}"
            try:
                runner.run(_imported(file, target))
            except _REFUSED as error:
                _check_sentence(error)
            finally:
                shutil.rmtree(target, ignore_errors=True)

        def attempt_restore(data: bytes) -> None:
            file = folder / "file.zip"
            file.write_bytes(data)
            target = folder / f"target-{next(numbers)}"
            target.mkdir()
            try:
                restore(file, target)
            except _REFUSED as error:
                _check_sentence(error)
                if left := list(target.iterdir()):
                    raise Fault("left of a restore that was refused", repr(left)) from error
            finally:
                shutil.rmtree(target, ignore_errors=True)
            if (folder / "evil").exists() or (folder.parent / "evil").exists():
                raise Fault("a file outside of the data directory", repr(data))

        yield [
            Target("langgraph.json", documents(mutated(st.just(_CONFIGURATION))), _attempt_configuration(folder)),
            Target("import files", _zips(exported), attempt_import),
            Target("backup files", _zips(backup), attempt_restore),
        ]


def _attempt_configuration(folder: Path) -> Callable[[bytes], None]:
    project = folder / "project"
    (project / "src").mkdir(parents=True)
    for name in ("graphs.py", "a.py"):
        (project / name).write_text("")

    def attempt(text: bytes) -> None:
        file = project / "langgraph.json"
        file.write_bytes(text)
        try:
            found = read_configuration(file)
        except ConfigurationError as error:
            _check_sentence(error)
        else:
            # The checks of the server and `runstead doctor` before anything is imported.
            repr((found, found.search_paths))

    return attempt


def _check_sentence(error: Exception) -> None:
    if not str(error):
        raise Fault("a refusal without a sentence", repr(error)) from error


# --- exports and backups --------------------------------------------------------------------------------------------
async def _exported(folder: Path) -> bytes:
    async with data_dir_place(current_data(folder / "source"), making=True) as place:
        await place.database.write(threads_of(4, size=20, steps=1))
        await export(place, folder / "export.zip", member_bytes=1_000)
    return (folder / "export.zip").read_bytes()


def _backed_up(folder: Path) -> bytes:
    back_up(folder / "source", folder / "backup.zip")
    return (folder / "backup.zip").read_bytes()


async def _imported(file: Path, target: Path) -> None:
    with Archive.opened(file) as archive:
        async with data_dir_place(current_data(target), making=True) as place:
            await import_all(archive, place, blocked=BlockedNames())


def _zips(whole: bytes) -> st.SearchStrategy[bytes]:
    """A zip file with wrong bytes, or with a wrong manifest, member or name."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return st.one_of(mutated_bytes(st.just(whole)), _repacked(members), _repacked(members))


@st.composite
def _repacked(draw: st.DrawFn, members: Mapping[str, bytes]) -> bytes:
    changed = dict(members)
    name = draw(st.sampled_from(sorted(members)))
    if name == "manifest.json":
        changed[name] = draw(documents(mutated(st.just(json.loads(members[name])))))
    elif name.endswith(".jsonl"):
        lines = members[name].splitlines()
        place = draw(st.integers(0, len(lines) - 1))
        row = mutated(st.just(json.loads(lines[place])))
        lines[place] = draw(st.one_of(row.map(encoded), mutated_bytes(st.just(lines[place]))))
        changed[name] = b"\n".join(lines) + b"\n"
    else:
        changed[name] = draw(mutated_bytes(st.just(members[name])))
    match draw(st.integers(0, 9)):
        case 0:
            del changed[draw(st.sampled_from(sorted(changed)))]
        case 1:
            changed[draw(st.sampled_from(("../../evil", "/evil", "events/../../evil", "x\x00y", "x/")))] = b"evil"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for member, data in changed.items():
            archive.writestr(member, data)
    return packed.getvalue()
