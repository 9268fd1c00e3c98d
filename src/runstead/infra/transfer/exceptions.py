"""Errors of export and import; each text contains the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class TransferError(Exception):
    """Base class of the errors of export and import."""


class FileUnusable(TransferError):
    """The file is not one of ours, incomplete, or of another version."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(f"{path} {problem}")


class RowsDiffer(TransferError):
    """The database has rows of the file with other values. They were not overwritten."""

    def __init__(self, place: str, rows: Sequence[str]) -> None:
        self.rows = tuple(rows)
        super().__init__(
            f"{place} has other values than the file in {', '.join(rows)}; nothing of that was "
            "overwritten. Import into an empty place: another --data-dir, or another schema (RUNSTEAD_DATABASE_SCHEMA) "
            "before a server has started on it"
        )


class ContentMismatch(TransferError):
    """The content of the database differs from the file."""

    def __init__(self, place: str, differences: Sequence[str]) -> None:
        self.differences = tuple(differences)
        super().__init__(f"{place} is not as the file says: {'; '.join(differences)}")


class StillUsed(TransferError):
    """Another process uses the database, which would change while it is read or compared."""


class UnsafeValues(TransferError):
    """The file has values that name functions, or classes that do more than hold data."""

    def __init__(self, path: Path, count: int, names: Sequence[str]) -> None:
        self.count, self.names = count, tuple(names)
        super().__init__(
            f"{path} has {count} values in checkpoints that name {', '.join(names)}: no server stores such values "
            "of data, so the file may have been changed to execute code; nothing was written. Export again where it "
            "came from. Readers here do not call such names: import with --accept-blocked to read the values as plain "
            "data, or list the classes in checkpointer.serde.allowed_msgpack_modules of langgraph.json, and pass it by "
            "--config"
        )


class UnstorableValues(TransferError):
    """The file has values that the target cannot store."""
