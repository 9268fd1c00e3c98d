"""Crons meet the clock here."""
