"""Event ids and modes of a thread's stream, as older clients know it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from runstead.wire.errors import Unprocessable
from runstead.wire.thread_stream import Place, thread_modes_of

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def test_positions_are_ordered_like_events() -> None:
    begin = Place.at(NOON)
    places = [
        Place.parse("-1"),
        begin,
        begin.of_log("1-1"),
        begin.of_log("1-2"),
        begin.of_log("1-10"),
        begin.of_log("2-1"),
        begin.end(2),
        Place.at(NOON.replace(microsecond=1)),
    ]
    assert all(one < other for one, other in pairwise(places))  # type: ignore[operator]


def test_position_is_parsed_from_text() -> None:
    place = Place.at(NOON).of_log("3-17")
    assert place is not None
    assert Place.parse(str(place)) == place
    assert place.log_id == "3-17"
    assert Place.at(NOON).end(1).is_end
    assert not place.is_end


@pytest.mark.parametrize("text", ["", "1", "1-2", "a-b-c", "1-2-3-4", "1-2--3", "9" * 30 + "-1-1", "\uff11-1-1"])
def test_invalid_position_text_is_none(text: str) -> None:
    assert Place.parse(text) is None


def test_entry_without_an_id_has_no_position() -> None:
    assert Place.at(NOON).of_log("") is None


@pytest.mark.parametrize(
    ("parameters", "modes"),
    [
        ((None, None), {"run_modes"}),
        ((["lifecycle"], None), {"lifecycle"}),
        ((None, ["run_modes,lifecycle,state_update"]), {"run_modes", "lifecycle", "state_update"}),
        ((["run_modes", "state_update"], ["lifecycle"]), {"run_modes", "lifecycle", "state_update"}),
        ((['["lifecycle","state_update"]'], None), {"lifecycle", "state_update"}),
    ],
)
def test_modes_are_parsed_in_every_client_form(
    parameters: tuple[list[str] | None, list[str] | None], modes: set[str]
) -> None:
    assert thread_modes_of(*parameters) == modes


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(Unprocessable, match="'values' is not one of run_modes, lifecycle, state_update"):
        thread_modes_of(["values"], None)
