"""Command line. Each command imports the modules here that it needs, so that ``--help`` stays fast."""
