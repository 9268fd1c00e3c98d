"""A client that handles a gap by reading the state and rejoining from the id in the gap loses nothing and gets no
second gap.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import RunId
from runstead.testing.fakes import Step
from tests.faults.kernel import ALICE
from tests.runtime.test_orphaned_streams import LIMITS, TERM, SpeechlessStorage, read
from tests.simulation.readers import Reader
from tests.simulation.scenario import CALM, Scenario, a_spec

TALKS = [Step(takes=1, chunks=9) for _ in range(3)]
SPEC = a_spec(RunId("r1"), *TALKS, stream_modes=("values", "custom"))


def gaps_of(reader: Reader) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in reader.events if event.event == "gap"]


def rejoined(story: Scenario, gap: dict[str, Any], *, seconds: float = 0) -> Reader:
    """The client's second connection, as opened by DeerFlow's page."""
    story.wait(seconds)
    return Reader.of(story, RunId("r1"), last_event_id=gap["latest_available_event_id"])


def after_a_crash(story: Scenario, last_event_id: str = "-1", *, seconds: float = 0) -> tuple[Reader, Reader]:
    """Return a reader that sees every event of attempt 2, and one that joins with an id of attempt 1."""
    Reader.of(story, SPEC)
    story.wait(1.5)
    story.kill()
    story.start()
    witness = Reader.of(story, RunId("r1"), last_event_id=None)
    story.wait(seconds)
    reader = Reader.of(story, RunId("r1"), last_event_id=last_event_id)
    story.wait(0.1)
    return witness, reader


@pytest.mark.parametrize("seconds", [0, 0.4, 60], ids=["before its first event", "while it streams", "after its end"])
@pytest.mark.parametrize("last_event_id", ["-1", "1-2"])
def test_rejoin_from_the_gap_of_a_lost_log_reads_the_whole_next_attempt(
    story: Scenario, seconds: float, last_event_id: str
) -> None:
    witness, reader = after_a_crash(story, last_event_id, seconds=seconds)
    story.wait(60)
    (gap,) = gaps_of(reader)
    assert gap["code"] == "stream_replay_gap"
    assert gap["recovery"] == "reload_durable_state"
    assert (gap["run_id"], gap["requested_event_id"]) == ("r1", last_event_id)
    again = rejoined(story, gap)
    story.wait(60)
    assert again.is_done
    assert again.events == [event for event in witness.events if event.id]
    assert again.ids[0] == "2-1"
    assert gap["to"] in (None, gap["earliest_available_event_id"])


@pytest.mark.parametrize("key", ["earliest_available_event_id", "latest_available_event_id"])
def test_rejoin_while_the_next_attempt_streams_gets_no_second_gap(story: Scenario, key: str) -> None:
    witness, reader = after_a_crash(story, seconds=0.4)
    (gap,) = gaps_of(reader)
    again = Reader.of(story, RunId("r1"), last_event_id=gap[key])
    story.wait(60)
    assert gaps_of(again) == []
    assert again.ids == [event_id for event_id in witness.ids if event_id != gap[key]]


def test_rejoin_after_the_stream_was_removed_ends_immediately(story: Scenario) -> None:
    Reader.of(story, SPEC)
    story.wait(3600)
    late = Reader.of(story, RunId("r1"), last_event_id="1-2")
    story.wait(1)
    (gap,) = gaps_of(late)
    again = rejoined(story, gap)
    story.wait(1)
    assert again.is_done
    assert again.events == []


def test_rejoin_from_the_gap_of_an_unknown_id_reads_everything(story: Scenario) -> None:
    uncut = Reader.of(story, SPEC)
    story.wait(60)
    reader = Reader.of(story, RunId("r1"), last_event_id="1-9999")
    story.wait(1)
    (gap,) = gaps_of(reader)
    again = rejoined(story, gap)
    story.wait(1)
    assert again.events == uncut.events


def test_rejoin_while_the_window_moves_gets_no_second_gap() -> None:
    with Scenario(replace(CALM, window_events=12)) as story:
        slow = Reader.of(story, SPEC, seconds_per_batch=1.9)
        while not gaps_of(slow):
            story.wait(0.1)
        gap = gaps_of(slow)[0]
        # Two more events move the window before the client reconnects.
        again = rejoined(story, gap, seconds=0.25)
        story.wait(60)
        published = [event.event_id for event in story.durable.witness.published[RunId("r1")]]
        assert gaps_of(again) == []
        assert again.ids == published[published.index(gap["latest_available_event_id"]) + 1 :]


async def test_rejoin_from_the_gap_before_a_reconciled_end_reads_the_end_alone() -> None:
    storage = SpeechlessStorage()
    async with storage.worker(limits=LIMITS) as runs:
        with acting(ALICE):
            await storage.end_unpublished(runs)
            await storage.clock.advance(3 * TERM)
            items = await read(await runs.join_stream(RunId("r1"), last_event_id="-1"))
            (place,) = [place for place, item in enumerate(items) if getattr(item, "event", "") == "gap"]
            gap = json.loads(items[place].data)  # type: ignore[union-attr]
            again = await read(await runs.join_stream(RunId("r1"), last_event_id=gap["latest_available_event_id"]))
    assert again == items[place + 1 :]
