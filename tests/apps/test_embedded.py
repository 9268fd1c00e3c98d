"""The agents on the embedded profile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.providers.running import Providers

from .servers import Site, embedded_site
from .suite import AppSuite


@pytest.fixture(scope="module")
def site(providers: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with embedded_site(tmp_path_factory.mktemp("apps"), providers) as site:
        yield site


class TestEmbedded(AppSuite):
    pass
