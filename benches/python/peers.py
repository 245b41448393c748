"""Who is compared in each workload, each as its documentation says: connections kept, pools alike, the body read."""

from __future__ import annotations

import awaited
import batches
import blocking
import clients
import crossing
from calls import Peer
from starting import START

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from calls import Call


class Awaited(Peer):
    """A peer whose calls are awaited."""


def shared(make: Callable[[Call], blocking.Get], threads: int) -> Callable[[Call], list[blocking.Get]]:
    """One client for so many threads."""
    return lambda call: [make(call)] * threads


def apiece(make: Callable[[Call], blocking.Get], threads: int) -> Callable[[Call], list[blocking.Get]]:
    """A client for each thread, where threads may not share one."""
    return lambda call: [make(call) for _ in range(threads)]


ALONE: dict[str, Peer] = {
    "raw socket": Peer("", blocking.raw),
    "pinlink get": Peer("pinlink", blocking.pinlink),
    "pinlink AsyncClient": Awaited("pinlink", awaited.pinlink),
    "pycurl": Peer("pycurl", blocking.curl),
    "http.client": Peer("", blocking.http_client),
    "urllib3": Peer("urllib3", blocking.urllib3),
    "primp": Peer("primp", blocking.primp),
    "pyreqwest": Peer("pyreqwest", blocking.pyreqwest),
    "aiohttp": Awaited("aiohttp", awaited.aiohttp),
    "niquests": Peer("niquests", blocking.session(clients.niquests)),
    "requests": Peer("requests", blocking.session(clients.requests)),
    "requests + pinlink": Peer("requests", blocking.session(clients.requests_on_pinlink)),
    "httpx": Peer("httpx", blocking.httpx(clients.httpx)),
    "httpx + pinlink": Peer("httpx", blocking.httpx(clients.httpx_on_pinlink)),
}
"""One call at a time."""

MANY: dict[str, Peer] = {
    "pinlink map": Peer("pinlink", batches.pinlink_map),
    "pinlink AsyncClient": Peer("pinlink", batches.tasks(awaited.pinlink)),
    "pycurl multi": Peer("pycurl", batches.curl_multi),
    "aiohttp": Peer("aiohttp", batches.tasks(awaited.aiohttp)),
    "httpx AsyncClient": Peer("httpx", batches.tasks(awaited.httpx)),
    "niquests AsyncSession": Peer("niquests", batches.tasks(awaited.niquests)),
    "primp AsyncClient": Peer("primp", batches.tasks(awaited.primp)),
    "pyreqwest Client": Peer("pyreqwest", batches.tasks(awaited.pyreqwest)),
}
"""Many at once, over as many connections."""

HTTP2: dict[str, Peer] = {
    **{name: peer for name, peer in MANY.items() if name != "aiohttp"},
    "niquests multiplexed": Peer("niquests", batches.niquests_multiplexed),
}
"""Many at once, over one connection; aiohttp has no HTTP/2."""

THREADS: dict[str, Peer] = {
    "pinlink, 1 thread": Peer("pinlink", shared(blocking.pinlink, 1)),
    "pinlink, 2 threads": Peer("pinlink", shared(blocking.pinlink, 2)),
    "pinlink, 8 threads": Peer("pinlink", shared(blocking.pinlink, 8)),
    "raw socket, 8 threads": Peer("", apiece(blocking.raw, 8)),
    "pycurl, 8 threads": Peer("pycurl", apiece(blocking.curl, 8)),
    "pyreqwest, 8 threads": Peer("pyreqwest", shared(blocking.pyreqwest, 8)),
    "urllib3, 8 threads": Peer("urllib3", shared(blocking.urllib3, 8)),
}

CROSSING: dict[str, Peer] = {
    "Python call": Peer("", crossing.python),
    "attribute": Peer("pinlink", crossing.attribute),
    "Request": Peer("pinlink", crossing.request),
}
"""Nothing is sent."""

WORKLOADS: dict[str, dict[str, Peer]] = {
    **{workload: ALONE for workload in ("sync", "post", "body", "stream")},
    "many-8": MANY,
    "many-32": {**MANY, "pinlink get, one at a time": Peer("pinlink", batches.one_at_a_time)},
    "many-128": MANY,
    "http2": HTTP2,
    "threads": THREADS,
    "start": START,
    "crossing": CROSSING,
}
