"""The OpenAPI document, tested with random requests: responses are as documented, and no request breaks the server.

Requests are generated from the document by schemathesis: valid ones, and invalid ones of every kind it knows. Half
of them are about an existing thread. They are the same every time, so that a failure is reproducible.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, GenerationMode, HookContext
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.gateway.api import create_api
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings

from .conftest import GRAPHS

EXAMPLES = 10
"""Examples of each operation. There are some sixty operations, and ten seconds for all together."""
ENDLESS = ("/threads/{thread_id}/stream", "/threads/{thread_id}/stream/events")
"""Streams of a thread that last until their reader disconnects."""

schema = schemathesis.openapi.from_dict(create_api(cast(Any, None), authenticator=cast(Any, None)).openapi())
schema.config.phases.coverage.enabled = False
schema.config.phases.examples.enabled = False

real: dict[str, Any] = {}
"""Ids of existing resources, by the names of parameters and fields for them."""


@schema.hook
def flatmap_path_parameters(_: HookContext, given: Any) -> Any:
    if not isinstance(given, dict):
        return st.just(given)
    return st.sampled_from([given, {**given, **{name: real[name] for name in given if name in real}}])


@schema.hook
def flatmap_body(_: HookContext, given: Any) -> Any:
    return st.sampled_from([_soon(given), _soon(given, existing=True)])


def _soon(body: Any, *, existing: bool = False) -> Any:
    """Replace values that would delay runs for a year; insert ids of existing resources."""
    if isinstance(body, list):
        return [_soon(one, existing=existing) for one in body]
    if not isinstance(body, dict):
        return body
    limits = {"after_seconds": 0, "timeout_seconds": 1} if isinstance(body.get("after_seconds"), int | float) else {}
    ours = {name: value for name, value in real.items() if name in body and existing}
    return {**body, **limits, **ours}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server, on its own loop: the requests are sent by a blocking client."""
    place: Path = tmp_path_factory.mktemp("described")
    flags = {"data_dir": place / "data", "port": 0, "shutdown_grace_seconds": 0.1}
    application = Application(load_settings(flags, project=place), read_configuration(GRAPHS))
    found: list[tuple[str, Callable[[], object]]] = []
    started = threading.Event()

    async def serve() -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        try:
            async with serving(application) as url:
                found.append((url, lambda: loop.call_soon_threadsafe(ended.set)))
                started.set()
                await ended.wait()
        finally:
            started.set()

    server = threading.Thread(target=lambda: asyncio.run(serve()))
    server.start()
    started.wait(60)
    ((url, end),) = found
    try:
        yield url
    finally:
        end()
        server.join(60)


@pytest.fixture
def existing(url: str) -> None:
    """A thread with a run and its checkpoints, created for each operation: some of them delete it."""
    with httpx.Client(base_url=url) as http:
        thread_id = http.post("/threads", json={}).json()["thread_id"]
        said = {"messages": [{"role": "human", "content": "hi"}]}
        http.post(f"/threads/{thread_id}/runs/wait", json={"assistant_id": "agent", "input": said})
        http.put("/store/items", json={"namespace": ["n"], "key": "k", "value": {"v": 1}})
        (run,) = http.get(f"/threads/{thread_id}/runs").json()
        state = http.get(f"/threads/{thread_id}/state").json()
    real.update(
        thread_id=thread_id,
        run_id=run["run_id"],
        assistant_id="agent",
        graph_id="agent",
        checkpoint_id=state["checkpoint"]["checkpoint_id"],
        namespace=["n"],
        key="k",
    )


OPERATIONS = [found.ok() for found in schema.exclude(path=list(ENDLESS)).get_all_operations() if isinstance(found, Ok)]


# Not schema.parametrize(): with pytest 9.2 all of its tests have one node id, of which xdist runs one.
@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.label for operation in OPERATIONS])
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.usefixtures("existing")
def test_responses_conform_to_the_openapi_document(
    operation: APIOperation[Any, Any, Any, Any], url: str, data: st.DataObject
) -> None:
    case = data.draw(st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode]))
    case.call_and_validate(
        base_url=url,
        timeout=20,
        checks=[
            schemathesis.checks.not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            response_headers_conformance,
            unsupported_method,
        ],
    )
