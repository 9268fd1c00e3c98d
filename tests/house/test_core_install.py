"""An installation without extras runs a server: no module that it needs imports a package of an extra."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
MODULES = {"opentelemetry-sdk": "opentelemetry.sdk", "python-telegram-bot": "telegram", "lark-oapi": "lark_oapi"}
CODE = """
import asyncio, importlib.abc, sys, tempfile

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from runstead import Application
import runstead.cli.serving, runstead.cli.doctor, runstead.cli.demo.run

async def main():
    with tempfile.TemporaryDirectory() as folder:
        settings = {{"port": 0, "data_dir": folder}}
        async with Application({{"agent": lambda config: None}}, **settings).running():
            print("serves")

asyncio.run(main())
"""


def test_server_runs_without_any_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {Requirement(one).name for one in project["dependencies"]}
    extras = (
        {
            Requirement(one).name
            for name, several in project["optional-dependencies"].items()
            if name not in ("dev", "test")
            for one in several
        }
        - core
        - {"runstead", "aiohttp"}
    )
    blocked = {MODULES.get(name, name.replace("-", "_")) for name in extras}
    code = CODE.format(blocked=blocked)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("serves\n", 0), done.stderr
