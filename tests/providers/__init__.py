"""Fake model providers and an MCP server: real HTTP servers that speak the wire of the real ones.

Answers are scripted by the request's content (`script`), so that a killed and resumed run gets the same answers again.
"""
