"""Re-encrypt the lines of event files with the current key. Only for the process that owns the files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from runstead.infra.encryption.cipher import Cipher
from runstead.private_files import open_new
from runstead.runtime.runs.types import ThreadId

from .lines import event_line, head_of, key_id_of, read_line

_FILES: Final = "events.jsonl"


def event_file_keys(root: Path, cipher: Cipher) -> Iterator[str]:
    """Yield the key id of every event in the files below ``root``; empty for an event that is not encrypted."""
    for path in sorted(root.rglob(_FILES)):
        with path.open("rb") as file:
            for line in file:
                if head_of(line) is not None and (key_id := key_id_of(line, cipher)) is not None:
                    yield key_id


def rewrite_event_files(root: Path, cipher: Cipher) -> int:
    """Encrypt every event below ``root`` with the current key; return how many changed. Raises CannotDecrypt.

    A file is replaced once its new version is complete. Damaged lines stay as they are.
    """
    return sum(_rewrite(path, cipher) for path in sorted(root.rglob(_FILES)))


def _rewrite(path: Path, cipher: Cipher) -> int:
    rewritten, changed = path.with_suffix(".rewritten"), 0
    with path.open("rb") as file, os.fdopen(open_new(rewritten), "wb") as kept:
        for line in file:
            if (new := _recoded(line, cipher)) is not None:
                line, changed = new, changed + 1
            kept.write(line)
        kept.flush()
        os.fsync(kept.fileno())
    if changed:
        rewritten.replace(path)
    else:
        rewritten.unlink()
    return changed


def _recoded(line: bytes, cipher: Cipher) -> bytes | None:
    """Return the line encrypted with the current key; None if it already is, or is no event."""
    head = head_of(line)
    if head is None or head.is_mark or key_id_of(line, cipher) == cipher.key_id:
        return None
    stored = read_line(line, ThreadId(""), cipher)
    return None if stored is None else event_line(stored.seq, head.more, stored.event, cipher)
