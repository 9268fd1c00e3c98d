"""Public names of a package, imported on first use.

The only list of the names is the stub beside the package's ``__init__.py``. Type checkers read it instead of the
module, and at run time each ``from .module import Name as Name`` in it says where a name is defined.
"""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import resolve_name


@cache
def exports_of(package: str) -> Mapping[str, str]:
    """Return the public names of a package, each with the module that defines it."""
    stub = pkgutil.get_data(package, "__init__.pyi") or b""
    return {
        alias.name: resolve_name("." * node.level + (node.module or ""), package)
        for node in ast.parse(stub).body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }


def lazy_exports(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of a package."""

    def get(name: str) -> object:
        exports = exports_of(package)
        if name == "__all__":
            return sorted(exports)
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(exports[name]), name)

    def names() -> list[str]:
        return sorted({*vars(import_module(package)), *exports_of(package)})

    return get, names
