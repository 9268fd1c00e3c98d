"""The conformance suite of the StreamBridge port; it covers each sentence of its contract.

```python
class TestMyBridge(StreamBridgeConformance):
    @pytest.fixture
    async def bridge(self) -> AsyncIterator[StreamBridge]: ...   # started, set to the suite's terms, closed afterwards

    async def let_pass(self, seconds: float) -> None: ...
```
The terms (window, retention, ...) are class attributes of `StreamBridgeTerms`; an adapter that cannot be given a clock
makes the times short and lets them pass for real.
"""

from __future__ import annotations

from .stream_keeping import StreamKeeping, StreamReaders
from .stream_publishing import StreamPublishing
from .stream_resuming import StreamResuming


class StreamBridgeConformance(StreamPublishing, StreamResuming, StreamReaders, StreamKeeping):
    """The suite of StreamBridge. Subclass it, and provide ``bridge`` and a way to let time pass."""
