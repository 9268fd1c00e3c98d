"""Delivery of webhooks: address checks, signed POST requests, and retries."""
