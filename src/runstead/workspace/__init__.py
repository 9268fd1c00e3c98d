"""Files of users: folders of each thread, and a folder of each user, as agents and routes see them."""

from .current import Workspace, WorkspaceRequired, bound_workspace, current_workspace, workspace_backend
from .files import (
    FOLDERS,
    FileEntry,
    FileNotFound,
    FilePathConflict,
    FileStore,
    FileTooLarge,
    OpenFile,
    QuotaExceeded,
)
from .paths import InvalidFilePath, parts_of

__all__ = [
    "FOLDERS",
    "FileEntry",
    "FileNotFound",
    "FilePathConflict",
    "FileStore",
    "FileTooLarge",
    "InvalidFilePath",
    "OpenFile",
    "QuotaExceeded",
    "Workspace",
    "WorkspaceRequired",
    "bound_workspace",
    "current_workspace",
    "parts_of",
    "workspace_backend",
]
