"""Pure parts of the path of a token and of a run, for a count of instructions; started by `gate` under valgrind.

Each part runs in a process of its own that is forked after the imports, and so does nothing: the difference is what the
part needs. Prints the process id of each part.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping
from typing import Final

from langchain_core.messages import AIMessageChunk

from runstead.runtime.runs.internal.admission import decide
from runstead.runtime.runs.internal.execution.chunks import ChunkEncoder
from runstead.runtime.runs.types import RunId
from runstead.runtime.stream_bridge.contract import StreamEvent
from runstead.wire.sse_frames import frames

TIMES: Final = 2_000


def _nothing() -> Callable[[], object]:
    return lambda: None


def _encode() -> Callable[[], object]:
    encoder = ChunkEncoder(frozenset(("messages-tuple",)))
    metadata = {"langgraph_node": "talk", "langgraph_step": 1, "thread_id": "t", "tags": []}
    chunk = AIMessageChunk(content="word", id="run-1")
    return lambda: list(encoder.encode((), "messages", (chunk, metadata)))


def _frames() -> Callable[[], object]:
    items = [StreamEvent("1-1", "messages", b'[{"content":"word"},{"langgraph_step":1}]')]
    return lambda: frames(items, with_ids=True)


def _admission() -> Callable[[], object]:
    in_flight = [RunId("r-1"), RunId("r-2")]
    return lambda: decide("interrupt", in_flight)


PARTS: Final[Mapping[str, Callable[[], Callable[[], object]]]] = {
    "nothing": _nothing,
    "encode a token": _encode,
    "frame of an event": _frames,
    "admission": _admission,
}


def main() -> None:
    gc.disable()
    for name, part in PARTS.items():
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            do = part()
            do()
            for _ in range(TIMES):
                do()
            os._exit(0)
        os.waitpid(child, 0)
        print(f"{child} {name}", flush=True)


if __name__ == "__main__":
    main()
