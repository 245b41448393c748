"""Pins for everything else in the process: what calls ``socket.getaddrinfo`` itself."""

from __future__ import annotations

import contextlib
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, List, Union

    from ._pinlink import Client, PinSet


@contextlib.contextmanager
def pinned(pins: Union[Client, PinSet]) -> Iterator[None]:
    """Have ``socket.getaddrinfo`` answer from these pins, in the whole process, as long as the context lasts.

    For libraries with connections of their own. Names without a pin are looked up as before. It replaces a function of
    the standard library: enter it once, around what needs it.
    """
    known = pins if hasattr(pins, "find") else pins.pins()
    before = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> List[Any]:
        name = host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else host
        addresses = known.find(name.rstrip(".")) if isinstance(name, str) else None
        if not addresses:
            return before(host, port, *arguments, **options)
        found: List[Any] = []
        failed = None
        for address in addresses:
            try:
                found += before(address, port, *arguments, **options)
            except socket.gaierror as error:
                # An address of another family than the one asked for.
                failed = error
        if not found and failed is not None:
            raise failed
        return found

    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        socket.getaddrinfo = before
