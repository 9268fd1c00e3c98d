"""Public names of the package. This is the only list of them: `runtime.lazy_exports` reads it too."""

# ruff: noqa: I001 - one statement for each module

from .bootstrap.application import (
    Application as Application,
)
from .runtime.actor_context import (
    ActorContext as ActorContext,
    acting as acting,
    actor as actor,
)
from .runtime.runs.approval_question import (
    approval as approval,
)
from .runtime.runs.facade import (
    RunsFacade as RunsFacade,
)
from .runtime.runs.message_inbox import (
    atake_messages as atake_messages,
    take_messages as take_messages,
)
from .runtime.runs.secrets import (
    secrets as secrets,
)
from .runtime.runs.steering_middleware import (
    SteeringMiddleware as SteeringMiddleware,
)
from .runtime.runs.types import (
    RunScope as RunScope,
    RunSpec as RunSpec,
)
from .settings import (
    Settings as Settings,
)
from .version import (
    __version__ as __version__,
)
