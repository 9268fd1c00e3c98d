"""Expectations for the agents of ``project/``: their inputs, a human's answers, and the required results.

Every text is unique; each agent carries it from its input into its output.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Interrupts = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class App:
    """One agent. ``calls`` is the number of model calls that a run makes before it ends or is interrupted."""

    name: str
    graph: str
    calls: int
    input: Callable[[str], Any]
    expected: Callable[[str, str], Any]
    """Maps the user and the text to the value that `result` has to find."""
    result: Callable[[Any], Any]
    answers: Callable[[Interrupts], Any] | None = None
    interrupts: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Additional fields of the request for a run."""
    outputs: frozenset[str] | None = None
    """The only channels in the output."""
    is_parallel: bool = False
    """True if parts of it run in parallel, in no fixed order."""

    def __str__(self) -> str:
        return self.name


def said(text: str, *script: str) -> dict[str, Any]:
    """Return a human's message with a script for the model."""
    lines = "\n".join(script)
    return {"messages": [{"role": "user", "content": f"{text} <script>\n{lines}\n</script>"}]}


def last_text(values: Any) -> str:
    """Return the text of the last message."""
    content = values["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)


def _react(text: str) -> Any:
    return said(text, 'call search {"query": "{input}"}', "say {tool} for {input}")


def _found(results: int) -> Callable[[str, str], str]:
    return lambda user, text: f"{json.dumps({'query': text, 'results': results})} for {text}"


def _memory(text: str) -> Any:
    memory = {"content": "{input} likes tea", "context": "a chat"}
    return said(text, f"call upsert_memory {json.dumps(memory)}", "say {input}: {tag:memories}")


def _deep(text: str) -> Any:
    research = '{input} in depth <script>\ncall internet_search {"query": "{input}"}\nsay {tool}\n</script>'
    review = "{input} again <script>\nsay {input} is good\n</script>"
    return said(
        text,
        'call write_todos {"todos": [{"content": "find {input}", "status": "in_progress"}]}',
        f"call task {json.dumps({'description': research, 'subagent_type': 'researcher'})}",
        f"also task {json.dumps({'description': review, 'subagent_type': 'critic'})}",
        'call write_file {"file_path": "/report.md", "content": "{tools}"}',
        'call read_file {"file_path": "/report.md"}',
        "say {tool}",
    )


def _deep_result(values: Any) -> Any:
    (report,) = values["files"].values()
    text = report["content"] if isinstance(report["content"], str) else "\n".join(report["content"])
    return {
        "file": text.partition("; ")[2],
        "said": last_text(values).partition("; ")[2],
        "todos": [todo["content"] for todo in values["todos"]],
    }


def _deep_expected(user: str, text: str) -> Any:
    found = f"found {text} in depth; {text} again is good"
    return {"file": found, "said": found, "todos": [f"find {text}"]}


def _email(text: str) -> Any:
    script = [
        'call write_email {"to": "eve", "subject": "{input}"}',
        'also schedule_meeting {"day": "Monday"}',
        'also check_calendar {"day": "Tuesday"}',
        "say {input}: {tools}",
    ]
    return {"email_input": {"subject": text, "body": said(text, *script)["messages"][0]["content"]}}


def _email_answers(interrupts: Interrupts) -> Any:
    answers: dict[str, Any] = {}
    for each in interrupts:
        call = each["value"]
        if call["name"] == "write_email":
            edited = {"name": "write_email", "args": {**call["args"], "to": "ada"}}
            answers[each["id"]] = {"type": "edit", "edited_action": edited}
        else:
            answers[each["id"]] = {"type": "reject", "message": "not on Mondays"}
    return answers


def _email_result(values: Any) -> Any:
    tools = {message["name"]: message["content"] for message in values["messages"] if message["type"] == "tool"}
    return {
        "sent": tools["write_email"].splitlines()[-1],
        "refused": "not on Mondays" in tools["schedule_meeting"],
        "looked": tools["check_calendar"],
        "kind": values["classification"],
        "said": last_text(values).partition(":")[0],
    }


def _email_expected(user: str, text: str) -> Any:
    sent = f"sent {text} to ada"
    return {"sent": sent, "refused": True, "looked": "Tuesday is free", "kind": "respond", "said": text}


def _supervisor(text: str) -> Any:
    question = json.dumps({"question": "{input} <script>\nsay re {input}\n</script>"})
    return said(text, f"call ask_reactor {question}", 'also ask_counter {"name": "{input}"}', "say {tools}")


def _lead(text: str) -> Any:
    task = json.dumps({"description": "a look", "prompt": "{input}"})
    return said(text, f"call task {task}", 'also present_file {"path": "/{input}.md"}', "say {tools}")


def _lead_result(values: Any) -> Any:
    return {
        "said": last_text(values),
        "title": values.get("title"),
        "artifacts": values["artifacts"],
        "workspace": values["thread_data"]["workspace_path"].startswith("/threads/"),
    }


def _lead_expected(user: str, text: str) -> Any:
    files = [f"/{text}.md"]
    return {"said": f"all about {text}; shown", "title": f"About {text}", "artifacts": files, "workspace": True}


def _clarify(text: str) -> Any:
    return said(text, 'call ask_clarification {"question": "which {input}?"}', "say never")


def _essay_expected(user: str, text: str) -> Any:
    drafts = [f"echo: draft of echo: outline of {text} {number}" for number in (1, 2)]
    return {"essay": " / ".join(drafts), "verdict": "yes", "number": 1}


def _visits_expected(user: str, text: str) -> Any:
    return {"page": text, "visits": 1, "cached": 1, "greeting": f"echo: welcome {user} to {text}"}


APPS: Final = (
    App("react", "react", 2, _react, _found(10), last_text),
    App(
        "react-context",
        "react",
        2,
        _react,
        _found(3),
        last_text,
        fields={"context": {"max_search_results": 3, "model": "anthropic/claude-sonnet-4"}},
    ),
    App(
        "research",
        "research",
        11,
        lambda text: {"messages": [{"role": "user", "content": text}]},
        lambda user, text: {"report": f"Report on {_findings(text)}", "said": f"Report on {_findings(text)}"},
        lambda values: {"report": values["final_report"], "said": last_text(values)},
        outputs=frozenset({"messages", "final_report"}),
        is_parallel=True,
    ),
    App(
        "memory",
        "memory",
        2,
        _memory,
        lambda user, text: f"{text}: {text} likes tea",
        last_text,
        fields={"context": {"max_memories": 1}},
    ),
    App("email", "email", 2, _email, _email_expected, _email_result, _email_answers, interrupts=2, is_parallel=True),
    App("deep", "deep", 8, _deep, _deep_expected, _deep_result, is_parallel=True),
    App(
        "supervisor",
        "supervisor",
        4,
        _supervisor,
        lambda user, text: f"re {text}; echo: welcome {user} to {text}",
        last_text,
        is_parallel=True,
    ),
    App("lead", "lead", 5, _lead, _lead_expected, _lead_result, is_parallel=True),
    App("clarify", "lead", 2, _clarify, lambda user, text: f"which {text}?", last_text),
    App(
        "essay",
        "essay",
        3,
        lambda text: {"topic": text},
        _essay_expected,
        lambda values: values,
        lambda interrupts: "yes",
        interrupts=1,
        is_parallel=True,
    ),
    App("visits", "visits", 1, lambda text: {"page": text}, _visits_expected, lambda values: values),
)


def _findings(text: str) -> str:
    topics = [f"{text} {time}, {side}" for time in ("past", "future") for side in ("for", "against")]
    return "\n".join([f"all about {text}:", *sorted(f"found {topic}" for topic in topics)])
