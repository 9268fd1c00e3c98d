"""Event protocol as data: the events that threads stream to clients, and the clients' commands. Pure, and without
HTTP."""
