"""A short fuzzing of each target, with the same examples every time; ``make fuzz`` is the long one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .driver import Report, fuzz
from .suite import TARGETS, world_and_targets
from .target import Target
from .world import World

EXAMPLES = 40
"""Examples of each target."""
SEED = 1


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, dict[str, Target]]]:
    with world_and_targets(tmp_path_factory.mktemp("fuzzed")) as (world, targets):
        yield world, {target.name: target for target in targets}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
def test_target_shows_no_fault(name: str, fuzzed: tuple[World, dict[str, Target]]) -> None:
    world, targets = fuzzed
    report = Report()
    fuzz([targets[name]], report, number=SEED, check=world.check, batches=1, examples=EXAMPLES)
    assert report.examples[name] >= EXAMPLES // 2
    assert not report.faults, str(report)
