"""Who is compared in the workload `start`: a process a turn, which imports no more than it needs."""

from __future__ import annotations

import blocking
import clients
from calls import Peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from calls import Call


def nothing(call: Call) -> blocking.Get:
    return lambda: call.answer


def imported(call: Call) -> blocking.Get:
    import pinlink

    return lambda: call.answer if pinlink else b""


def aiohttp(call: Call) -> blocking.Get:
    import asyncio

    import awaited

    return lambda: asyncio.run(awaited.once(awaited.aiohttp, call))


START: dict[str, Peer] = {
    "empty process": Peer("", nothing),
    "pinlink, imported only": Peer("pinlink", imported),
    "pinlink": Peer("pinlink", blocking.pinlink),
    "pycurl": Peer("pycurl", blocking.curl),
    "http.client": Peer("", blocking.http_client),
    "urllib3": Peer("urllib3", blocking.urllib3),
    "primp": Peer("primp", blocking.primp),
    "pyreqwest": Peer("pyreqwest", blocking.pyreqwest),
    "aiohttp": Peer("aiohttp", aiohttp),
    "niquests": Peer("niquests", blocking.session(clients.niquests)),
    "requests": Peer("requests", blocking.session(clients.requests)),
    "httpx": Peer("httpx", blocking.httpx(clients.httpx)),
}
