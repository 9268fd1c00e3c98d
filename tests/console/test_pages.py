"""The console's pages in a real Chromium, used as a human would use them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.clients.conftest import Suites
from tests.clients.node import CONSOLE
from tests.clients.suite import titles_of
from tests.environment import machine_environment

from .conftest import Console, OidcConsole

FILES = sorted((CONSOLE / "tests").glob("*.test.mjs"))


class Use(NamedTuple):
    file: Path
    title: str

    @property
    def id(self) -> str:
        return f"{self.file.name.removesuffix('.test.mjs')}: {self.title}"


USES = [Use(file, title) for file in FILES for title in titles_of(file)]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.id)
def test_page(use: Use, suites: Suites, console: Console, browser_url: str, request: pytest.FixtureRequest) -> None:
    chosen = [item.callspec.params.get("use") for item in request.session.items if hasattr(item, "callspec")]
    titles = [each.title for each in chosen if isinstance(each, Use) and each.file == use.file]
    variables = {
        "SERVER_URL": console.url,
        "API_KEY": console.key,
        "OPERATOR_KEY": console.operator_key,
        "READER_KEY": console.reader_key,
        "BROWSER_URL": browser_url,
        # A folder for pictures of the pages, if they are wanted.
        "SCREENSHOTS": machine_environment().get("SCREENSHOTS", ""),
    }
    if use.file.name == "oidc.test.mjs":
        at_issuer: OidcConsole = request.getfixturevalue("oidc_console")
        variables |= {"OIDC_URL": at_issuer.url, "ISSUER": at_issuer.issuer.issuer}
    suites(use.file, variables, titles).check(use.title, use.id)
