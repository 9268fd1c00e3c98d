"""Law 5: ids strictly increase; a resume from any id loses and repeats nothing; a gap is reported, never silent.

This tests the facade's streams; `test_stream_resume` checks the bridge against a model.
"""

from __future__ import annotations

import json
from dataclasses import replace

from runstead.runtime.runs.types import RunId
from runstead.testing.fakes import Step
from runstead.testing.gaps import gap_event_data
from tests.simulation.readers import Reader
from tests.simulation.scenario import CALM, Scenario, a_spec

TALKS = [Step(takes=1, chunks=9) for _ in range(3)]


def as_numbers(ids: list[str]) -> list[tuple[int, int]]:
    return [(int(attempt), int(seq)) for attempt, _, seq in (event_id.partition("-") for event_id in ids)]


def test_reader_cut_anywhere_and_resumed_gets_the_events_of_an_uncut_one(story: Scenario) -> None:
    spec = a_spec(RunId("r1"), *TALKS, stream_modes=("values", "custom"))
    uncut = Reader.of(story, spec)
    story.wait(60)
    whole = [(event.id, event.event, event.data) for event in uncut.events]
    assert len(whole) > 30
    assert as_numbers(uncut.ids) == sorted(set(as_numbers(uncut.ids)))
    for cut in range(len(whole)):
        again = Reader.of(story, RunId("r1"), last_event_id=whole[cut][0])
        story.wait(1)
        assert [(event.id, event.event, event.data) for event in again.events] == whole[cut + 1 :]


def test_reader_cut_fifty_times_during_a_run_misses_nothing(story: Scenario) -> None:
    story.create(a_spec(RunId("r1"), *TALKS, stream_modes=("values", "custom")))
    uncut = Reader.of(story, RunId("r1"))
    pieces: list[str] = []
    for _ in range(50):
        reader = Reader.of(story, RunId("r1"), last_event_id=pieces[-1] if pieces else "-1")
        story.wait(0.07)
        reader.hang_up()
        pieces += reader.ids
    story.wait(60)
    pieces += _rest(story, pieces[-1])
    assert pieces == uncut.ids


def _rest(story: Scenario, last_event_id: str) -> list[str]:
    reader = Reader.of(story, RunId("r1"), last_event_id=last_event_id)
    story.wait(1)
    assert reader.is_done
    return reader.ids


def test_ids_increase_after_a_crash_and_the_loss_is_reported_as_a_gap(story: Scenario) -> None:
    first = Reader.of(story, a_spec(RunId("r1"), *TALKS, stream_modes=("values", "custom")))
    story.wait(1.5)
    story.kill()
    story.start()
    second = Reader.of(story, RunId("r1"), last_event_id=first.ids[-1])
    story.wait(60)
    assert second.is_done
    assert second.names[:3] == ["gap", "values", "metadata"]
    assert json.loads(second.events[0].data) == gap_event_data("r1", first.ids[-1], None, None, "2-0")
    ids = as_numbers(first.ids + second.ids)
    assert ids == sorted(set(ids))
    assert json.loads(second.events[2].data)["attempt"] == 2


def test_reader_slower_than_the_window_gets_the_number_of_missed_events() -> None:
    with Scenario(replace(CALM, window_events=5)) as story:
        slow = Reader.of(story, a_spec(RunId("r1"), *TALKS, stream_modes=("values", "custom")), seconds_per_batch=1.1)
        story.wait(60)
        published = [event.event_id for event in story.durable.witness.published[RunId("r1")]]
        gaps = [json.loads(event.data) for event in slow.events if event.event == "gap"]
        assert gaps
        assert sum(gap["missed"] for gap in gaps) + len(slow.ids) == len(published)
        for gap in gaps:
            assert published.index(gap["to"]) - published.index(gap["from"]) - 1 == gap["missed"]
        assert all(slow.names[place + 1] == "values" for place, name in enumerate(slow.names) if name == "gap"), (
            "a gap is followed by the values as they stand"
        )
        assert slow.ids[-1] == published[-1]


def test_reader_of_a_removed_stream_gets_a_gap_and_the_values(story: Scenario) -> None:
    reader = Reader.of(story, a_spec(RunId("r1"), Step(), Step()))
    story.wait(3600)
    assert story.publish(lambda _: story.kernel.kept_streams()) == []
    late = Reader.of(story, RunId("r1"), last_event_id=reader.ids[1])
    story.wait(1)
    assert late.is_done
    assert late.names == ["gap", "values"]
    assert json.loads(late.events[1].data)["log"] == ["r1.0", "r1.1"]
