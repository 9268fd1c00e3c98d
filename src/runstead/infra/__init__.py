"""Adapters: what stands behind the ports of the kernel and of the resources."""
