#!/usr/bin/env python3
"""The lock: uv.lock, and the requirements files with hashes that are exported from it for pip.

  .ci/lock.py check     fail unless pyproject.toml, uv.lock and requirements/ agree; needs neither network nor uv
  .ci/lock.py update    after a change of pyproject.toml: lock new requirements, keep all other versions
  .ci/lock.py upgrade   move everything to the newest version that pyproject.toml allows, in one commit
  .ci/lock.py sbom      print the software bill of materials of the image and of the wheel's extras, as CycloneDX JSON
  .ci/lock.py uv        print the path of a uv

``update`` and ``upgrade`` call uv; if it is missing, the locked version is installed with pip into .venv-uv.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
REQUIREMENTS: Final = ROOT / "requirements"
TOOL: Final = ROOT / ".venv-uv"

# Each requirements file with its selection for `uv export`. `make demo` installs core, `make test` dev or test, `make
# docs` docs, each with build; the image installs scaled; uv is the tool of this script, release is for `make audit` and
# `make release`.
EXPORTS: Final[dict[str, tuple[str, ...]]] = {
    "core": (),
    "scaled": tuple(
        word
        for extra in ("postgres", "redis", "encryption", "oidc", "limits", "otel", "s3")
        for word in ("--extra", extra)
    ),
    "dev": ("--extra", "dev"),
    "test": ("--extra", "test"),
    "docs": ("--only-group", "docs"),
    "build": ("--only-group", "build"),
    "uv": ("--only-group", "uv"),
    "release": ("--only-group", "release"),
}
HEADER: Final = (
    "# Exported from uv.lock; do not edit: `make lock` and `make upgrade` write it, `make check` compares.\n"
)

Package = dict[str, Any]


class LockError(Exception):
    """The lock is not consistent; the text names the fix."""


class Pin(NamedTuple):
    """One version of one package."""

    name: str
    version: str


class Entry(NamedTuple):
    """One package of a requirements file."""

    pin: Pin
    marker: str
    hashes: frozenset[str]


# pyproject.toml against uv.lock


def normalized(name: str) -> str:
    """Return a package's name as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement(text: str, extra: str = "") -> tuple[str, tuple[str, ...], tuple[str, ...], str]:
    """Return name, extras, specifiers and marker of one requirement of pyproject.toml."""
    match = re.fullmatch(r"\s*([\w.-]+)\s*(?:\[([^\]]*)\])?\s*([^;]*?)\s*(?:;\s*(.*?))?\s*", text)
    if match is None:
        raise LockError(f"pyproject.toml: cannot read the requirement {text!r}")
    name, extras, specifiers, marker = match.groups(default="")
    if extra:
        marker = f"{marker} and extra == '{extra}'" if marker else f"extra == '{extra}'"
    return normalized(name), parts(extras), parts(specifiers), marker.replace('"', "'")


def parts(text: str) -> tuple[str, ...]:
    """Return the sorted parts of a list with commas."""
    return tuple(sorted(part.replace(" ", "") for part in text.split(",") if part.strip()))


def locked_requirement(entry: Package) -> tuple[str, tuple[str, ...], tuple[str, ...], str]:
    """Return the same for one requirement from which uv.lock was made."""
    extras = tuple(sorted(entry.get("extras", ())))
    return entry["name"], extras, parts(entry.get("specifier", "")), entry.get("marker", "").replace('"', "'")


def project_differences(project: Package, locked: Package) -> Iterator[str]:
    """Yield each requirement of pyproject.toml from which uv.lock was not made, and vice versa."""
    metadata = project["project"]
    asked = {requirement(text) for text in metadata["dependencies"]}
    for extra, texts in metadata.get("optional-dependencies", {}).items():
        asked |= {requirement(text, extra) for text in texts}
    made = {locked_requirement(entry) for entry in locked["metadata"].get("requires-dist", ())}
    groups = {
        group: {requirement(text) for text in texts} for group, texts in project.get("dependency-groups", {}).items()
    }
    made_groups = {
        group: {locked_requirement(entry) for entry in entries}
        for group, entries in locked["metadata"].get("requires-dev", {}).items()
    }
    for group in sorted(groups.keys() | made_groups.keys()):
        asked |= {(f"{group}: {one[0]}", *one[1:]) for one in groups.get(group, ())}
        made |= {(f"{group}: {one[0]}", *one[1:]) for one in made_groups.get(group, ())}
    for one in sorted(asked ^ made):
        where = "in pyproject.toml, but not in uv.lock"
        if one in made:
            where = "in uv.lock, but not in pyproject.toml"
        yield f"{one[0]} {','.join(one[2]) or 'of any version'}{f' ; {one[3]}' if one[3] else ''}: {where}"


# uv.lock against the requirements files


def entries(text: str) -> Iterator[Entry]:
    """Yield the packages of a requirements file."""
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        head, *hashes = re.split(r"\s+--hash=", line.strip())
        pinned, _, marker = head.partition(";")
        name, _, version = pinned.strip().partition("==")
        yield Entry(Pin(normalized(name), version.strip()), marker.strip(), frozenset(one.strip() for one in hashes))


def hashes_of(package: Package) -> frozenset[str]:
    """Return the hashes of all files of a locked package."""
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
    return frozenset(file["hash"] for file in files)


def start_of(root: Package, selection: tuple[str, ...]) -> list[Package]:
    """Return the dependencies with which an export begins."""
    options = dict(zip(selection[::2], selection[1::2], strict=True))
    if "--only-group" in options:
        return list(root["dev-dependencies"][options["--only-group"]])
    extras = [value for option, value in zip(selection[::2], selection[1::2], strict=True) if option == "--extra"]
    return [*root["dependencies"], *(one for extra in extras for one in root["optional-dependencies"][extra])]


def reachable(packages: list[Package], start: list[Package], environment: dict[str, str] | None) -> set[Pin]:
    """Return all packages that the dependencies need: those for ``environment``, or for any environment if it is
    None."""
    by_name: dict[str, list[Package]] = {}
    for package in packages:
        by_name.setdefault(package["name"], []).append(package)
    seen: set[tuple[Pin, str]] = set()
    waiting = list(start)
    while waiting:
        dependency = waiting.pop()
        if not holds(dependency.get("marker", ""), environment):
            continue
        version = dependency.get("version")
        package = next(one for one in by_name[dependency["name"]] if version in (None, one["version"]))
        for extra in ("", *dependency.get("extra", ())):
            key = (Pin(package["name"], package["version"]), extra)
            if key not in seen:
                seen.add(key)
                waiting += package.get("optional-dependencies", {}).get(extra, ()) if extra else ()
                waiting += () if extra else package.get("dependencies", ())
    return {pin for pin, _ in seen}


def holds(marker: str, environment: dict[str, str] | None) -> bool:
    """Return whether a marker holds in an environment; with None, all hold."""
    if not marker or environment is None:
        return True
    # Only `check` of a complete environment uses this: before the installation the package may be missing.
    from packaging.markers import Marker

    return Marker(marker).evaluate(environment)


def environments() -> Iterator[dict[str, str] | None]:
    """Yield the supported Pythons on the common systems; only None if markers cannot be parsed."""
    try:
        import packaging.markers  # noqa: F401
    except ImportError:
        yield None
        return
    systems = (
        ("linux", "Linux", "posix", "x86_64"),
        ("linux", "Linux", "posix", "aarch64"),
        ("darwin", "Darwin", "posix", "arm64"),
        ("win32", "Windows", "nt", "AMD64"),
    )
    for version in ("3.11", "3.12", "3.13", "3.14"):
        for platform, system, os_name, machine in systems:
            yield {
                "python_version": version,
                "python_full_version": f"{version}.4",
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
                "sys_platform": platform,
                "platform_system": system,
                "os_name": os_name,
                "platform_machine": machine,
                "extra": "",
            }


def export_differences(packages: list[Package], name: str, text: str) -> Iterator[str]:
    """Yield the differences between a requirements file and the lock: packages, versions, hashes, and markers."""
    file = f"requirements/{name}.txt"
    exported = list(entries(text))
    by_pin = {Pin(package["name"], package["version"]): package for package in packages if "version" in package}
    for entry in exported:
        shown = f"{entry.pin.name} {entry.pin.version}"
        if entry.pin not in by_pin:
            yield f"{file}: {shown} is not in uv.lock"
        elif not entry.hashes:
            yield f"{file}: {shown} has no hash"
        elif entry.hashes != hashes_of(by_pin[entry.pin]):
            yield f"{file}: {shown} has other hashes than in uv.lock"
    root = next(package for package in packages if "editable" in package["source"])
    start = start_of(root, EXPORTS[name])
    missing: set[Pin] = set()
    unneeded: set[Pin] = set()
    for environment in environments():
        wanted = reachable(packages, start, environment)
        there = {entry.pin for entry in exported if holds(entry.marker, environment)}
        missing |= wanted - there
        unneeded |= there - wanted
    for pin in sorted(missing):
        yield f"{file}: {pin.name} {pin.version} is missing"
    for pin in sorted(unneeded):
        yield f"{file}: {pin.name} {pin.version} is not needed"


def check(root: Path = ROOT) -> list[str]:
    """Return all differences between pyproject.toml, uv.lock and the requirements files."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    lock = tomllib.loads((root / "uv.lock").read_text(encoding="utf-8"))
    packages: list[Package] = lock["package"]
    own = next(package for package in packages if "editable" in package["source"])
    found = list(project_differences(project, own))
    if project["project"]["requires-python"].replace(" ", "") != lock["requires-python"].replace(" ", ""):
        found.append(f"requires-python: {project['project']['requires-python']}, in uv.lock {lock['requires-python']}")
    if found:
        return found
    for name in EXPORTS:
        path = root / "requirements" / f"{name}.txt"
        if path.is_file():
            found += export_differences(packages, name, path.read_text(encoding="utf-8"))
        else:
            found.append(f"requirements/{name}.txt is missing")
    return found


# With uv


def uv_on_path() -> str | None:
    """Return the path of a working uv, or None."""
    # The command alone is not enough: it may be a version manager's shim for a missing program.
    found = shutil.which("uv")
    works = found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0
    return found if works else None


def find_uv() -> str:
    """Return uv's path: the one on PATH, or the locked one, installed with pip."""
    if found := uv_on_path():
        return found
    uv = TOOL / "bin" / "uv"
    if not uv.is_file():
        print("runstead: uv is missing; installing it into .venv-uv", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", TOOL], check=True)
        pip = [str(TOOL / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", REQUIREMENTS / "uv.txt"], check=True)
    return str(uv)


def run_uv(*arguments: str | Path) -> str:
    """Run uv in the project and return its output. It uses only PyPI, whatever this machine's configuration is."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("UV_") or name in ("UV_CACHE_DIR", "UV_NO_CACHE", "UV_OFFLINE", "UV_HTTP_TIMEOUT")
    }
    done = subprocess.run(
        [find_uv(), *arguments],
        cwd=ROOT,
        # The machine's own certificates, as .ci/venv trusts them.
        env={"UV_SYSTEM_CERTS": "true", **environment, "UV_DEFAULT_INDEX": "https://pypi.org/simple"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LockError(f"uv {arguments[0]} failed, see above")
    return done.stdout


def exported(name: str) -> str:
    """Return the required content of a requirements file."""
    selection = EXPORTS[name]
    options = ("--format", "requirements-txt", "--no-emit-project", "--no-header", "--no-annotate")
    defaults = () if "--only-group" in selection else ("--no-default-groups",)
    return HEADER + run_uv("export", "--frozen", "--quiet", *options, *defaults, *selection)


def export() -> None:
    """Write the requirements files."""
    REQUIREMENTS.mkdir(exist_ok=True)
    for name in EXPORTS:
        (REQUIREMENTS / f"{name}.txt").write_text(exported(name), encoding="utf-8")


def check_with_uv() -> list[str]:
    """Return uv's own findings: a lock that it would change, a file that it would export differently."""
    try:
        run_uv("lock", "--check", "--quiet")
    except LockError as error:
        return [str(error)]
    return [
        f"requirements/{name}.txt: uv exports it differently"
        for name in EXPORTS
        if set(entries(exported(name))) != set(entries((REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")))
    ]


def versions() -> dict[str, str]:
    """Return the locked versions of all packages; of those with several, all of them."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    found: dict[str, list[str]] = {}
    for package in packages:
        if "version" in package and "editable" not in package["source"]:
            found.setdefault(package["name"], []).append(package["version"])
    return {name: ", ".join(several) for name, several in found.items()}


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return a line for each package whose version moved, that came or that went."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None:
            lines.append(f"{name} {new} (new)")
        elif new is None:
            lines.append(f"{name} {old} (removed)")
        elif old != new:
            lines.append(f"{name} {old} -> {new}")
    return lines


def sbom() -> str:
    """Return the content of the image as a CycloneDX document: packages, versions and dependencies."""
    options = ("--frozen", "--quiet", "--no-default-groups", "--preview-features", "sbom-export")
    return run_uv("export", "--format", "cyclonedx1.5", *options, *EXPORTS["scaled"])


def git(*arguments: str) -> str:
    """Run git in the project and return its output."""
    return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def update() -> None:
    """Lock the requirements of pyproject.toml with as few changes as possible."""
    before = versions()
    run_uv("lock", "--quiet")
    export()
    print("\n".join(changes(before, versions())) or "no version changed")


def upgrade() -> None:
    """Move the lock to the newest allowed versions and commit it."""
    if git("status", "--porcelain"):
        raise LockError("the working tree has changes; commit or stash them: the upgrade is a commit of its own")
    before = versions()
    run_uv("lock", "--quiet", "--upgrade")
    export()
    lines = changes(before, versions())
    if not lines:
        # Only new files of locked versions, which need no commit.
        git("checkout", "--", "uv.lock", "requirements")
        print("everything is as new as pyproject.toml allows")
        return
    print("\n".join(lines), flush=True)
    git("add", "uv.lock", "requirements")
    git("commit", "--quiet", "-m", "deps: upgrade the lock", "-m", "\n".join(lines))
    print(f"committed: {git('log', '-1', '--format=%h %s').strip()}; run make check and make test before you push it")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["check", "update", "upgrade", "sbom", "uv"])
    parser.add_argument("--with-uv", action="store_true", help="check: compare with uv too, if it is on PATH")
    arguments = parser.parse_args()
    try:
        match arguments.what:
            case "check":
                found = check() or (check_with_uv() if arguments.with_uv and uv_on_path() else [])
                if found:
                    raise LockError("\n  ".join(["the lock is not consistent:", *found, "to fix it: make lock"]))
            case "update":
                update()
            case "upgrade":
                upgrade()
            case "sbom":
                print(sbom(), end="")
            case "uv":
                print(find_uv())
    except LockError as error:
        print(f"runstead: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
