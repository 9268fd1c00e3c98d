"""Entry point ``python -m runstead.cli``, with which the command line starts its own processes."""

from __future__ import annotations

from .main import main

if __name__ == "__main__":
    main()
