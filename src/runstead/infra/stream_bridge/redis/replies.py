"""Apply replies of Redis to the buffered writes. Nothing is sent here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, assert_never

from .scripts import Applied
from .write_buffer import Order, Outbox, RunWriter

_NUMBERED: Final = ("event", "end")

_log = logging.getLogger(__name__)


def hear(outbox: Outbox, writer: RunWriter, orders: Sequence[Order], applied: Applied) -> list[Order]:
    """Update the writer after a reply; return the orders that are completed. The others are sent again."""
    done = list(orders[: applied.done])
    outbox.drop(writer, done)
    standing = applied.standing
    match applied.word:
        case "ok":
            writer.learn(standing)
            if standing.terminal is not None:
                writer.ending = True
                if not writer.orders:
                    outbox.forget(writer)
            return done
        case "missing" if writer.told is not None:
            # Redis restarted without it, or it expired while this process slept: continue after the last known event.
            told = writer.told
            _log.warning(
                "the stream of run %s was lost by Redis; it continues, and its readers get a notice of the gap",
                writer.run_id,
            )
            outbox.put_first(
                writer,
                Order("restore", told.attempt, told.seq, str(told.published), told.begun.encode()),
            )
            return done
        case "missing" | "gone":
            left = list(writer.orders)
            outbox.forget(writer)
            return done + left
        case "stale":
            writer.owns = writer.owns and writer.attempt >= standing.attempt
            writer.ending = False
            late = outbox.take_out(writer, lambda order: order.kind in _NUMBERED and order.attempt < standing.attempt)
            writer.learn(standing)
            return done + late
        case "terminated":
            writer.ending = True
            late = outbox.take_out(writer, lambda order: order.kind == "event")
            if not writer.orders:
                # Ended by another process: no terminal event of ours will follow and remove the writer.
                outbox.forget(writer)
            return done + late
        case "behind":
            writer.learn(standing)
            writer.renumber(standing.seq)
            return done
        case _:
            assert_never(applied.word)
