"""Counters of requests and streams: in this process, or in Redis for all gateways together."""
