"""Fake model providers and an MCP server: real HTTP servers with the protocols of the real ones.

Responses are scripted by the content of the request (`script`), so that a killed and resumed run gets the same ones
again.
"""
