"""Nodes get the context described by their graph's schema, and a run without required fields is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.browser import Browser

from .graphs import dict_context

NOTHING: list[dict[str, Any]] = [
    {},
    {"context": None},
    {"context": {}},
    {"context": {"other": 1}},
    {"config": {"configurable": {"other": 1}}},
]
DEFAULTS = "{'user': 'unknown', 'level': 0}"


async def logged(browser: Browser, graph: str, **fields: Any) -> str:
    (line,) = (await browser.wait("", graph, {}, **fields))["log"]
    return str(line)


@pytest.mark.parametrize("fields", NOTHING, ids=str)
@pytest.mark.parametrize(
    ("graph", "kind"),
    [
        ("model_context", "ModelContext"),
        ("data_context", "DataContext"),
        ("context_below", "ModelContext"),
        ("context_sent", "DataContext"),
    ],
)
async def test_context_without_values_has_the_schemas_defaults(
    browser: Browser, graph: str, kind: str, fields: dict[str, Any]
) -> None:
    assert await logged(browser, graph, **fields) == f"{kind} {DEFAULTS}"


async def test_context_of_a_typed_dict_has_the_given_values(browser: Browser) -> None:
    assert await logged(browser, "dict_context", context={"user": "ada", "other": 1}) == "dict {'user': 'ada'}"


@pytest.mark.parametrize("fields", NOTHING, ids=str)
@pytest.mark.parametrize("context", [None, {}], ids=str)
async def test_context_of_a_typed_dict_is_none_without_values_as_langgraph_has_it(
    browser: Browser, fields: dict[str, Any], context: Any
) -> None:
    (without_server,) = (await dict_context.ainvoke({}, context=context))["log"]
    assert await logged(browser, "dict_context", **fields) == without_server == "NoneType None"


@pytest.mark.parametrize("graph", ["model_context", "data_context"])
async def test_context_is_merged_from_assistant_configurable_and_request(browser: Browser, graph: str) -> None:
    body = {"graph_id": graph, "context": {"user": "bob"}}
    assistant = (await browser.post("/assistants", body))["assistant_id"]
    assert await logged(browser, assistant) == await logged(browser, assistant, context={"level": 0})
    assert "'user': 'bob', 'level': 2" in await logged(browser, assistant, context={"level": 2})
    assert "'user': 'ada'" in await logged(browser, assistant, config={"configurable": {"user": "ada", "x": 1}})


@pytest.mark.parametrize("graph", ["model_keys", "data_keys", "dict_keys", "no_schema_keys"])
async def test_configurable_mirrors_fitting_context_keys(browser: Browser, graph: str) -> None:
    """As on the reference server: keys that a client puts into configurable itself stay there."""
    has_schema = graph != "no_schema_keys"

    async def keys(of: str = graph, **fields: Any) -> list[str]:
        found: list[str] = (await browser.wait("", of, {}, **fields))["log"]
        return found

    assert await keys(context={"user": "ada", "other": 1}) == (["user"] if has_schema else ["user", "other"])
    assert await keys(context={"other": 1}) == ([] if has_schema else ["other"])
    assert await keys(config={"configurable": {"user": "ada", "other": 1}}) == ["user", "other"]
    body = {"graph_id": graph, "context": {"user": "ada", "other": 1}}
    assistant = (await browser.post("/assistants", body))["assistant_id"]
    assert await keys(assistant) == ["user", "other"]


@pytest.mark.parametrize("graph", ["model_needs", "data_needs"])
@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        *((nothing, "'user', 'tenant'") for nothing in NOTHING),
        ({"context": {"user": "ada"}}, "'tenant'"),
        ({"config": {"configurable": {"tenant": "t"}}}, "'user'"),
    ],
    ids=str,
)
async def test_run_without_required_context_is_refused_with_the_names(
    browser: Browser, graph: str, fields: dict[str, Any], missing: str
) -> None:
    thread = await browser.new_thread()
    body = {"assistant_id": graph, "input": {}, **fields}
    for path in (f"{thread}/runs", f"{thread}/runs/wait", "/runs/stream", "/runs/crons", f"{thread}/runs/crons"):
        sent = {**body, "schedule": "0 0 1 1 *"} if path.endswith("crons") else body
        answer = await browser.http.post(path, json=sent)
        assert (answer.status_code, f"requires {missing};" in answer.text) == (422, True), answer.text
    batch = [{"assistant_id": "model_context", "input": {}}, body]
    assert (await browser.http.post("/runs/batch", json=batch)).status_code == 422
    params = {**fields, "assistant_id": graph, "input": {}}
    refused = await browser.post(f"{thread}/commands", {"id": 1, "method": "run.start", "params": params})
    assert (refused["error"], f"requires {missing};" in refused["message"]) == ("invalid_argument", True)
    assert await browser.get("/runs") == []


@pytest.mark.parametrize("graph", ["model_needs", "data_needs", "made_needs"])
async def test_run_with_required_context_has_it(browser: Browser, graph: str) -> None:
    line = await logged(browser, graph, context={"user": "ada", "tenant": "t", "other": 1})
    assert line.endswith(" {'user': 'ada', 'tenant': 't', 'level': 0}")


async def test_run_of_a_made_graph_without_required_context_fails_with_the_names(browser: Browser) -> None:
    failed = await browser.wait("", "made_needs", {})
    assert "'user' and 'tenant'" in failed["__error__"]["message"]


async def test_answer_needs_no_context_of_its_own(browser: Browser) -> None:
    for by_event_protocol in (False, True):
        thread = await browser.new_thread()
        context = {"user": "ada", "tenant": "t"}
        (interrupt,) = (await browser.wait(thread, "needs_and_asks", {}, context=context))["__interrupt__"]
        if by_event_protocol:
            params = {"interrupt_id": interrupt["id"], "response": "yes"}
            command = {"id": 1, "method": "input.respond", "params": params}
            run_id = (await browser.post(f"{thread}/commands", command))["result"]["run_id"]
            answered = await browser.get(f"{thread}/runs/{run_id}/join")
        else:
            answered = await browser.wait(thread, "needs_and_asks", None, command={"resume": "yes"})
        assert answered["log"] == ["yes ada"]


async def test_context_with_a_value_of_the_wrong_type_fails_with_the_field(browser: Browser) -> None:
    failed = await browser.wait("", "model_context", {}, context={"level": "many"})
    assert "level" in failed["__error__"]["message"]
