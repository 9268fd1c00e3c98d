"""The names of the top-level package and of the kernel: complete, typed, and imported on first use."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest

import runstead
import runstead.runtime
import runstead.testing
from runstead.runtime.lazy_exports import exports_of

HEAVY = ("langgraph", "langchain_core", "fastapi", "sqlalchemy", "pydantic")


PACKAGES = (runstead, runstead.runtime, runstead.testing)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_import_of_all_names_imports_exactly_the_names_of_the_stub(package: ModuleType) -> None:
    exports = exports_of(package.__name__)
    names: dict[str, object] = {}
    exec(f"from {package.__name__} import *", names)
    del names["__builtins__"]
    assert names == {name: getattr(import_module(module), name) for name, module in exports.items()}
    assert exports.keys() <= set(dir(package))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Aplication'"):
        _ = runstead.Aplication  # type: ignore[attr-defined]


def test_import_of_the_package_imports_nothing_heavy() -> None:
    code = (
        "import json, sys, runstead, runstead.runtime; names = dir(runstead); "
        f"print(json.dumps([sorted(set({HEAVY!r}) & set(sys.modules)), 'Application' in names]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], True]
