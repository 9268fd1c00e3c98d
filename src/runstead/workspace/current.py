"""The workspace of the run that executes: paths for its nodes and tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from runstead.private_files import make_directory


class WorkspaceRequired(RuntimeError):
    """There is no workspace here."""

    def __init__(self) -> None:
        super().__init__(
            "there is no workspace here: call current_workspace() in a node or tool of a run, on a server that has "
            "files (setting files_dir)"
        )


@dataclass(frozen=True, slots=True)
class Workspace:
    """Folders of a thread, and the ``memory`` folder of the thread's owner. A folder is created when it is asked for.

    ``root`` contains the folders of the thread.
    """

    root: Path
    memory_root: Path

    @property
    def uploads(self) -> Path:
        """Files that users have uploaded."""
        return _created(self.root / "uploads")

    @property
    def workspace(self) -> Path:
        """Working files of the agent."""
        return _created(self.root / "workspace")

    @property
    def outputs(self) -> Path:
        """Files for users to download."""
        return _created(self.root / "outputs")

    @property
    def memory(self) -> Path:
        """Files that all threads of the owner share."""
        return _created(self.memory_root)

    def backend(self) -> Any:
        """Return a deepagents backend: ``/uploads``, ``/workspace``, ``/outputs`` and ``/memory``.

        Needs the package deepagents.
        """
        backends: Any = import_module("deepagents.backends")
        for folder in (self.uploads, self.workspace, self.outputs):
            assert folder.is_dir()
        thread = backends.FilesystemBackend(root_dir=self.root, virtual_mode=True)
        memory = backends.FilesystemBackend(root_dir=self.memory, virtual_mode=True)
        return backends.CompositeBackend(default=thread, routes={"/memory/": memory})


_CURRENT: Final[ContextVar[Workspace | None]] = ContextVar("runstead_workspace", default=None)


def current_workspace() -> Workspace:
    """Return the workspace of the executing run. Raises WorkspaceRequired outside of runs."""
    if (found := _CURRENT.get()) is None:
        raise WorkspaceRequired
    return found


@contextmanager
def bound_workspace(workspace: Workspace) -> Iterator[Workspace]:
    """Make ``workspace`` the current one for the duration of a block."""
    token = _CURRENT.set(workspace)
    try:
        yield workspace
    finally:
        _CURRENT.reset(token)


def workspace_backend() -> Any:
    """Return a deepagents backend that uses the workspace of the run that calls it.

    It can be created before any run, for an agent that all runs share. Needs the package deepagents.
    """
    protocol: Any = import_module("deepagents.backends").BackendProtocol

    def delegating(name: str) -> Callable[..., Any]:
        return lambda self, *args, **kwargs: getattr(current_workspace().backend(), name)(*args, **kwargs)

    names = [name for name in dir(protocol) if not name.startswith("_") and callable(getattr(protocol, name))]
    return type("WorkspaceBackend", (protocol,), {name: delegating(name) for name in names})()


def _created(folder: Path) -> Path:
    make_directory(folder)
    return folder
