"""Load the module behind a graph's source, and say clearly where the user's code failed.

A file of a package is loaded under its dotted name, so that relative imports work. Any other file gets a name made of
its path inside the project: two ``agent.py`` do not meet, and the name is the same after a restart,
which checkpoints rely on, since they name the classes of what they hold.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from .sources import GraphSource

_GRAPH_TYPES = ("CompiledStateGraph", "StateGraph", "Pregel")


class GraphLoadError(Exception):
    """A graph that cannot be had from its source; the text ends with the user's own line where it went wrong."""

    def __init__(self, source: GraphSource, problem: str) -> None:
        self.graph_id, self.problem = source.graph_id, problem
        super().__init__(f"graph {source.graph_id!r} ({source.target}) cannot be loaded: {problem}")


def extend_search_path(paths: Iterable[Path]) -> None:
    """Put ``paths`` at the front of ``sys.path``, in their order; those already there stay where they are."""
    missing = [str(path) for path in paths if str(path) not in sys.path]
    sys.path[:0] = missing


def load_variable(source: GraphSource) -> Any:
    """What the source's variable holds. Runs the user's module, once. Raises GraphLoadError."""
    try:
        module = (
            _load_file(source.file, source.directory) if source.file else importlib.import_module(str(source.module))
        )
    except (Exception, SystemExit) as error:
        # SystemExit: a script without a main guard ends itself on import, and must not end the server.
        raise GraphLoadError(source, describe(error)) from error
    try:
        return getattr(module, source.variable)
    except AttributeError as error:
        raise GraphLoadError(source, f"it has no variable {source.variable!r}{_similar(module)}") from error


def describe(error: BaseException) -> str:
    """``Class: message``, and the last line of the user's code on the way to it."""
    text = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, SyntaxError):
        # format_exception_only has shown file, line and caret already.
        return text
    text = text if str(error) else f"{type(error).__name__} without a message"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_users(frame.filename)]
    if not own:
        return text
    where = f"\n  at {own[-1].filename}, line {own[-1].lineno}"
    return f"{text}{where}: {own[-1].line}" if own[-1].line else text + where


def _import(source: GraphSource) -> ModuleType:
    assert source.module is not None
    return importlib.import_module(source.module)


def _load_file(file: Path, directory: Path) -> ModuleType:
    dotted = _dotted_name(file)
    if dotted is not None:
        return importlib.import_module(dotted)
    name = module_name(file, directory)
    if (loaded := sys.modules.get(name)) is not None and loaded.__file__ == str(file):
        return loaded
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs: dataclasses and pickles look their module up while it is being executed.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def module_name(file: Path, directory: Path) -> str:
    """A name no other file of the project has, and that moves with the project."""
    place = os.path.relpath(file, directory).replace(os.sep, "/")
    digest = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    stem = re.sub(r"\W", "_", file.stem)
    return f"runstead_graph_{stem}_{digest}"


def _dotted_name(file: Path) -> str | None:
    """The dotted name under which Python itself finds this very file of a package; None when it is in no package."""
    parts = [file.stem]
    root = file.parent
    while (root / "__init__.py").is_file() and root.name.isidentifier():
        parts.insert(0, root.name)
        root = root.parent
    if len(parts) == 1 or not file.stem.isidentifier():
        return None
    extend_search_path([root])
    name = ".".join(parts)
    # Another package of this name may be installed: then the file's own, unique name is the safe one.
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return name if spec and spec.origin and Path(spec.origin).resolve() == file else None


def _similar(module: ModuleType) -> str:
    """A hint at what was meant: the module's graphs first, then what else it defines."""
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    graphs = [name for name, value in public.items() if type(value).__name__ in _GRAPH_TYPES]
    functions = [name for name, value in public.items() if getattr(value, "__module__", None) == module.__name__]
    names = list(dict.fromkeys(graphs + functions))[:8]
    return f"; it has {', '.join(names)}" if names else ""


def _is_users(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = os.path.abspath(filename)
    paths = sysconfig.get_paths()
    library = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()]
    ours = str(Path(__file__).resolve().parent.parent)
    return not path.startswith(tuple(place.rstrip(os.sep) + os.sep for place in (*library, ours)))
