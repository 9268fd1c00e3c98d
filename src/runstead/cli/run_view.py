"""View of one run or thread for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from runstead.runtime.json_types import JsonMapping

from .client_command import ServerClient
from .costs import cost_of_run
from .output import Output
from .times import ago, duration_of, moment
from .transcript import compact, text_of

_LONGEST: Final = 400


def show_run(run: JsonMapping, result: object, server: ServerClient) -> None:
    """Print a run with its result; None for a run that has not ended."""
    output, completion = server.output, run.get("completion") or {}
    output.say(f"run {run['run_id']}", style="bold")
    failure, reason = run.get("error"), run.get("cancel_reason")
    status = f"{run['status']}{' (dead letter)' if run.get('dead_letter') else ''}{f' ({reason})' if reason else ''}"
    tokens = f"{completion.get('total_input_tokens', 0)} in, {completion.get('total_output_tokens', 0)} out"
    lines = {
        "status": status,
        "graph": (run.get("metadata") or {}).get("graph_id"),
        "thread": run["thread_id"],
        "assistant": run["assistant_id"],
        "created": f"{moment(run['created_at'])} UTC, {ago(run['created_at'])}",
        "duration": f"{duration_of(run)}, attempt {run.get('attempt')}" if run.get("started_at") else None,
        "tokens": f"{tokens}, {completion['llm_call_count']} model calls" if completion.get("llm_call_count") else None,
        "cost": cost_of_run(run) if completion.get("llm_call_count") else None,
        "error": failure,
        "input": _short((run.get("kwargs") or {}).get("input")),
        "command": _short((run.get("kwargs") or {}).get("command")),
    }
    _show(lines, output)
    _show_values(result, output)
    if run["status"] in ("pending", "running"):
        output.say(f"  watch it: runstead watch {run['run_id']}{server.url_option}", style="dim")


def show_thread(thread: JsonMapping, state: JsonMapping, output: Output) -> None:
    """Print a thread with its latest state."""
    output.say(f"thread {thread['thread_id']}", style="bold")
    metadata = thread.get("metadata") or {}
    lines = {
        "status": thread["status"],
        "graph": metadata.get("graph_id"),
        "created": f"{moment(thread['created_at'])} UTC, {ago(thread['created_at'])}",
        "updated": f"{moment(thread['updated_at'])} UTC, {ago(thread['updated_at'])}",
        "next": ", ".join(state.get("next") or ()) or None,
        "error": _short(thread.get("error")),
        "checkpoint": (state.get("checkpoint") or {}).get("checkpoint_id"),
    }
    _show(lines, output)
    _show_values(state.get("values"), output)
    for question in questions_of(thread.get("interrupts")):
        output.say(f"  waits for: {question}", style="magenta")


def questions_of(interrupts: object) -> list[str]:
    """Return the pending questions of a thread in short form."""
    found = interrupts.values() if isinstance(interrupts, Mapping) else ()
    asked = [one for several in found if isinstance(several, Sequence) for one in several]
    return [question for one in asked for question in _questions(one.get("value"))]


def _questions(value: object) -> list[str]:
    actions = value.get("action_requests") if isinstance(value, Mapping) else None
    if not isinstance(actions, list):
        return [compact(value)]
    return [f"{action.get('name')} {compact(action.get('args'))}" for action in actions]


def first_words(values: object) -> str:
    """Return the first message of a state as one line of text."""
    messages = values.get("messages") if isinstance(values, Mapping) else None
    first = messages[0] if isinstance(messages, list) and messages else None
    return text_of(first.get("content")) if isinstance(first, Mapping) else ""


def _show(lines: JsonMapping, output: Output) -> None:
    for name, value in lines.items():
        if value not in (None, ""):
            output.say(f"  {name:<10} {value}")


def _show_values(values: object, output: Output) -> None:
    if not isinstance(values, Mapping):
        return
    for name, value in values.items():
        if name == "messages" and isinstance(value, list):
            for message in value:
                output.say(f"  {_message(message)}")
        elif name != "__interrupt__":
            output.say(f"  {name:<10} {_short(value)}")


def _message(message: object) -> str:
    if not isinstance(message, Mapping):
        return _short(message) or ""
    calls = ", ".join(f"{call.get('name')} {compact(call.get('args'))}" for call in message.get("tool_calls") or ())
    text = " ".join(text_of(message.get("content")).split()) or (f"calls {calls}" if calls else "")
    return f"{message.get('type', 'message'):<10} {_short(text)}"


def _short(value: object) -> str | None:
    if value is None:
        return None
    text = compact(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
