"""What Redis' answer means for the one who gave the orders. Nothing is sent here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, assert_never

from .outbox import Order, Outbox, RunWriter
from .scripts import Applied

_NUMBERED: Final = ("event", "end")

_log = logging.getLogger(__name__)


def hear(outbox: Outbox, writer: RunWriter, orders: Sequence[Order], applied: Applied) -> list[Order]:
    """Bring the writer up to date; gives the orders that have been answered. What is left is said again."""
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
            # Redis came back without it, or it lapsed while this process slept: it goes on behind what is known.
            told = writer.told
            _log.warning("the stream of run %s was lost by Redis; it goes on, and its readers are told", writer.run_id)
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
                # Ended elsewhere: no end of ours will come, for it to be forgotten with.
                outbox.forget(writer)
            return done + late
        case "behind":
            writer.learn(standing)
            writer.renumber(standing.seq)
            return done
        case _:
            assert_never(applied.word)
