"""Runs, threads and assistants in SQL: tables, migrations, and one store per port, split by noun."""
