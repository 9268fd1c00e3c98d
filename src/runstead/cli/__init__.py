"""The command line. Modules here are imported by the command that needs them, so that ``--help`` stays instant."""
