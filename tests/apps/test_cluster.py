"""The agents on the scaled profile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.providers.running import Providers

from .catalog import APPS, App
from .driver import MODES
from .servers import Site, cluster_site
from .suite import AppSuite


@pytest.fixture(scope="module")
def site(providers: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with cluster_site(tmp_path_factory.mktemp("apps"), providers) as site:
        yield site


class TestCluster(AppSuite):
    def modes(self, app: App) -> Sequence[str]:
        """A third of the modes for each agent, and so each for some: the frames are those of the embedded profile."""
        return MODES[APPS.index(app) % 3 :: 3]
