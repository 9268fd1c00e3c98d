"""Recover from lost workers and from lost replies of the database."""
