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
from ._pinlink import (
    Batch,
    Client,
    Key,
    Ledger,
    PinSet,
    Profile,
    Request,
    Response,
    Scope,
    Settled,
    Write,
    Written,
    doctor,
    end_calls,
    forget_calls,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._asynchronous import AsyncClient, AsyncReader
    from ._doctor import Diagnosis
    from ._headers import Headers
    from ._lookup import pinned
    from ._outcome import Outcome
    from ._reader import Reader

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "AsyncReader",
    "Batch",
    "Client",
    "ConfigError",
    "ConnectionError",
    "Diagnosis",
    "Error",
    "Headers",
    "Key",
    "Ledger",
    "Outcome",
    "PinSet",
    "Profile",
    "Reader",
    "Request",
    "Response",
    "Scope",
    "Settled",
    "StatusError",
    "TimeoutError",
    "Write",
    "WriteError",
    "Written",
    "doctor",
    "pinned",
]


# What is imported by the first who asks: it needs modules (asyncio, enum, collections, contextlib) that cost more than
# all the rest.
_LATE = {
    "AsyncClient": "_asynchronous",
    "AsyncReader": "_asynchronous",
    "Diagnosis": "_doctor",
    "Headers": "_headers",
    "Outcome": "_outcome",
    "Reader": "_reader",
    "pinned": "_lookup",
}


def __getattr__(name: str) -> object:
    module = _LATE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(__import__(f"{__name__}.{module}", fromlist=[name]), name)
    globals()[name] = found
    return found


def __dir__() -> "list[str]":
    return sorted({*globals(), *_LATE})


# A daemon thread that comes back to an interpreter that has ended would take the process down with it.
atexit.register(end_calls)
os.register_at_fork(after_in_child=forget_calls)
del atexit, end_calls, forget_calls, os
