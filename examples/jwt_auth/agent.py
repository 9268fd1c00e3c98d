"""A graph that greets the user who is logged in."""

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph


def greet(state: MessagesState, config: RunnableConfig) -> dict[str, list[AIMessage]]:
    """Answer with the name in the token; clients cannot set this key."""
    return {"messages": [AIMessage(f"Hello, {config['configurable']['langgraph_auth_user_id']}.")]}


agent = StateGraph(MessagesState).add_node(greet).add_edge(START, "greet").compile(name="jwt_auth")
