"""Agent of ``runstead demo``: it looks up an invoice, asks a human before it pays, and reports.

A normal LangChain agent; only its model is scripted. Serve it with ``runstead dev runstead.graphs.demo:agent``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, InterruptOnConfig
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_stream_writer

from runstead.runtime.json_types import JsonObject

from .scripted import ScriptedChatModel

INVOICES: Final = {
    "2041": {"supplier": "Aurora Paper Mill", "amount": 1280.50, "currency": "EUR", "due": "2026-12-01"},
    "2042": {"supplier": "Borealis Cloud", "amount": 96.00, "currency": "EUR", "due": "2026-11-30"},
}
DEFAULT_INVOICE: Final = "2041"
TOKEN_SECONDS: Final = 0.04


@tool
def lookup_invoice(number: str) -> str:
    """Find an open invoice by its number."""
    # Visible in the stream as a custom event, so that readers can count the actual executions of the tool.
    get_stream_writer()({"tool": "lookup_invoice", "number": number})
    return json.dumps({"number": number, **INVOICES.get(number, INVOICES[DEFAULT_INVOICE])})


@tool
def send_payment(number: str, supplier: str, amount: float, currency: str) -> str:
    """Pay an invoice. Cannot be undone."""
    get_stream_writer()({"tool": "send_payment", "number": number})
    return json.dumps({"status": "paid", "reference": f"PAY-{number}", "amount": amount, "currency": currency})


def agent(config: RunnableConfig) -> Any:
    """Return the demo agent for one run; ``configurable.token_seconds`` sets its speed."""
    pace = float(config.get("configurable", {}).get("token_seconds", TOKEN_SECONDS))
    approval = InterruptOnConfig(allowed_decisions=["approve", "edit", "reject"], description="Approve the payment.")
    return create_agent(
        ScriptedChatModel(script=next_message, delay=pace),
        tools=[lookup_invoice, send_payment],
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"send_payment": approval})],
        name="demo",
    )


def next_message(history: Sequence[BaseMessage]) -> AIMessage:
    """Return the model's message after ``history``: the script of the demo."""
    asked = max((place for place, message in enumerate(history) if isinstance(message, HumanMessage)), default=0)
    results = [message for message in history[asked:] if isinstance(message, ToolMessage)]
    if not results:
        return _look_up(_number_in(history[asked].text if history else ""), len(history))
    last = results[-1]
    if last.name == "lookup_invoice":
        return _ask_to_pay(json.loads(last.text), len(history))
    return _report(last)


def _look_up(number: str, turn: int) -> AIMessage:
    return AIMessage(
        f"I will look up invoice {number} before anything is paid.",
        tool_calls=[{"name": "lookup_invoice", "args": {"number": number}, "id": f"call-{turn}"}],
    )


def _ask_to_pay(invoice: JsonObject, turn: int) -> AIMessage:
    paying = {name: invoice[name] for name in ("number", "supplier", "amount", "currency")}
    return AIMessage(
        f"Invoice {invoice['number']} from {invoice['supplier']} is open: "
        f"{invoice['amount']:.2f} {invoice['currency']}, due on {invoice['due']}. "
        "The supplier is known to us, the amount agrees with the order, and it has not been paid yet. "
        "I am preparing the payment now. A payment cannot be undone, "
        "so a human has to approve this step before I take it.",
        tool_calls=[{"name": "send_payment", "args": paying, "id": f"call-{turn}"}],
    )


def _report(result: ToolMessage) -> AIMessage:
    # The middleware responds in the tool's place if a human has refused.
    if result.status == "error":
        return AIMessage("Understood: the payment was refused, so nothing was paid. The invoice stays open.")
    # An edited call is announced before the result.
    paid = json.loads(result.text[result.text.rindex("{") :])
    return AIMessage(
        f"Done. {paid['amount']:.2f} {paid['currency']} were paid after your approval; "
        f"the reference is {paid['reference']}. The invoice is closed."
    )


def _number_in(text: str) -> str:
    return next((number for number in INVOICES if number in text), DEFAULT_INVOICE)
