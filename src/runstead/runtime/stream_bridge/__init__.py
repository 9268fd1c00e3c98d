"""Stream semantics: the contract of the event channel. Adapters live in `runstead.infra.stream_bridge`.

`runstead.runtime` exports the public names.
"""
