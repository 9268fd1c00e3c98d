"""Run event stores other than the SQL one, which is with its tables."""
