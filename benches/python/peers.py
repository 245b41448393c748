"""Who is compared, each used as its documentation says: connections kept and pooled alike, the body read.

A peer is imported by the function that makes it: a process holds one of them only.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    Get = Callable[[], bytes]
    Batch = Callable[[int], None]
    Opened = tuple[Callable[[], Awaitable[bytes]], Callable[[], Awaitable[Any]]]

BODY = b"x" * 100
CONNECTIONS = 32
LOOPBACK = "127.0.0.0/8"


class Peer:
    """Where a peer comes from, and the function that makes it; none for nothing."""

    def __init__(self, distribution: str, make: Callable[[str, str], Any]) -> None:
        self.distribution = distribution
        self.make = make


def enter(folder: str, peer: Peer) -> None:
    """Put what the peer needs on the path; the adapters need pinlink too."""
    for distribution in (peer.distribution, "pinlink"):
        sys.path.insert(0, f"{folder}/{distribution}")


def parts(url: str) -> tuple[bool, str, int]:
    """Whether it is TLS, host and port."""
    scheme, rest = url.split("://")
    host, port = rest.split("/")[0].split(":")
    return scheme == "https", host, int(port)


def origin(url: str) -> str:
    return url.rsplit("/", 1)[0]


def raw(url: str, ca: str) -> Get:
    """The least that is an exchange: one write, and reads until the announced body is there."""
    import socket
    import ssl

    tls, host, port = parts(url)
    stream = socket.create_connection(("127.0.0.1", port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        stream = ssl.create_default_context(cafile=ca).wrap_socket(stream, server_hostname=host)
    request = f"GET /answer HTTP/1.1\r\nhost: {host}:{port}\r\nuser-agent: raw/1.0\r\naccept: */*\r\n\r\n".encode()
    send, receive = stream.sendall, stream.recv

    def get() -> bytes:
        send(request)
        got = receive(4096)
        while True:
            head = got.find(b"\r\n\r\n")
            if head >= 0:
                at = got.index(b"Content-Length: ") + 16
                end = head + 4 + int(got[at : got.index(b"\r", at)])
                if len(got) >= end:
                    return got[head + 4 : end]
            more = receive(4096)
            if not more:
                raise ConnectionError("the server closed the connection")
            got += more

    return get


def options(url: str, ca: str, connections: int = CONNECTIONS) -> dict[str, Any]:
    """Those of a client of ours."""
    tls = parts(url)[0]
    more: dict[str, Any] = {"pins": {"localhost": "127.0.0.1"}, "ca_file": ca} if tls else {}
    return {
        "hosts": [origin(url)],
        "allow_addresses": LOOPBACK,
        "max_connections": connections,
        "max_connections_per_origin": connections,
        "summary": "off",
        **more,
    }


def pinlink_get(url: str, ca: str) -> Get:
    import pinlink

    get = pinlink.Client(**options(url, ca)).get
    return lambda: get(url).content


def imported(_url: str, _ca: str) -> Get:
    import pinlink

    return lambda: BODY if pinlink else b""


def http_client(url: str, ca: str) -> Get:
    import http.client

    tls, host, port = parts(url)
    if tls:
        import ssl

        context = ssl.create_default_context(cafile=ca)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, context=context)
    else:
        connection = http.client.HTTPConnection(host, port)

    def get() -> bytes:
        connection.request("GET", "/answer")
        return connection.getresponse().read()

    return get


def requests_session(url: str, ca: str) -> Get:
    import requests

    session = requests.Session()
    session.trust_env = False
    session.verify = ca
    return lambda: session.get(url).content


def requests_on_pinlink(url: str, ca: str) -> Get:
    import requests
    from pinlink.adapters.requests import PinlinkAdapter

    session = requests.Session()
    session.trust_env = False
    session.mount(origin(url), PinlinkAdapter(**options(url, ca)))
    return lambda: session.get(url).content


def httpx_client(url: str, ca: str) -> Get:
    import ssl

    import httpx

    client = httpx.Client(trust_env=False, verify=ssl.create_default_context(cafile=ca))
    return lambda: client.get(url).content


def httpx_on_pinlink(url: str, ca: str) -> Get:
    import httpx
    from pinlink.adapters.httpx import Transport

    client = httpx.Client(transport=Transport(**options(url, ca)))
    return lambda: client.get(url).content


def urllib3_pool(url: str, ca: str) -> Get:
    import urllib3

    pool = urllib3.PoolManager(maxsize=CONNECTIONS, ca_certs=ca)
    return lambda: pool.request("GET", url).data


def niquests_session(url: str, ca: str) -> Get:
    import niquests

    session = niquests.Session()
    session.trust_env = False
    session.verify = ca

    def get() -> bytes:
        body = session.get(url).content
        return body if body is not None else b""

    return get


def curl(url: str, ca: str) -> Get:
    import io

    import pycurl

    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, url)
    handle.setopt(pycurl.CAINFO, ca)

    def get() -> bytes:
        buffer = io.BytesIO()
        handle.setopt(pycurl.WRITEDATA, buffer)
        handle.perform()
        return buffer.getvalue()

    return get


def primp_client(url: str, ca: str) -> Get:
    import primp

    client = primp.Client(ca_cert_file=ca) if parts(url)[0] else primp.Client()
    return lambda: client.get(url).content


def pyreqwest_builder(builder: Any, url: str, ca: str) -> Any:
    if parts(url)[0]:
        with open(ca, "rb") as file:
            builder = builder.add_root_certificate_pem(file.read())
    return builder.no_proxy().pool_max_idle_per_host(CONNECTIONS).build()


def pyreqwest_client(url: str, ca: str) -> Get:
    from pyreqwest.client import SyncClientBuilder

    client = pyreqwest_builder(SyncClientBuilder(), url, ca)
    return lambda: bytes(client.get(url).build().send().bytes())


def waited_for(opened: Callable[[], Awaitable[Opened]], connections: int) -> Batch:
    """Batches by so many tasks of a loop that stays, each with one call after the other."""
    import asyncio
    import atexit

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    get, close = loop.run_until_complete(opened())
    atexit.register(lambda: loop.run_until_complete(close()))

    async def work(left: list[int]) -> None:
        while left[0] > 0:
            left[0] -= 1
            if await get() != BODY:
                raise ValueError("the body is another one")

    async def all_of(count: int) -> None:
        left = [count]
        await asyncio.gather(*[work(left) for _ in range(connections)])

    return lambda count: loop.run_until_complete(all_of(count))


def each(batch: Batch) -> Get:
    """One call at a time of what makes batches."""

    def get() -> bytes:
        batch(1)
        return BODY

    return get


def pinlink_map(url: str, ca: str) -> Batch:
    import pinlink

    client = pinlink.Client(**options(url, ca))

    def batch(count: int) -> None:
        for outcome in client.map([url] * count):
            if not isinstance(outcome, pinlink.Response) or outcome.content != BODY:
                raise ValueError("the body is another one")

    return batch


def pinlink_asynchronous(url: str, ca: str, connections: int = CONNECTIONS) -> Batch:
    import pinlink

    async def opened() -> Opened:
        client = pinlink.AsyncClient(**options(url, ca))

        async def get() -> bytes:
            return (await client.get(url)).content

        return get, client.close

    return waited_for(opened, connections)


def aiohttp_session(url: str, ca: str, connections: int = CONNECTIONS) -> Batch:
    import ssl

    import aiohttp

    async def opened() -> Opened:
        context = ssl.create_default_context(cafile=ca)
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=context))

        async def get() -> bytes:
            async with session.get(url) as answer:
                body: bytes = await answer.read()
                return body

        return get, session.close

    return waited_for(opened, connections)


def httpx_asynchronous(url: str, ca: str) -> Batch:
    import ssl

    import httpx

    async def opened() -> Opened:
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        context = ssl.create_default_context(cafile=ca)
        client = httpx.AsyncClient(trust_env=False, verify=context, limits=limits)

        async def get() -> bytes:
            body: bytes = (await client.get(url)).content
            return body

        return get, client.aclose

    return waited_for(opened, CONNECTIONS)


async def no_end() -> None:
    """What has no way to be closed."""


def primp_asynchronous(url: str, _ca: str) -> Batch:
    import primp

    async def opened() -> Opened:
        client = primp.AsyncClient()

        async def get() -> bytes:
            answer = await client.get(url)
            return bytes(answer.content)

        return get, no_end

    return waited_for(opened, CONNECTIONS)


def pyreqwest_asynchronous(url: str, ca: str) -> Batch:
    from pyreqwest.client import ClientBuilder

    async def opened() -> Opened:
        client = pyreqwest_builder(ClientBuilder(), url, ca)

        async def get() -> bytes:
            answer = await client.get(url).build().send()
            return bytes(await answer.bytes())

        return get, no_end

    return waited_for(opened, CONNECTIONS)


def curl_multi(url: str, ca: str) -> Batch:
    """As pycurl's example `retriever-multi.py`: a handle for each connection, given the next row when it is done."""
    import io

    import pycurl

    multi = pycurl.CurlMulti()
    handles = []
    for _ in range(CONNECTIONS):
        handle = pycurl.Curl()
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.CAINFO, ca)
        handles.append(handle)
    buffers: dict[Any, io.BytesIO] = {}

    def begin(handle: Any) -> None:
        buffers[handle] = io.BytesIO()
        handle.setopt(pycurl.WRITEDATA, buffers[handle])
        multi.add_handle(handle)

    def batch(count: int) -> None:
        begun = done = 0
        free = list(handles)
        while done < count:
            while free and begun < count:
                begin(free.pop())
                begun += 1
            while multi.perform()[0] == pycurl.E_CALL_MULTI_PERFORM:
                pass
            queued = 1
            while queued:
                queued, good, bad = multi.info_read()
                if bad:
                    raise ConnectionError(bad[0][2])
                for handle in good:
                    multi.remove_handle(handle)
                    if buffers.pop(handle).getvalue() != BODY:
                        raise ValueError("the body is another one")
                    free.append(handle)
                    done += 1
            if not free:
                multi.select(1.0)

    return batch


def shared(make: Callable[[str, str], Get], threads: int) -> Callable[[str, str], list[Get]]:
    """One client for so many threads."""
    return lambda url, ca: [make(url, ca)] * threads


def apiece(make: Callable[[str, str], Get], threads: int) -> Callable[[str, str], list[Get]]:
    """A client for each thread, where threads may not share one."""
    return lambda url, ca: [make(url, ca) for _ in range(threads)]


SYNC: dict[str, Peer] = {
    "raw socket": Peer("", raw),
    "pinlink get": Peer("pinlink", pinlink_get),
    "pinlink AsyncClient": Peer("pinlink", lambda url, ca: each(pinlink_asynchronous(url, ca, 1))),
    "pycurl": Peer("pycurl", curl),
    "http.client": Peer("", http_client),
    "urllib3": Peer("urllib3", urllib3_pool),
    "primp": Peer("primp", primp_client),
    "pyreqwest": Peer("pyreqwest", pyreqwest_client),
    "aiohttp": Peer("aiohttp", lambda url, ca: each(aiohttp_session(url, ca, 1))),
    "niquests": Peer("niquests", niquests_session),
    "requests": Peer("requests", requests_session),
    "requests + pinlink": Peer("requests", requests_on_pinlink),
    "httpx": Peer("httpx", httpx_client),
    "httpx + pinlink": Peer("httpx", httpx_on_pinlink),
}

MANY: dict[str, Peer] = {
    "pinlink map": Peer("pinlink", pinlink_map),
    "pinlink AsyncClient": Peer("pinlink", pinlink_asynchronous),
    "pycurl multi": Peer("pycurl", curl_multi),
    "aiohttp": Peer("aiohttp", aiohttp_session),
    "httpx AsyncClient": Peer("httpx", httpx_asynchronous),
    "primp AsyncClient": Peer("primp", primp_asynchronous),
    "pyreqwest Client": Peer("pyreqwest", pyreqwest_asynchronous),
}

THREADS: dict[str, Peer] = {
    "pinlink, 1 thread": Peer("pinlink", shared(pinlink_get, 1)),
    "pinlink, 2 threads": Peer("pinlink", shared(pinlink_get, 2)),
    "pinlink, 8 threads": Peer("pinlink", shared(pinlink_get, 8)),
    "raw socket, 8 threads": Peer("", apiece(raw, 8)),
    "pycurl, 8 threads": Peer("pycurl", apiece(curl, 8)),
    "pyreqwest, 8 threads": Peer("pyreqwest", shared(pyreqwest_client, 8)),
    "urllib3, 8 threads": Peer("urllib3", shared(urllib3_pool, 8)),
}

START: dict[str, Peer] = {
    "empty process": Peer("", lambda _url, _ca: lambda: BODY),
    "pinlink, imported only": Peer("pinlink", imported),
    "pinlink": Peer("pinlink", pinlink_get),
    **{name: peer for name, peer in SYNC.items() if "pinlink" not in name and name != "raw socket"},
}

WORKLOADS: dict[str, dict[str, Peer]] = {"sync": SYNC, "many": MANY, "threads": THREADS, "start": START}
