"""Run event stores other than the SQL one, which lives with its tables."""
