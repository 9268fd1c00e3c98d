"""Run as a test sees it after its end: its state, its questions, and its recorded stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runstead.runtime.json_types import JsonMapping, JsonObject

from .recorded_stream import RecordedStream, text_of

if TYPE_CHECKING:
    from .agent_server import AgentServer


@dataclass(frozen=True, slots=True)
class AgentRun:
    """A run that has ended, or waits for a human. ``record`` is the run, ``state`` the state of its thread after it."""

    server: AgentServer = field(repr=False)
    record: JsonMapping
    state: JsonMapping
    stream: RecordedStream

    @property
    def run_id(self) -> str:
        return str(self.record["run_id"])

    @property
    def thread_id(self) -> str:
        return str(self.record["thread_id"])

    @property
    def status(self) -> str:
        """``success`` (also of a run that waits for a human), ``error``, ``interrupted`` or ``timeout``."""
        return str(self.record["status"])

    @property
    def attempts(self) -> int:
        """Number of times that the run was started: one more for each crash."""
        return int(self.record["attempt"])

    @property
    def error(self) -> str | None:
        """The failure in one sentence, such as ``ValueError: no such city``."""
        return self.record.get("error")

    @property
    def values(self) -> JsonObject:
        """The state of the thread."""
        found: JsonObject = self.state.get("values") or {}
        return found

    @property
    def messages(self) -> list[JsonObject]:
        return list(self.values.get("messages") or ())

    @property
    def answer(self) -> str:
        """The text of the last message."""
        return text_of(self.messages[-1].get("content")) if self.messages else ""

    @property
    def questions(self) -> list[object]:
        """Values of the interrupts that wait for an answer."""
        return [one.get("value") for one in self.state.get("interrupts") or ()]

    @property
    def waits_for(self) -> list[str]:
        """Names of the tools that wait for a decision (see HumanInTheLoopMiddleware)."""
        return [str(action.get("name")) for question in self.questions for action in _actions(question)]

    def assert_success(self) -> None:
        """Check that the run has ended without an error, and waits for nothing."""
        if self.status != "success" or self.questions:
            raise AssertionError(f"expected the run to succeed: {self}")

    def assert_waits_for(self, *names: str) -> None:
        """Check that the run waits for a human's decision about tools of these names; without names, for anything."""
        if not self.questions or (names and self.waits_for != list(names)):
            raise AssertionError(f"expected the run to wait for {' and '.join(names) or 'an answer'}: {self}")

    def approve(self) -> AgentRun:
        """Approve all that the run waits for, and return the run that goes on from there."""
        return self._decide({"type": "approve"}, True)

    def reject(self, message: str | None = None) -> AgentRun:
        """Reject all that the run waits for, and return the run that goes on from there."""
        reason = {} if message is None else {"message": message}
        return self._decide({"type": "reject", **reason}, False)

    def resume(self, value: object) -> AgentRun:
        """Answer the question of the run, and return the run that goes on from there."""
        return self.server.run(command={"resume": value}, graph=self._graph, thread_id=self.thread_id)

    def send(self, text: str) -> AgentRun:
        """Send the next message on the same thread, and return the run."""
        return self.server.run(text, graph=self._graph, thread_id=self.thread_id)

    def _decide(self, decision: JsonObject, plain: bool) -> AgentRun:
        self.assert_waits_for()
        answers = {
            one["id"]: {"decisions": [decision] * len(_actions(one.get("value")))}
            if _actions(one.get("value"))
            else plain
            for one in self.state["interrupts"]
        }
        return self.resume(next(iter(answers.values())) if len(answers) == 1 else answers)

    @property
    def _graph(self) -> str:
        return str(self.record["assistant_id"])

    def __str__(self) -> str:
        """Return the run in some lines, for messages of failed assertions."""
        waits = f", waits for {', '.join(self.waits_for) or self.questions}" if self.questions else ""
        failure = f", {self.error}" if self.error else ""
        return f"run {self.run_id} has status {self.status}{waits}{failure}\n{self.stream}"


def _actions(question: object) -> list[JsonObject]:
    found = question.get("action_requests") if isinstance(question, Mapping) else None
    return found if isinstance(found, list) else []
