"""Runs, threads and assistants in SQL: tables, migrations, and a store per port, split by noun."""
