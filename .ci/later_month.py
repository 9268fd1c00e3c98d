"""Replace libraries in the environment whose Python runs this by simulated later releases.

  VENV/bin/python -I .ci/later_month.py

Each gets a wheel that equals the installed one except for its version, which is the next patch. Texts in which
libraries name their own version then differ as after their next releases: tests that compare them fail now instead of
later.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Final

LIBRARIES: Final = (
    "langgraph",
    "langgraph-checkpoint",
    "langgraph-prebuilt",
    "langgraph-sdk",
    "langchain",
    "langchain-core",
    "langsmith",
)


def next_patch(version: str) -> str:
    """Return the version of the patch release after this one."""
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if numbers is None:
        raise SystemExit(f"runstead: {version} is not a version with three numbers")
    return f"{numbers[1]}.{numbers[2]}.{int(numbers[3]) + 1}"


def with_version(text: bytes, path: PurePosixPath, old: str, new: str) -> bytes:
    """Return a file of the next release: metadata and modules contain its version."""
    if path.name == "METADATA":
        return text.replace(f"Version: {old}\n".encode(), f"Version: {new}\n".encode(), 1)
    if path.name in ("__init__.py", "version.py", "_version.py"):
        return text.replace(f'"{old}"'.encode(), f'"{new}"'.encode())
    return text


def later_wheel(name: str, folder: Path) -> Path:
    """Write the wheel of a library's next patch release and return its path."""
    installed = metadata.distribution(name)
    old, new = installed.version, next_patch(installed.version)
    wheel = folder / f"{name.replace('-', '_')}-{new}-py3-none-any.whl"
    record = None
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in installed.files or ():
            path = PurePosixPath(file)
            if ".." in path.parts or "__pycache__" in path.parts:
                continue
            if path.parts[0].endswith(".dist-info"):
                if path.name in ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"):
                    continue
                path = PurePosixPath(path.parts[0].replace(f"-{old}.", f"-{new}."), *path.parts[1:])
                if path.name == "RECORD":
                    record = path
                    continue
            archive.writestr(str(path), with_version(Path(str(file.locate())).read_bytes(), path, old, new))
        if record is None:
            raise SystemExit(f"runstead: {name} {old} has no RECORD")
        names = archive.namelist()
        archive.writestr(str(record), "".join(f"{one},,\n" for one in [*names, str(record)]))
    return wheel


def main() -> int:
    """Install the next patch release of each library."""
    lock = Path(__file__).with_name("lock.py")
    uv = subprocess.run([sys.executable, "-I", lock, "uv"], stdout=subprocess.PIPE, text=True, check=True).stdout
    before = {name: metadata.version(name) for name in LIBRARIES}
    with tempfile.TemporaryDirectory() as folder:
        wheels = [str(later_wheel(name, Path(folder))) for name in LIBRARIES]
        options = ("--quiet", "--no-deps", "--no-index", "--compile-bytecode", "--python", sys.executable)
        subprocess.run([uv.strip(), "pip", "install", *options, *wheels], check=True)
    for name, old in before.items():
        print(f"runstead: {name} {old} -> {metadata.version(name)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
