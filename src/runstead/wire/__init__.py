"""The protocol as data, without HTTP: what clients send and get, and how it becomes what the kernel speaks."""
