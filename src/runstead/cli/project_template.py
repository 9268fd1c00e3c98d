"""Files of a new project, as ``runstead init`` writes them."""

from __future__ import annotations

from typing import Final

_AGENT: Final = '''"""An agent with two tools; it asks before it sends anything."""

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from runstead.graphs.scripted import ScriptedChatModel, turns


@tool
def find_address(name: str) -> str:
    """Return the e-mail address of a person."""
    return f"{name.lower()}@example.org"


@tool
def send_mail(to: str, text: str) -> str:
    """Send an e-mail."""
    return f"sent to {to}"


def call(tool_name: str, **args: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": tool_name, "args": args, "id": f"call-{tool_name}"}])


# Follows a script and needs no key. For a real model, replace it by one line, and put its key into .env:
# model = "openai:gpt-5-mini"    (after: pip install langchain-openai)
model = ScriptedChatModel(
    script=turns(
        call("find_address", name="Ada"),
        call("send_mail", to="ada@example.org", text="Hello Ada!"),
        AIMessage("Done: Ada has mail."),
    )
)
agent = create_agent(
    model,
    tools=[find_address, send_mail],
    middleware=[HumanInTheLoopMiddleware(interrupt_on={"send_mail": True})],
)
'''

_TEST: Final = '''"""The agent asks before it sends mail, and sends it once it may."""

from agent import agent


def test_mail_is_sent_after_approval(runstead_agent):
    asked = runstead_agent(agent).run("Greet Ada")
    asked.assert_waits_for("send_mail")
    assert asked.approve().answer == "Done: Ada has mail."


def test_run_survives_a_crash(runstead_agent):
    asked = runstead_agent(agent).run("Greet Ada", crash_before="find_address")
    assert asked.attempts == 2
    asked.stream.assert_order("find_address", "send_mail")
'''

_README: Final = """# An agent on Runstead

```sh
runstead dev                     # serves the graph of langgraph.json, and reloads on changes
runstead run agent "Greet Ada"   # in another terminal; answer y, n or e
runstead approvals ls            # what waits for a human
python -m pytest                 # the agent's tests; needs pytest
```

Keys of a model's provider belong in `.env`: copy `.env.example`. The model is one line of `agent.py`.
"""

FILES: Final = {
    "agent.py": _AGENT,
    "test_agent.py": _TEST,
    "README.md": _README,
    "langgraph.json": '{\n  "graphs": {"agent": "./agent.py:agent"},\n  "dependencies": ["."],\n  "env": ".env"\n}\n',
    ".env.example": "# Copy to .env. The scripted model needs none of these.\nOPENAI_API_KEY=\n",
    ".env": "",
    ".gitignore": ".env\n__pycache__/\n",
}
"""Contents by name."""
