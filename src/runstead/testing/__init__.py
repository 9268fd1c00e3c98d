"""Tools for tests of the runtime and of third-party adapters. Product code does not import them."""
