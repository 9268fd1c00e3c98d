"""Tests of metrics, logs, traces and retention."""
