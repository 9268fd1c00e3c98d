"""``python -m runstead.cli``: how the command line starts processes of its own."""

from __future__ import annotations

from .main import main

if __name__ == "__main__":
    main()
