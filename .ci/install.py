"""Install locked requirements with pip into the environment whose Python runs this.

  VENV/bin/python -I .ci/install.py requirements/core.txt requirements/build.txt

pip alone reads the index of each package, one after the other, which takes most of its time. Here several pips download
in parallel, by the URLs in uv.lock and with the hashes checked, and one pip installs the files. If pip is configured
for another index than PyPI, packages come from there, with the same hashes. Installed packages are left alone, so that
nothing is downloaded if nothing is missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

from pip._vendor.packaging.markers import Marker
from pip._vendor.packaging.tags import sys_tags
from pip._vendor.packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

LOCK: Final = Path(__file__).resolve().parents[1] / "uv.lock"
# More than the cores of a small machine, since the downloads also wait for the network.
DOWNLOADS: Final = 3
SHOWN_EVERY: Final = 3.0
PIP: Final = (sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input")
OPTIONS: Final = ("--no-deps", "--require-hashes", "--progress-bar", "off")
# A machine's own indexes need not have every package, and pip warns about each missing one.
NOISE: Final = "is ignored: it is neither a file nor a directory"


class Requirement(NamedTuple):
    """One package of a requirements file."""

    name: str
    version: str
    text: str


Spelling = Callable[[Requirement], str]


class PipFailed(Exception):
    """pip failed; the text is its output."""


def requirements(path: Path) -> Iterator[Requirement]:
    """Yield the requirements of a file for this machine."""
    for block in path.read_text(encoding="utf-8").replace("\\\n", "").splitlines():
        if not block.strip() or block.startswith("#"):
            continue
        pinned, _, marker = block.partition(" --hash=")[0].partition(";")
        if not marker.strip() or Marker(marker.strip()).evaluate():
            name, _, version = pinned.strip().partition("==")
            yield Requirement(canonicalize_name(name.partition("[")[0]), version.strip(), block)


def installed() -> dict[str, str]:
    """Return the versions of the packages in this environment."""
    return {canonicalize_name(one.metadata["Name"]): one.version for one in metadata.distributions()}


def by_index(requirement: Requirement) -> str:
    """Return a requirement that pip looks up in its index."""
    return requirement.text


def by_address() -> Spelling:
    """Return a function that spells each package by the URL of its best wheel in uv.lock, or by the index if it has
    none."""
    rank = {tag: number for number, tag in enumerate(sys_tags())}
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for package in tomllib.loads(LOCK.read_text(encoding="utf-8"))["package"]:
        for wheel in package.get("wheels", ()):
            try:
                tags = parse_wheel_filename(wheel["url"].rpartition("/")[2])[3]
            except InvalidWheelFilename:
                continue
            best = min((rank[tag] for tag in tags if tag in rank), default=None)
            key = (package["name"], package["version"])
            if best is not None and (key not in found or best < found[key][0]):
                found[key] = (best, f"{package['name']} @ {wheel['url']} --hash={wheel['hash']}")

    def spell(requirement: Requirement) -> str:
        return found.get((requirement.name, requirement.version), (0, requirement.text))[1]

    return spell


def uses_pypi() -> bool:
    """Return whether pip uses PyPI, according to its configuration."""
    if os.environ.get("PIP_INDEX_URL") or os.environ.get("PIP_NO_INDEX"):
        return False
    done = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False)
    return not any(name in done.stdout for name in (".index-url=", ".no-index="))


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"runstead: {text}", file=sys.stderr, flush=True)


def read(path: Path) -> str:
    """Return the output of a pip so far."""
    return path.read_text(encoding="utf-8", errors="replace")


def download(wanted: list[Requirement], spell: Spelling, temporary: Path) -> Path:
    """Download the packages in parallel into a folder, and return it; raise PipFailed if one is not available."""
    folder = Path(tempfile.mkdtemp(prefix="files-", dir=temporary))
    pips = []
    for number in range(min(DOWNLOADS, len(wanted))):
        part = folder.with_suffix(f".{number}")
        part.write_text("\n".join(spell(one) for one in wanted[number::DOWNLOADS]), encoding="utf-8")
        out, err = part.with_suffix(f".{number}-out"), part.with_suffix(f".{number}-err")
        with out.open("w") as stdout, err.open("w") as stderr:
            command = [*PIP, "download", *OPTIONS, "--dest", str(folder), "-r", str(part)]
            pips.append((subprocess.Popen(command, stdout=stdout, stderr=stderr), out, err))
    shown = time.monotonic()
    try:
        while any(pip.poll() is None for pip, _, _ in pips):
            time.sleep(0.1)
            if time.monotonic() - shown > SHOWN_EVERY:
                shown = time.monotonic()
                lines = [line for _, out, _ in pips for line in read(out).splitlines()]
                begun = sum(line.startswith(("Collecting ", "Processing ")) for line in lines)
                say(f"  {max(begun - len(pips), 0)} of {len(wanted)} downloaded")
            if any(pip.poll() for pip, _, _ in pips):
                break
    finally:
        for pip, _, _ in pips:
            pip.terminate()
            pip.wait()
    for pip, _, err in pips:
        if pip.returncode > 0:
            raise PipFailed("\n".join(line for line in read(err).splitlines() if NOISE not in line))
    return folder


def install(wanted: list[Requirement], folder: Path) -> None:
    """Install the packages from a folder; raise PipFailed if that fails."""
    whole = folder.with_suffix(".all")
    whole.write_text("\n".join(one.text for one in wanted), encoding="utf-8")
    # Bytecode is compiled on first import: most modules are never imported.
    options = (*OPTIONS, "--no-user", "--no-compile", "--no-index", "--find-links", str(folder))
    command = [*PIP, "install", "-q", *options, "-r", str(whole)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PipFailed(done.stderr)


def main(files: list[str]) -> int:
    """Install the requirements of the files that this environment lacks."""
    there = installed()
    asked = {one.name: one for file in files for one in requirements(Path(file))}
    wanted = [one for one in asked.values() if there.get(one.name) != one.version]
    if not wanted:
        return 0
    about = "half a minute" if len(wanted) < 100 else "a minute or two"
    say(f"installing {len(wanted)} packages with pip (first time only, about {about})")
    with tempfile.TemporaryDirectory(prefix="downloads-", dir=sys.prefix) as temporary:
        try:
            try:
                if not uses_pypi():
                    raise PipFailed
                folder = download(wanted, by_address(), Path(temporary))
            except PipFailed as error:
                if str(error):
                    say("  not all files are available by their URLs in uv.lock; using the index")
                folder = download(wanted, by_index, Path(temporary))
            say(f"  {len(wanted)} of {len(wanted)} downloaded, now unpacking")
            install(wanted, folder)
        except PipFailed as error:
            print(error, file=sys.stderr)
            say("pip failed, see above; is there a network, and an index that has these packages?")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
