"""Files of users: folders of each thread, and a folder of each user, as agents and routes see them."""

from .current import Workspace, WorkspaceRequired, bound_workspace, current_workspace, workspace_backend
from .files import (
    FOLDERS,
    MEMORY,
    ArchiveTooLarge,
    FileChanged,
    FileEntry,
    FileNotFound,
    FilePathConflict,
    FileStore,
    FileTooLarge,
    FileVault,
    OpenFile,
    QuotaExceeded,
    StoredFile,
    WorkingFiles,
    folders_of,
)
from .paths import InvalidFilePath, parts_in, parts_of

__all__ = [
    "FOLDERS",
    "MEMORY",
    "ArchiveTooLarge",
    "FileChanged",
    "FileEntry",
    "FileNotFound",
    "FilePathConflict",
    "FileStore",
    "FileTooLarge",
    "FileVault",
    "InvalidFilePath",
    "OpenFile",
    "QuotaExceeded",
    "StoredFile",
    "WorkingFiles",
    "Workspace",
    "WorkspaceRequired",
    "bound_workspace",
    "current_workspace",
    "folders_of",
    "parts_in",
    "parts_of",
    "workspace_backend",
]
