"""Database and Redis engines: open, check and close them. The callers decide what is stored in them."""
