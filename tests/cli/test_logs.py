"""Log lines of a server about requests of user code."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

CODE = """
    import logging
    from runstead.cli.logs import configure_logging
    from runstead.settings import Settings

    configure_logging(Settings(log_level="{level}"))
    for name in ("httpx", "httpx2", "httpcore.connection", "httpcore2.connection"):
        logging.getLogger(name).debug("%s at debug", name)
        logging.getLogger(name).info("%s at info", name)
        logging.getLogger(name).warning("%s at warning", name)
    logging.getLogger("my.agent").info("the agent at info")
"""


@pytest.mark.parametrize(("level", "has_info"), [("info", False), ("debug", True)])
def test_requests_of_user_code_are_logged_only_at_debug(level: str, has_info: bool) -> None:
    code = dedent(CODE).format(level=level)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stderr
    for name in ("httpx", "httpx2", "httpcore.connection", "httpcore2.connection"):
        assert (f"{name} at info" in said, f"{name} at warning" in said) == (has_info, True)
        assert f"{name} at debug" not in said
    assert "the agent at info" in said
