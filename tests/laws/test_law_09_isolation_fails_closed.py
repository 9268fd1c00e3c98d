"""Law 9: a durable boundary reached without an actor raises; a foreign id looks like a missing one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runstead.runtime.actor_context import ActorContext, ActorRequired
from runstead.runtime.runs.exceptions import RunNotFound, ThreadNotFound
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.types import RunFilter, RunId, ThreadId
from runstead.testing.fakes import Step
from tests.simulation.scenario import Scenario, a_spec

STRANGERS = [ActorContext("a stranger"), ActorContext("other", tenant_id="another house")]

VERBS: dict[str, Callable[[RunsFacade], Awaitable[Any]]] = {
    "get": lambda runs: runs.get_run(RunId("r1")),
    "join_wait": lambda runs: runs.join_wait(RunId("r1")),
    "join_stream": lambda runs: runs.join_stream(RunId("r1"), last_event_id="-1"),
    "cancel": lambda runs: runs.cancel(RunId("r1")),
    "roll back": lambda runs: runs.cancel(RunId("r1"), action="rollback", wait=True),
    "delete": lambda runs: runs.delete_run(RunId("r1")),
    "retry": lambda runs: runs.retry(RunId("r1")),
}
LISTS: dict[str, Callable[[RunsFacade], Awaitable[Any]]] = {
    "list": lambda runs: runs.list_runs(RunFilter()),
    "list a thread": lambda runs: runs.list_runs(RunFilter(thread_id=ThreadId("t1"))),
    "count": lambda runs: runs.count_runs(RunFilter()),
}
CREATIONS: dict[str, Callable[[RunsFacade], Awaitable[Any]]] = {
    "create": lambda runs: runs.create_background(a_spec(RunId("r2"))),
    "batch": lambda runs: runs.create_batch([a_spec(RunId("r2"), thread_id=ThreadId("t2")), a_spec(RunId("r3"))]),
    "stream": lambda runs: runs.create_and_stream(a_spec(RunId("r2"))),
    "to wait": lambda runs: runs.create_to_wait(a_spec(RunId("r2"))),
    "wait": lambda runs: runs.create_and_wait(a_spec(RunId("r2"), multitask_strategy="rollback")),
}


@pytest.mark.parametrize("verb", [*VERBS, *LISTS, *CREATIONS])
def test_call_without_actor_is_refused(story: Scenario, verb: str) -> None:
    story.create(a_spec(RunId("r1"), Step(takes=1)))
    with pytest.raises(ActorRequired):
        story.publish({**VERBS, **LISTS, **CREATIONS}[verb], actor=None)
    story.wait(60)
    assert (story.status(RunId("r1")), story.status(RunId("r2"))) == ("success", None)


@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda actor: f"{actor.tenant_id}/{actor.user_id}")
@pytest.mark.parametrize("verb", VERBS)
def test_foreign_run_looks_like_an_absent_one(story: Scenario, verb: str, stranger: ActorContext) -> None:
    story.create(a_spec(RunId("r1"), Step(takes=1)))
    with pytest.raises(RunNotFound) as foreign:
        story.publish(VERBS[verb], actor=stranger)
    assert str(foreign.value) == str(RunNotFound(RunId("r1")))
    story.wait(60)
    assert story.status(RunId("r1")) == "success"


@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda actor: f"{actor.tenant_id}/{actor.user_id}")
def test_foreign_runs_and_threads_are_not_listed_and_not_written_to(story: Scenario, stranger: ActorContext) -> None:
    story.create(a_spec(RunId("r1")))
    assert story.publish(LISTS["list"], actor=stranger) == []
    assert story.publish(LISTS["list a thread"], actor=stranger) == []
    assert story.publish(LISTS["count"], actor=stranger) == 0
    for creation in CREATIONS.values():
        with pytest.raises(ThreadNotFound):
            story.publish(creation, actor=stranger)
    story.wait(60)
    assert story.status(RunId("r1")) == "success"
    assert [story.status(RunId(run_id)) for run_id in ("r2", "r3")] == [None, None], "half a batch was let in"


def test_run_executes_as_its_creator(story: Scenario) -> None:
    """The actor bound at the place of execution does not matter: here none is bound, and neither in the next
    process.
    """
    creator = ActorContext("creator", tenant_id="house", subject_id="s-1", scopes=frozenset({"write"}))
    story.publish(lambda runs: runs.create_background(a_spec(RunId("r1"), Step(takes=5))), actor=creator)
    story.wait(1)
    story.kill()
    story.start()
    story.wait(60)
    assert story.status(RunId("r1")) == "success"
    assert set(story.durable.witness.told_as) == {creator}
