"""The agents on the embedded profile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.providers.running import Providers

from .catalog import APPS
from .driver import User
from .servers import Site, embedded_site
from .suite import AppSuite


@pytest.fixture(scope="module")
def site(providers: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with embedded_site(tmp_path_factory.mktemp("apps"), providers) as site:
        yield site


class TestEmbedded(AppSuite):
    async def test_cached_task_is_executed_once_and_failed_task_is_retried(
        self, ada: User, providers: Providers
    ) -> None:
        """The cache is per process; each draft fails once before it calls the model."""
        (app,) = [each for each in APPS if each.name == "essay"]
        for _ in range(2):
            assert await ada.run_to_end(app, "essay-cached") == app.expected("ada", "essay-cached")
        asked = [prompt.messages[-1].text for prompt in providers.answers.prompts if "essay-cached" in prompt.text]
        assert asked.count("outline of essay-cached") == 1
        for number in (1, 2):
            assert asked.count(f"draft of echo: outline of essay-cached {number}") == 2
