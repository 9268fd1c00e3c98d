"""The manifest of an export file: written last, read first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Final

from .reader import TableSum
from .table_groups import moved_tables

FORMAT: Final = "runstead-export"
VERSION: Final = 1


class ManifestUnreadable(ValueError):
    """The manifest is invalid or of another version; the text contains the remedy."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the zip: complete threads (assistants, items, ...) of one part, imported in one transaction."""

    name: str
    part: str
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of the manifest.

    ``created_at``: ISO 8601. ``nul``: the first rows whose text PostgreSQL cannot store.
    """

    created_at: str
    runstead: str
    source: str
    revision: str
    tables: Mapping[str, TableSum]
    columns: Mapping[str, Sequence[str]]
    counters: Mapping[str, int]
    members: Sequence[Member]
    nul: Sequence[str]

    @property
    def identity(self) -> str:
        """Return a hash that is the same for files with the same content."""
        content: list[Any] = [
            self.revision,
            {name: asdict(found) for name, found in self.tables.items()},
            dict(self.counters),
        ]
        content.append([asdict(member) for member in self.members])
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def rows(self) -> int:
        return sum(found.rows for found in self.tables.values())

    def to_json(self) -> bytes:
        said = {
            "format": FORMAT,
            "version": VERSION,
            "created_at": self.created_at,
            "runstead": self.runstead,
            "source": self.source,
            "revision": self.revision,
            "tables": {
                name: {"columns": list(self.columns[name]), **asdict(found)} for name, found in self.tables.items()
            },
            "counters": dict(self.counters),
            "members": [asdict(member) for member in self.members],
            "nul": list(self.nul),
        }
        return json.dumps(said, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Parse a manifest. Raises ManifestUnreadable."""
        try:
            said = json.loads(text)
            if said["format"] != FORMAT:
                raise ManifestUnreadable("is not an export of Runstead's")
            if said["version"] != VERSION:
                raise ManifestUnreadable(
                    f"is of version {said['version']} of the format, and this Runstead reads version {VERSION}; "
                    f"import it with the one that wrote it ({said.get('runstead')})"
                )
            return cls(
                created_at=str(said["created_at"]),
                runstead=str(said["runstead"]),
                source=str(said["source"]),
                revision=str(said["revision"]),
                tables={name: TableSum(int(of["rows"]), str(of["sha256"])) for name, of in said["tables"].items()},
                columns={name: tuple(of["columns"]) for name, of in said["tables"].items()},
                counters={name: _counter(number) for name, number in said["counters"].items()},
                members=[Member(str(one["name"]), str(one["part"]), int(one["rows"])) for one in said["members"]],
                nul=[str(name) for name in said["nul"]],
            )
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            if isinstance(error, ManifestUnreadable):
                raise
            raise ManifestUnreadable(f"has a manifest that cannot be read ({error!r})") from error


def _counter(number: Any) -> int:
    if not 0 <= int(number) < 2**63:
        raise ValueError(f"{number} is not a valid counter value")
    return int(number)


def columns_now() -> dict[str, Sequence[str]]:
    """Return the tables of this version and their columns."""
    return {table.name: tuple(column.name for column in table.c) for table in moved_tables()}
