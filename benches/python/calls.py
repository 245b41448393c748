"""What a call asks for and what must come back, by the name of the workload that it is of; and who may make it."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

BODY = b"x" * 100
PAYLOAD = b"p" * 1024
PIECE = 65536
"""How much of a streamed body is asked for at once, where a client wants to know."""

CONNECTIONS = 32
"""A pool has so many places, unless the workload says another number."""
STREAMS = 100
"""That many calls at once are on an HTTP/2 connection."""

LENGTHS = {"body": 65536, "stream": 10 * 1024 * 1024}


class Call:
    """A request of a workload to a URL, whose certificate this CA signed where it has one."""

    def __init__(self, workload: str, url: str, ca: str) -> None:
        self.url = url
        self.ca = ca
        scheme, rest = url.split("://")
        authority, path = rest.split("/", 1)
        self.origin = f"{scheme}://{authority}"
        self.path = "/" + path
        self.host, port = authority.split(":")
        self.port = int(port)
        self.is_tls = scheme == "https"

        self.method = "POST" if workload == "post" else "GET"
        self.payload = PAYLOAD if workload == "post" else None
        self.headers = {"content-type": "application/octet-stream"} if workload == "post" else {}
        self.is_streamed = workload == "stream"
        self.is_http2 = workload == "http2"

        length = LENGTHS.get(workload, len(BODY))
        self.answer: bytes | int = length if self.is_streamed else BODY[:1] * length
        """The body, or how long it is where it is counted while it comes."""

        self.connections = int(workload[len("many-") :]) if workload.startswith("many-") else CONNECTIONS
        self.at_once = self.connections
        if self.is_http2:
            self.connections, self.at_once = 1, STREAMS

    def sent(self, payload: str) -> dict[str, Any]:
        """The arguments for what the request has beside its URL, for a client that has this name for the payload."""
        return {payload: self.payload, "headers": self.headers} if self.payload else {}

    def check(self, answer: object) -> None:
        """Nobody is fast by bringing something else."""
        if answer != self.answer:
            raise ValueError("the body is another one")

    def check_version(self, is_http2: object) -> None:
        """Nobody is measured in the other version of HTTP."""
        if not is_http2:
            raise ValueError("the answer came over the other version of HTTP")


class Peer:
    """Where a peer comes from, none for Python itself, and the function that makes it."""

    def __init__(self, distribution: str, make: Callable[[Call], Any]) -> None:
        self.distribution = distribution
        self.make = make

    def enter(self, folder: str) -> None:
        """Put what it needs on the path; the adapters need pinlink too."""
        for distribution in (self.distribution, "pinlink"):
            sys.path.insert(0, f"{folder}/{distribution}")
