"""Load the module behind a graph's source, and say clearly where the user's code failed.

A file of a package is loaded under its dotted name, so that relative imports work; a file that Python finds by its own
name is loaded under that. Any other file gets a name made of its path inside the project: two ``agent.py`` do not meet.
Each can also be imported by that name after a restart, which checkpoints rely on, since they name the classes of what
they hold. See `module_names`.
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
from typing import Any

from .module_names import PROJECT_FILES, loaded_name, module_name, plain_name
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
    """The dotted name under which Python itself finds this very file of a package; None when it is in no package."""
    parts = [] if file.stem == "__init__" else [file.stem]
    root = file.parent
    while (root / "__init__.py").is_file() and root.name.isidentifier():
        parts.insert(0, root.name)
        root = root.parent
    if root == file.parent or not file.stem.isidentifier():
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


def is_user_code(filename: str) -> bool:
    """Whether the file is the user's own: neither Python's, nor an installed package's, nor ours."""
    if filename.startswith("<"):
        return False
    path = os.path.abspath(filename)
    paths = sysconfig.get_paths()
    library = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()]
    ours = str(Path(__file__).resolve().parent.parent)
    return not path.startswith(tuple(place.rstrip(os.sep) + os.sep for place in (*library, ours)))
