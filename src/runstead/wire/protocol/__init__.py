"""The event protocol as data: what threads stream to clients, and what clients command. Pure, and without HTTP."""
