"""Definitions of the commands and their options. Implementations are imported on call; a test keeps ``--help`` fast."""
