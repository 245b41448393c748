"""The exceptions of this package.

Each is an :class:`Error`, and where Python has a word for it a builtin too, so that ``except TimeoutError`` of code
that knows nothing of pinlink catches it. Their text is one line and holds no header value, query or body.
"""

from __future__ import annotations

import builtins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Type

    from ._outcome import Outcome


class _Rejected:
    """The outcome of an error that was given none. ``enum`` is imported by the first who looks."""

    def __get__(self, error: object, owner: object) -> Outcome:
        from ._outcome import Outcome

        return Outcome.REJECTED


class Error(Exception):
    """A failed call, resolution or configuration."""

    kind: str = "Internal"
    """The family, such as ``"Dns"``."""
    reason: str = "Internal.Internal"
    """The finer name, such as ``"Dns.NxDomain"``."""
    phase: str = "configure"
    """Where in the call: configure, queue, resolve, connect, handshake, send, wait or receive."""
    delivery: str = "not sent"
    """Whether the far side may have seen the request: ``"not sent"``, ``"delivery unknown"`` or ``"answered"``."""
    outcome: Outcome = _Rejected()  # type: ignore[assignment]
    """What it says about a write: ``REJECTED`` where it surely had no effect, else ``UNKNOWN``."""
    host: Optional[str] = None
    """Host and port of the target, where known."""
    address: Optional[str] = None
    """The pinned address and port that was in use, where one was."""
    attempts: int = 0
    """How many times the request was tried."""
    elapsed: Optional[float] = None
    """How long the call had taken, in seconds; ``None`` where nothing was tried."""
    status: Optional[int] = None
    """The status of the answer that a write was refused with, if it was."""
    body: Optional[bytes] = None
    """The body of that answer, as far as it was kept (option ``max_error_body``)."""


class TimeoutError(Error, builtins.TimeoutError):
    """A budget of time ran out: of the call, a connection, a look-up, a handshake or a proxy."""


class ConnectionError(Error, builtins.ConnectionError):
    """No connection could be made or kept: kinds Connect, Dns, Proxy and Tls."""


class ConfigError(Error, ValueError):
    """An option or the input is wrong. Nothing was sent, and trying again would not help."""


class WriteError(Error):
    """A write was refused, or may or may not have happened: ``outcome`` says which."""


class StatusError(Error):
    """The target answered with a status of 400 or more, and ``raise_for_status`` was called."""


_CLASSES = {
    "Canceled": Error,
    "Closed": Error,
    "Config": ConfigError,
    "Connect": ConnectionError,
    "Dns": ConnectionError,
    "Internal": Error,
    "Limit": Error,
    "Overloaded": Error,
    "Policy": Error,
    "Protocol": Error,
    "Proxy": ConnectionError,
    "Timeout": TimeoutError,
    "Tls": ConnectionError,
    "Write": WriteError,
}


def class_of(reason: str) -> Type[Error]:
    """Find the class of the errors of this reason, such as ``"Dns.Timeout"``."""
    kind, _, finer = reason.partition(".")
    return TimeoutError if finer == "Timeout" else _CLASSES[kind]
