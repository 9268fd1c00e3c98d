"""Loading of the module behind a graph's source, with error texts that name the failing line of the user's code.

A file of a package is loaded under its dotted name, so that relative imports work; a file that Python finds by its own
name is loaded under that. Any other file gets a name derived from its path inside the project, so that two ``agent.py``
do not collide. Each can also be imported by that name after a restart, which checkpoints require, since they name the
classes of their values. See `module_names`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from .module_names import PROJECT_FILES, loaded_name, module_name, plain_name
from .sources import GraphSource

_GRAPH_TYPES = ("CompiledStateGraph", "StateGraph", "Pregel")


class GraphLoadError(Exception):
    """The graph cannot be loaded from its source; the text ends with the failing line of the user's code."""

    def __init__(self, source: GraphSource, problem: str) -> None:
        self.graph_id, self.problem = source.graph_id, problem
        super().__init__(f"graph {source.graph_id!r} ({source.target}) cannot be loaded: {problem}")


def extend_search_path(paths: Iterable[Path]) -> None:
    """Insert ``paths`` at the front of ``sys.path``, in their order; existing ones keep their position."""
    missing = [str(path) for path in paths if str(path) not in sys.path]
    sys.path[:0] = missing


def load_variable(source: GraphSource) -> object:
    """Return the value of the source's variable. Runs the user's module, once. Raises GraphLoadError."""
    if source.value is not None:
        return source.value
    try:
        module = (
            _load_file(source.file, source.directory) if source.file else importlib.import_module(str(source.module))
        )
    except (Exception, SystemExit) as error:
        # SystemExit: a script without a main guard exits on import, which must not end the server.
        raise GraphLoadError(source, describe(error)) from error
    try:
        return getattr(module, source.variable)
    except AttributeError as error:
        raise GraphLoadError(source, f"it has no variable {source.variable!r}{_similar(module)}") from error


def describe(error: BaseException) -> str:
    """Return ``Class: message``, and the last line of the user's code in the traceback."""
    text = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, SyntaxError):
        # format_exception_only already contains file, line and caret.
        return text
    text = text if str(error) else f"{type(error).__name__} without a message"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_user_code(frame.filename)]
    if not own:
        return text
    where = f"\n  at {own[-1].filename}, line {own[-1].lineno}"
    return f"{text}{where}: {own[-1].line}" if own[-1].line else text + where


def _load_file(file: Path, directory: Path) -> ModuleType:
    unique = module_name(file, directory)
    name = loaded_name(file) or _dotted_name(file) or plain_name(file) or unique
    PROJECT_FILES.add(file, name, unique)
    return importlib.import_module(name)


def _dotted_name(file: Path) -> str | None:
    """Return the dotted name under which Python finds exactly this file of a package; None if it is in no package."""
    parts = [] if file.stem == "__init__" else [file.stem]
    root = file.parent
    while (root / "__init__.py").is_file() and root.name.isidentifier():
        parts.insert(0, root.name)
        root = root.parent
    if root == file.parent or not file.stem.isidentifier():
        return None
    extend_search_path([root])
    name = ".".join(parts)
    # Another package with this name may be installed: then the file needs its unique name.
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return name if spec and spec.origin and Path(spec.origin).resolve() == file else None


def _similar(module: ModuleType) -> str:
    """Return a hint at possible variables: the module's graphs first, then other definitions."""
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    graphs = [name for name, value in public.items() if type(value).__name__ in _GRAPH_TYPES]
    functions = [name for name, value in public.items() if getattr(value, "__module__", None) == module.__name__]
    names = list(dict.fromkeys(graphs + functions))[:8]
    return f"; it has {', '.join(names)}" if names else ""


def is_user_code(filename: str) -> bool:
    """Return whether the file belongs to the user: not to Python, an installed package, or Runstead."""
    if filename.startswith("<"):
        return False
    path = os.path.abspath(filename)
    paths = sysconfig.get_paths()
    library = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()]
    ours = str(Path(__file__).resolve().parent.parent)
    return not path.startswith(tuple(place.rstrip(os.sep) + os.sep for place in (*library, ours)))
