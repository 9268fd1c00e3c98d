"""``get_client()`` without a URL, in a node, is a client of the server that runs the node."""

from __future__ import annotations

from typing import Any


def test_a_client_without_url_reaches_the_server_of_its_node(client: Any) -> None:
    called = client.runs.wait(None, "calling", input={})
    assert called["said"] == "1+2j"
    for thread_id in called["thread_ids"]:
        assert client.threads.get(thread_id)["thread_id"] == thread_id
