"""Web pages in a real Chromium, from this machine and from foreign origins, against a server without authentication."""

from __future__ import annotations

import pytest

from .conftest import Suites
from .node import CLIENTS
from .suite import titles_of

FILE = CLIENTS / "browser" / "origins.test.mjs"


@pytest.mark.parametrize("title", titles_of(FILE))
def test_origins(title: str, suites: Suites, url: str, browser_url: str) -> None:
    suites(FILE, {"SERVER_URL": url, "BROWSER_URL": browser_url}, titles_of(FILE)).check(title)
