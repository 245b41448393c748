"""pinlink: connections for code that runs inside MaxCompute jobs.

Every declared host is resolved once, connections go to the pinned address with the name kept for SNI, ``Host`` and the
certificate, there are few of them, and every wait is bounded.

    >>> import pinlink
    >>> with pinlink.Client(hosts=["https://kms.example"], max_connections=8) as client:  # doctest: +SKIP
    ...     key = client.get("https://kms.example/keys/7").raise_for_status().json()
"""

import atexit
import os

from ._errors import ConfigError, ConnectionError, Error, StatusError, TimeoutError, WriteError
from ._headers import Headers
from ._outcome import Outcome
from ._pinlink import (
    Batch,
    Client,
    Key,
    PinSet,
    Profile,
    Request,
    Response,
    Scope,
    Write,
    Written,
    end_calls,
    forget_calls,
)
from ._reader import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._asynchronous import AsyncClient, AsyncReader
    from ._lookup import pinned

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "AsyncReader",
    "Batch",
    "Client",
    "ConfigError",
    "ConnectionError",
    "Error",
    "Headers",
    "Key",
    "Outcome",
    "PinSet",
    "Profile",
    "Reader",
    "Request",
    "Response",
    "Scope",
    "StatusError",
    "TimeoutError",
    "Write",
    "WriteError",
    "Written",
    "pinned",
]


def __getattr__(name: str) -> object:
    # Importing asyncio costs more than all the rest, and few want it; so does what `pinned` needs.
    if name in ("AsyncClient", "AsyncReader"):
        from . import _asynchronous

        return getattr(_asynchronous, name)
    if name == "pinned":
        from ._lookup import pinned

        return pinned
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# A daemon thread that comes back to an interpreter that has ended would take the process down with it.
atexit.register(end_calls)
os.register_at_fork(after_in_child=forget_calls)
del atexit, end_calls, forget_calls, os
