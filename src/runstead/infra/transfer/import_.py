"""Import a file into a database: each member in one transaction, all or nothing.

An interrupted import continues with the first member that is not recorded as written. Nothing is overwritten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import StatementError

from runstead.infra.checkpoints.blocked_names import BlockedNames
from runstead.infra.storage.migrations import HEAD

from . import progress
from .archive import Archive
from .endpoints import Place
from .exceptions import ContentMismatch, FileUnusable, RowsDiffer, UnstorableValues
from .manifest import Manifest, Member, columns_now
from .reader import is_empty
from .sequences import advance_sequences
from .unsafe_values import check_values
from .verify import Comparison, compare
from .writer import write_member


@dataclass(frozen=True, slots=True)
class Imported:
    """The result. ``written``: rows that were new. ``more``: rows in the database that are not in the file.

    ``went_on``: this import continued an earlier, interrupted one of the same file.
    """

    written: int
    more: int
    resumed: bool


async def import_all(
    archive: Archive,
    place: Place,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    blocked: BlockedNames | None = None,
) -> Imported:
    """Write the rows that are missing, and compare everything at the end.

    ``on_progress`` gets the number of members written and their total. ``blocked`` finds names that checkpoint
    values must not contain; None skips this check. Raises UnsafeValues, FileUnusable, UnstorableValues, StillUsed and
    RowsDiffer before anything is written, as far as they can be detected by then; ContentMismatch if the written rows
    do not match the file.
    """
    manifest, database = archive.manifest, place.database
    check_fit(archive, place)
    await database.read(place.refuse_while_used)
    if blocked is not None:
        await asyncio.to_thread(check_values, archive, blocked)
    went_on = await database.read(lambda connection: progress.is_begun(connection, manifest, place.name))
    if not went_on and not await database.read(is_empty):
        found = await database.read(lambda connection: compare(connection, archive))
        if differing := found.differing:
            raise RowsDiffer(place.name, differing)
        if found.contains_file:
            await database.write(lambda connection: advance_sequences(connection, manifest.counters))
            return Imported(0, found.more, resumed=False)
    await database.write(lambda connection: _begin(connection, manifest))
    done = await database.read(lambda connection: progress.done(connection, manifest))
    written = 0
    for number, member in enumerate(manifest.members, 1):
        if member.name not in done:
            written += await _write(archive, member, place)
        on_progress(number, len(manifest.members))
    found = await verify(archive, place)
    await database.write(progress.forget)
    return Imported(written, found.more, went_on)


async def verify(archive: Archive, place: Place) -> Comparison:
    """Check that every row of the file is in ``place`` unchanged. Writes nothing. Raises ContentMismatch."""
    check_fit(archive, place)
    found = await place.database.read(lambda connection: compare(connection, archive))
    if not found.contains_file:
        raise ContentMismatch(place.name, found.summary())
    return found


def check_fit(archive: Archive, place: Place) -> None:
    """Check that the file's version and content suit the target. Raises FileUnusable, UnstorableValues."""
    manifest = archive.manifest
    if manifest.revision != HEAD:
        raise FileUnusable(
            archive.path,
            f"was exported at schema revision {manifest.revision}, and this version has {HEAD}; with one and the same "
            "version, run `runstead migrate` where it came from, and export again",
        )
    if manifest.columns != columns_now():
        raise FileUnusable(archive.path, "has other tables or columns than this version; export with the same version")
    if place.is_shared and manifest.nul:
        raise UnstorableValues(
            f"PostgreSQL cannot keep text with a NUL in it, which the file has in {', '.join(manifest.nul)}; change or "
            "delete that where it came from, and export again"
        )


def _begin(connection: Connection, manifest: Manifest) -> None:
    progress.begin(connection, manifest)
    # First of all: a server that starts on a partial import must not assign a number twice.
    advance_sequences(connection, manifest.counters)


async def _write(archive: Archive, member: Member, place: Place) -> int:
    written = 0
    try:
        for step in place.steps[:-1]:
            written += await place.database.write(
                partial(write_member, archive=archive, member=member, tables=step, place=place.name)
            )
        return written + await place.database.write(partial(_write_last, archive=archive, member=member, place=place))
    except StatementError as error:
        # Including DBAPIError: a value that the database refuses, or that does not fit into its column.
        reason = " ".join(str(error.orig).split())
        raise UnstorableValues(
            f"{place.name} does not take a row of {member.name} ({reason}); change it where it came from, export again"
        ) from error


def _write_last(connection: Connection, archive: Archive, member: Member, place: Place) -> int:
    """Write the last step together with the record that the member is written.

    Returns 0 if another import has written it meanwhile.
    """
    if progress.is_noted(connection, archive.manifest, member.name):
        return 0
    written = write_member(connection, archive, member, place.steps[-1], place.name)
    progress.note(connection, archive.manifest, member)
    return written
