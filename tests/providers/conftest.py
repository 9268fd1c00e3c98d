from .fixtures import google_grpc_address, providers

__all__ = ["google_grpc_address", "providers"]
