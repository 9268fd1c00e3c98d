"""A FastAPI app whose routes start runs in the same server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
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


@app.post("/ask")
async def ask(question: Question, request: Request) -> dict[str, Any]:
    """Run the agent and return its answer alone. Where users log in, pass their credentials on as headers."""
    request.app.state.asked += 1
    messages = [{"role": "user", "content": question.text}]
    async with get_client(url=str(request.base_url), api_key=None) as client:
        values: Any = await client.runs.wait(None, "agent", input={"messages": messages})
    return {"answer": values["messages"][-1]["content"], "asked": request.app.state.asked}
