"""Wire protocol as data, without HTTP: requests and responses, and their conversion to and from the kernel's types."""
