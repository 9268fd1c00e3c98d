"""Scheduling of crons."""
