"""Limits on the files of a user."""

from __future__ import annotations

from dataclasses import dataclass

from runstead.workspace import ArchiveTooLarge, QuotaExceeded


@dataclass(frozen=True, slots=True)
class FileLimits:
    """Limits: bytes of one file, and bytes and number of all files of a user."""

    file_bytes: int = 100 * 1024 * 1024
    user_bytes: int = 1024 * 1024 * 1024
    user_files: int = 10_000

    def check_archive(self, used: int) -> None:
        """Raise ArchiveTooLarge for files of this size together: what agents write is not limited."""
        if used > self.user_bytes:
            raise ArchiveTooLarge(used, self.user_bytes)

    def check(self, files: int, used: int) -> None:
        """Raise QuotaExceeded if a user may not have this number of files, or of bytes in them."""
        if used > self.user_bytes:
            raise QuotaExceeded(
                f"Your files would have {used} bytes, and {self.user_bytes} are allowed (setting files_user_bytes)"
            )
        if files > self.user_files:
            raise QuotaExceeded(f"You have {self.user_files} files, which is the maximum")
