"""Hints to install an extra name the place from which Runstead itself was installed."""

from __future__ import annotations

import json

import pytest

from runstead.installation import command_for, install_command

WHEEL = {"archive_info": {}, "url": "file:///tmp/runstead-0.1.0-py3-none-any.whl"}
CHECKOUT = {"dir_info": {"editable": True}, "url": "file:///home/ada/my%20code"}
COPY = {"dir_info": {}, "url": "file:///home/ada/code"}
GIT = {"vcs_info": {"vcs": "git", "commit_id": "abc"}, "url": "https://example.org/runstead.git"}


@pytest.mark.parametrize(
    ("origin", "installer", "command"),
    [
        (None, "pip\n", "pip install 'runstead[otel]'"),
        (None, "uv", "uv pip install 'runstead[otel]'"),
        (WHEEL, None, "pip install 'runstead[otel] @ file:///tmp/runstead-0.1.0-py3-none-any.whl'"),
        (CHECKOUT, "pip", "pip install -e '/home/ada/my code[otel]'"),
        (COPY, "uv", "uv pip install '/home/ada/code[otel]'"),
        (GIT, "pip", "pip install 'runstead[otel] @ git+https://example.org/runstead.git@abc'"),
    ],
)
def test_command_names_the_origin(origin: object, installer: str | None, command: str) -> None:
    assert command_for(("otel",), json.dumps(origin) if origin else None, installer) == command


def test_command_of_this_installation_is_not_from_an_index() -> None:
    assert " -e " in install_command("postgres", "redis")
    assert "[postgres,redis]" in install_command("postgres", "redis")
