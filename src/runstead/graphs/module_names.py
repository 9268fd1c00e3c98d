"""Module names of user files: one file is one module, by whichever name it is imported.

A graph's file is loaded by its path, and other modules of the project import it by a Python name: ``main``,
``agent.main``, ``src.agent.main``. Without this module, each name would execute the file again, and create classes and
clients that differ from the first ones.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final


def module_name(file: Path, directory: Path) -> str:
    """Return a name that no other file of the project has, independent of the project's location."""
    place = os.path.relpath(file, directory).replace(os.sep, "/")
    digest = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    stem = re.sub(r"\W", "_", file.stem)
    return f"runstead_graph_{stem}_{digest}"


def loaded_name(file: Path) -> str | None:
    """Return the name by which this process has already imported ``file``; None if it has not."""
    if (name := PROJECT_FILES.loaded_name(file)) is not None:
        return name
    for name, module in list(sys.modules.items()):
        # The main script is not a module of the project: its file is executed again, as Python itself does.
        if name not in ("__main__", "__mp_main__") and _is_of(module, file):
            return name
    return None


def plain_name(file: Path) -> str | None:
    """Return the file's own name if Python finds exactly this file by it; None for a file in a package, or not on the
    path."""
    if not file.stem.isidentifier() or file.stem == "__init__":
        return None
    try:
        spec = find_spec(file.stem)
    except ValueError:
        # Already imported by means that left no spec.
        return None
    return file.stem if spec is not None and _has_origin(spec, file) else None


class ProjectFiles(MetaPathFinder):
    """Finder for loaded user files: any other name of such a file returns the existing module."""

    def __init__(self) -> None:
        self._names: dict[Path, str] = {}
        self._files: dict[str, Path] = {}

    def add(self, file: Path, name: str, unique: str) -> None:
        """Register that ``file`` is about to be imported as ``name``, and can be found as ``unique`` too."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        self._names[file], self._files[unique] = name, file
        stale = sys.modules.get(unique)
        if stale is not None and not _is_of(stale, file):
            # Belongs to another project in this process.
            del sys.modules[unique]

    def loaded_name(self, file: Path) -> str | None:
        """Return the name under which ``file`` was registered, if it is still imported under that."""
        name = self._names.get(file)
        return name if name is not None and _is_of(sys.modules.get(name), file) else None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See MetaPathFinder. None for everything that is not a loaded user file."""
        file = self._files.get(fullname)
        if file is not None:
            return self._existing(file, fullname) or spec_from_file_location(fullname, file)
        last = fullname.rpartition(".")[2]
        if not any(file.stem == last for file in self._names):
            return None
        spec = self._found_by_others(fullname, path, target)
        if spec is None or not spec.origin:
            return None
        return self._existing(Path(os.path.realpath(spec.origin)), fullname) or spec

    def _found_by_others(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(fullname, path, target)) is not None:
                return spec
        return None

    def _existing(self, file: Path, fullname: str) -> ModuleSpec | None:
        name = self._names.get(file)
        module = sys.modules.get(name) if name is not None and name != fullname else None
        return ModuleSpec(fullname, _Existing(module), origin=str(file)) if module is not None else None


class _Existing(Loader):
    """Loader that returns an existing module without executing it again."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        # The import machinery has replaced it by the spec of the second name.
        module.__spec__ = self._spec


PROJECT_FILES: Final = ProjectFiles()


def _has_origin(spec: ModuleSpec, file: Path) -> bool:
    return spec.origin is not None and os.path.realpath(spec.origin) == str(file)


def _is_of(module: object, file: Path) -> bool:
    # Through its __dict__: reading an attribute would load modules that load lazily.
    found = getattr(module, "__dict__", {}).get("__file__")
    # The cheap comparison first: there are thousands of modules.
    return isinstance(found, str) and found.endswith(file.name) and os.path.realpath(found) == str(file)
