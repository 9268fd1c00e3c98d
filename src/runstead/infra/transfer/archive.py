"""The export file: a zip of JSON lines, some MB of complete threads per member, with a manifest as the last member.

It is written under another name and renamed when complete, so that a partial file is never mistaken for an export.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final, Self

from runstead.private_files import FILE_MODE, open_new

from .exceptions import FileUnusable
from .manifest import Manifest, ManifestUnreadable, Member
from .row_codec import CorruptLine

MANIFEST: Final = "manifest.json"
MEMBER_BYTES: Final = 8 * 1024 * 1024
"""Size in bytes, before compression, from which a member takes no further thread. One thread may be larger."""
_LEVEL: Final = 3
_MANIFEST_BYTES: Final = 64 * 1024 * 1024
"""Maximum size of a manifest, which is read at once. A member adds some hundred bytes to it and has 8 MB of rows."""


ZIP_DAMAGE: Final = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError)
"""Errors that reading a damaged zip file raises; the last two if it appears to be compressed or encrypted
differently.
"""


class ArchiveWriter:
    """An export that is being written."""

    def __init__(self, archive: zipfile.ZipFile, member_bytes: int) -> None:
        self._zip = archive
        self._member_bytes = member_bytes
        self._member: IO[bytes] | None = None
        self._bytes = self._rows = 0
        self._part = self._name = ""
        self.members: list[Member] = []

    @classmethod
    @contextmanager
    def writing(cls, path: Path, *, member_bytes: int = MEMBER_BYTES) -> Iterator[Self]:
        """Write an export; ``path`` is created or replaced at the end of the block, unless that fails.

        Raises FileUnusable.
        """
        unfinished = path.with_name(f"{path.name}.part")
        try:
            descriptor = open_new(unfinished)
        except OSError as error:
            raise FileUnusable(unfinished, f"cannot be written: {error.strerror}") from error
        try:
            with os.fdopen(descriptor, "w+b") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
                    writer = cls(archive, member_bytes)
                    try:
                        yield writer
                    finally:
                        # Also after a failure: a zip with an open member cannot be closed.
                        writer.close_members()
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink()
            raise

    def add(self, part: str, line: bytes, *, begins: bool) -> None:
        """Add a row. ``begins``: this line is the first of rows that must not be split over two members."""
        if self._member is None or part != self._part or (begins and self._bytes >= self._member_bytes):
            self._end_member()
            self._part, self._name = part, f"{len(self.members) + 1:06}-{part}.jsonl"
            # 64-bit sizes: a thread may be larger than 4 GB.
            self._member = self._zip.open(self._info(self._name), "w", force_zip64=True)
        self._member.write(line)
        self._bytes += len(line)
        self._rows += 1

    def close_members(self) -> None:
        """Close the last member; no more lines follow."""
        self._end_member()

    def finish(self, manifest: Manifest) -> None:
        with self._zip.open(self._info(MANIFEST), "w") as member:
            member.write(manifest.to_json())

    def _end_member(self) -> None:
        if self._member is not None:
            self._member.close()
            self.members.append(Member(self._name, self._part, self._rows))
            self._member, self._bytes, self._rows = None, 0, 0

    @staticmethod
    def _info(name: str) -> zipfile.ZipInfo:
        # Without the time, so that the same rows give the same file.
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = FILE_MODE << 16
        return info


class Archive:
    """A complete export. Its members can be read repeatedly, and in any order."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest
        self._zip = archive

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Self]:
        """Open an export. Raises FileUnusable if it is incomplete, no export, or of an unsupported version."""
        with ExitStack() as stack:
            try:
                archive = stack.enter_context(zipfile.ZipFile(path))
                manifest = Manifest.from_json(_read_manifest(archive))
                missing = {member.name for member in manifest.members} - set(archive.namelist())
            except OSError as error:
                raise FileUnusable(path, f"cannot be read: {error.strerror or error}") from error
            except ManifestUnreadable as error:
                raise FileUnusable(path, str(error)) from error
            except (*ZIP_DAMAGE, KeyError, ValueError) as error:
                raise FileUnusable(path, "is not an export, or not a whole one; export again") from error
            if missing:
                raise FileUnusable(path, f"has lost {', '.join(sorted(missing))}; export again")
            yield cls(path, archive, manifest)

    def lines(self, member: Member) -> Iterator[bytes]:
        """Yield the lines of a member. Raises FileUnusable if it is damaged, at its end at the latest."""
        rows = 0
        with self.reporting_corruption(member.name):
            for line in self._lines(member.name):
                rows += 1
                yield line
            if rows != member.rows:
                raise CorruptLine(f"it has {rows} rows and should have {member.rows}")

    def _lines(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a member. Raises CorruptLine if it cannot be unpacked."""
        try:
            with self._zip.open(name) as file:
                yield from file
        except ZIP_DAMAGE as error:
            raise CorruptLine(str(error) or type(error).__name__) from error

    @contextmanager
    def reporting_corruption(self, name: str) -> Iterator[None]:
        """Raise FileUnusable for errors that show that a member is damaged."""
        try:
            yield
        except CorruptLine as error:
            raise FileUnusable(self.path, f"is damaged in {name} ({error}); export again") from error


def _read_manifest(archive: zipfile.ZipFile) -> bytes:
    """Return the manifest.

    Raises ManifestUnreadable if it is too large, whatever size the file claims; KeyError if missing.
    """
    with archive.open(MANIFEST) as file:
        text = file.read(_MANIFEST_BYTES + 1)
    if len(text) > _MANIFEST_BYTES:
        raise ManifestUnreadable(f"has a manifest of more than {_MANIFEST_BYTES} bytes, which no export has")
    return text


def table_of(line: bytes) -> str:
    """Return the name of the table whose row a line is. Raises CorruptLine."""
    if not line.startswith(b'["') or (end := line.find(b'"', 2)) < 0:
        raise CorruptLine(f"this is not a row: {line[:200]!r}")
    return line[2:end].decode("ascii", "replace")
