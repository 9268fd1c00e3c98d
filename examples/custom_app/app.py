"""A FastAPI app whose routes start runs in the same server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from langgraph_sdk import get_client
from pydantic import BaseModel


class Question(BaseModel):
    """The body of POST /ask."""

    text: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Count questions from the server's start to its end."""
    app.state.asked = 0
    yield


app = FastAPI(title="Questions", lifespan=lifespan)
client = get_client()  # of this server


@app.post("/ask")
async def ask(question: Question) -> dict[str, Any]:
    """Run the agent and return only its answer."""
    app.state.asked += 1
    messages = [{"role": "user", "content": question.text}]
    values: Any = await client.runs.wait(None, "agent", input={"messages": messages})
    return {"answer": values["messages"][-1]["content"], "asked": app.state.asked}
