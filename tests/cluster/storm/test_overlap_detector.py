"""The detector of concurrent steps finds them, and excuses unavoidable ones."""

from __future__ import annotations

import pytest

from .overlap_detector import Cut, Strain, at_once, steps_by_others, steps_of
from .plan import plan

ONE, OTHER = "thread run-1 1", "thread run-1 2"


def test_concurrent_attempts_are_detected() -> None:
    steps = steps_of([f"begin 1 10 {ONE}", f"begin 2 20 {OTHER}", f"end 3 10 {ONE}", f"end 4 20 {OTHER}"], [])
    assert [(one.attempt, other.attempt) for one, other in at_once(steps)] == [(1, 2)]
    assert steps_by_others(steps) == 1


def test_concurrent_runs_of_a_thread_are_detected_around_a_short_one() -> None:
    lines = ["begin 1 10 t a 1", "begin 2 10 t a 1", "end 3 10 t a 1", "begin 4 20 t b 1", "end 5 20 t b 1"]
    assert len(at_once(steps_of([*lines, "end 6 10 t a 1"], []))) == 1


def test_sequential_steps_and_separate_threads_are_not_concurrent() -> None:
    assert (
        at_once(steps_of([f"begin 1 10 {ONE}", f"end 2 10 {ONE}", f"begin 2 20 {OTHER}", f"end 3 20 {OTHER}"], []))
        == []
    )
    assert at_once(steps_of(["begin 1 1 t a 1", "begin 2 1 u b 1", "end 3 1 t a 1", "end 3 1 u b 1"], [])) == []


def test_step_of_a_process_that_was_killed_ends_with_it() -> None:
    lines = [f"begin 1 10 {ONE}", f"begin 3 20 {OTHER}", f"end 4 20 {OTHER}"]
    assert at_once(steps_of(lines, [Cut(10, 2)])) == []
    assert len(at_once(steps_of(lines, [Cut(10, 3.5)]))) == 1


def test_unended_step_of_an_undisturbed_process_is_an_error() -> None:
    with pytest.raises(ValueError, match="has no end"):
        steps_of([f"begin 1 10 {ONE}"], [Cut(20, 2)])


def test_frozen_process_is_excused_for_a_limited_time() -> None:
    frozen = [Cut(10, 2, 8)]
    lines = [
        f"begin 1 10 {ONE}",
        f"begin 6 20 {OTHER}",
        f"end 8.1 10 {ONE}",
        f"begin 8.2 10 {ONE}",
        f"end 8.3 10 {ONE}",
    ]
    assert at_once(steps_of([*lines, f"end 12 20 {OTHER}"], frozen)) == []
    late = [*lines, f"begin 11 10 {ONE}", f"end 11.5 10 {ONE}", f"end 12 20 {OTHER}"]
    assert len(at_once(steps_of(late, frozen))) == 1


def test_process_without_memory_may_finish_a_step_and_begin_no_other() -> None:
    strains = [Strain(10, 1.5, 6)]
    lines = [f"begin 1 10 {ONE}", f"begin 5 20 {OTHER}", f"end 5.5 10 {ONE}", f"end 7 20 {OTHER}"]
    assert at_once(steps_of(lines, [], strains)) == []
    assert len(at_once(steps_of(lines, [], [Strain(20, 1.5, 6)]))) == 1
    more = [*lines[:3], f"begin 5.6 10 {ONE}", f"end 5.7 10 {ONE}", lines[3]]
    assert len(at_once(steps_of(more, [], strains))) == 1


def test_seed_decides_the_plan() -> None:
    def planned(seed: int) -> object:
        return plan(seed, 600, gateways=2, workers=3, calm=5)

    assert planned(3) == planned(3) != planned(4)


def test_plan_leaves_out_what_is_impossible() -> None:
    lanes = plan(3, 600, gateways=2, workers=3, calm=5, without=["fill postgres"])
    kinds = {harm.kind for lane in lanes for harm in lane}
    assert "freeze postgres" in kinds
    assert "fill postgres" not in kinds
