"""Metrics and log lines for operators."""
