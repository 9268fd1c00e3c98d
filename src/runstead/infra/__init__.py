"""Adapters: implementations of the ports of the kernel and of the resources."""
