"""The commands: what each takes. What it does is imported when it is called: a test keeps ``--help`` instant."""
