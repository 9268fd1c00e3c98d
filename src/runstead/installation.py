"""Installation of this package: the command that adds an extra to it, from where it was installed itself."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import distribution
from urllib.parse import urlsplit
from urllib.request import url2pathname


def install_command(*extras: str) -> str:
    """Return the command that installs ``extras`` of Runstead into this environment."""
    package = distribution("runstead")
    return command_for(extras, package.read_text("direct_url.json"), package.read_text("INSTALLER"))


def command_for(extras: tuple[str, ...], direct_url: str | None, installer: str | None) -> str:
    """Return the command for a package with these records of its installation (PEP 610, PEP 627).

    A package that came from a file, a checkout or a repository is not taken from an index, which may not have it.
    """
    # Environments that uv makes have no pip.
    program = "uv pip install" if (installer or "").strip() == "uv" else "pip install"
    wanted = f"[{','.join(extras)}]"
    origin = json.loads(direct_url) if direct_url else {}
    url = str(origin.get("url") or "")
    if "dir_info" in origin:
        editable = " -e" if origin["dir_info"].get("editable") else ""
        return f"{program}{editable} {shlex.quote(url2pathname(urlsplit(url).path) + wanted)}"
    if vcs := origin.get("vcs_info"):
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    return f"{program} {shlex.quote(f'runstead{wanted} @ {url}' if url else f'runstead{wanted}')}"
