"""Clients that block: each function makes one, and returns what makes the call with it once.

That returns the body, read whole; or, where the call is streamed, how long the body was that came by in pieces.
"""

from __future__ import annotations

import clients
from calls import PIECE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from calls import Call

    Get = Callable[[], object]


def raw(call: Call) -> Get:
    """The least that is an exchange: one write, and reads until the announced body is there."""
    stream = clients.raw(call)
    fields = {"host": f"{call.host}:{call.port}", "user-agent": "raw/1.0", "accept": "*/*", **call.headers}
    if call.payload:
        fields["content-length"] = str(len(call.payload))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    request = f"{call.method} {call.path} HTTP/1.1\r\n{head}\r\n".encode() + (call.payload or b"")
    send, receive, receive_into = stream.sendall, stream.recv, stream.recv_into

    def begin() -> tuple[bytes, int]:
        """What came of the body together with the head, and how long it will be."""
        send(request)
        got = receive(4096)
        while True:
            head = got.find(b"\r\n\r\n")
            if head >= 0:
                at = got.index(b"Content-Length: ") + 16
                return got[head + 4 :], int(got[at : got.index(b"\r", at)])
            got += receive(4096) or ended()

    def get() -> bytes | bytearray:
        body, length = begin()
        if len(body) == length:
            return body
        whole, at = bytearray(length), len(body)
        whole[:at] = body
        rest = memoryview(whole)
        while at < length:
            at += receive_into(rest[at:]) or ended()
        return whole

    buffer = bytearray(PIECE)

    def count() -> int:
        body, length = begin()
        at = len(body)
        while at < length:
            at += receive_into(buffer) or ended()
        return at

    return count if call.is_streamed else get


def ended() -> Any:
    raise ConnectionError("the server closed the connection")


def pinlink(call: Call) -> Get:
    client, url = clients.pinlink(call), call.url

    def count() -> int:
        with client.open(url) as answer:
            return sum(len(piece) for piece in answer.iter_bytes())

    ask, sent = (client.post if call.payload else client.get), call.sent("data")
    return count if call.is_streamed else lambda: ask(url, **sent).content


def http_client(call: Call) -> Get:
    connection = clients.http_client(call)

    def count() -> int:
        connection.request("GET", call.path)
        answer, at = connection.getresponse(), 0
        while piece := answer.read(PIECE):
            at += len(piece)
        return at

    def get() -> bytes:
        connection.request(call.method, call.path, call.payload, call.headers)
        body: bytes = connection.getresponse().read()
        return body

    return count if call.is_streamed else get


def session(make: Callable[[Call], Any]) -> Callable[[Call], Get]:
    """That of requests, and what has the same methods."""

    def made(call: Call) -> Get:
        session, url = make(call), call.url

        def count() -> int:
            with session.get(url, stream=True) as answer:
                return sum(len(piece) for piece in answer.iter_content(PIECE))

        ask, sent = (session.post if call.payload else session.get), call.sent("data")
        return count if call.is_streamed else lambda: ask(url, **sent).content

    return made


def httpx(make: Callable[[Call], Any]) -> Callable[[Call], Get]:
    """A client of httpx, with its own transport or another."""

    def made(call: Call) -> Get:
        client, url = make(call), call.url

        def count() -> int:
            with client.stream("GET", url) as answer:
                return sum(len(piece) for piece in answer.iter_bytes())

        ask, sent = (client.post if call.payload else client.get), call.sent("content")
        return count if call.is_streamed else lambda: ask(url, **sent).content

    return made


def urllib3(call: Call) -> Get:
    pool, method, url, sent = clients.urllib3(call), call.method, call.url, call.sent("body")

    def count() -> int:
        answer = pool.request("GET", url, preload_content=False)
        at = sum(len(piece) for piece in answer.stream(PIECE))
        answer.release_conn()
        return at

    return count if call.is_streamed else lambda: pool.request(method, url, **sent).data


def curl(call: Call) -> Get:
    import io

    import pycurl

    handle = clients.curl(call)

    def get() -> bytes:
        buffer = io.BytesIO()
        handle.setopt(pycurl.WRITEDATA, buffer)
        handle.perform()
        return buffer.getvalue()

    at = 0

    def take(piece: bytes) -> None:
        nonlocal at
        at += len(piece)

    def count() -> int:
        nonlocal at
        at = 0
        handle.perform()
        return at

    if call.is_streamed:
        handle.setopt(pycurl.WRITEFUNCTION, take)
    return count if call.is_streamed else get


def primp(call: Call) -> Get:
    client, url = clients.primp(call), call.url

    def count() -> int:
        with client.get(url, stream=True) as answer:
            return sum(len(piece) for piece in answer.iter_bytes(PIECE))

    ask, sent = (client.post if call.payload else client.get), call.sent("content")
    return count if call.is_streamed else lambda: ask(url, **sent).content


def pyreqwest(call: Call) -> Get:
    client, url, payload = clients.pyreqwest(call), call.url, call.payload

    def count() -> int:
        with client.get(url).build_streamed() as answer:
            reader, at = answer.body_reader, 0
            while (piece := reader.read_chunk()) is not None:
                at += len(piece)
            return at

    def post() -> object:
        return client.post(url).headers(call.headers).body_bytes(payload).build().send().bytes()

    if call.is_streamed:
        return count
    return post if payload else lambda: client.get(url).build().send().bytes()
