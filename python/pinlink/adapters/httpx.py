"""pinlink beneath `httpx`, blocking and async.

client = httpx.Client(transport=Transport(hosts=["https://kms.example"], max_connections=8))
"""

from __future__ import annotations

import httpx

import pinlink
from pinlink._asynchronous import fed, run
from pinlink._pinlink import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, AsyncIterator, Iterator, NoReturn, Type

    from pinlink._pinlink import AsyncPieces, Pieces

# Framing and routing are the client's.
_OWNED = frozenset(
    b"connection content-length expect host keep-alive proxy-connection te trailer transfer-encoding upgrade".split()
)


class _Stream(httpx.SyncByteStream):
    def __init__(self, pieces: Pieces, request: httpx.Request) -> None:
        self._pieces, self._request = pieces, request

    def __iter__(self) -> Iterator[bytes]:
        try:
            piece = self._pieces.chunk()
            while piece:
                yield piece
                piece = self._pieces.chunk()
        except pinlink.Error as error:
            _fail(error, self._request)

    def close(self) -> None:
        self._pieces.close()


class _AsyncStream(httpx.AsyncByteStream):
    def __init__(self, pieces: AsyncPieces, request: httpx.Request) -> None:
        self._pieces, self._request = pieces, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            piece: bytes = await run(self._pieces.chunk)
            while piece:
                yield piece
                piece = await run(self._pieces.chunk)
        except pinlink.Error as error:
            _fail(error, self._request)

    async def aclose(self) -> None:
        self._pieces.close()


class Transport(httpx.BaseTransport):
    """A transport of `httpx`: resolved, pinned, pooled and bounded by pinlink.

    A call's connect and read timeouts together bound it up to the head of the answer; without them the option
    ``timeout`` does. The body is bounded by ``stall_timeout``. Certificates and proxies are options of this transport.
    """

    def __init__(self, **options: Any) -> None:
        """Make a transport of a client's options; raises as :class:`pinlink.Client`."""
        self._client = pinlink.Client(**options)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; raises the exceptions of `httpx`, with pinlink's as their cause."""
        try:
            data: Any = request.content or None
        except httpx.RequestNotRead:
            data = iter(request.stream)  # type: ignore[arg-type]
        try:
            pieces = opened(self._client, _made(request, data))
        except pinlink.Error as error:
            _fail(error, request)
        return httpx.Response(pieces.status, headers=pieces.fields(), stream=_Stream(pieces, request))

    def close(self) -> None:
        """Close idle connections and fail every later call."""
        self._client.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """As :class:`Transport`, for `httpx.AsyncClient`."""

    def __init__(self, **options: Any) -> None:
        """Make a transport of a client's options; mistakes in them are raised by the first call."""
        self._client = pinlink.AsyncClient(**options)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; raises the exceptions of `httpx`, with pinlink's as their cause."""
        pieces: AsyncPieces
        begin = self._client._core.open
        try:
            try:
                data = request.content or None
            except httpx.RequestNotRead:
                body: Any = request.stream
                pieces = await fed(body, lambda feed: run(begin, _made(request, feed)))
            else:
                pieces = await run(begin, _made(request, data))
        except pinlink.Error as error:
            _fail(error, request)
        return httpx.Response(pieces.status, headers=pieces.fields(), stream=_AsyncStream(pieces, request))

    async def aclose(self) -> None:
        """Close idle connections and fail every later call."""
        await self._client.close()


def _made(request: httpx.Request, data: Any) -> pinlink.Request:
    headers, host, length, expects = [], b"", None, False
    for name, value in request.headers.raw:
        lower = name.lower()
        if lower not in _OWNED:
            headers.append((name.decode("ascii"), value))
        elif lower == b"host":
            host += value
        elif lower == b"content-length":
            length = int(value)
        elif lower == b"expect":
            expects = True
    if host != request.url.netloc:
        raise httpx.LocalProtocolError("another Host is given by the option host_header", request=request)
    timeouts = request.extensions.get("timeout", {})
    connect, read = timeouts.get("connect"), timeouts.get("read")
    return pinlink.Request(
        request.method,
        str(request.url),
        headers=headers,
        data=data,
        timeout=None if connect is None or read is None else connect + read,
        length=length,
        expect_continue=expects,
    )


def _fail(error: pinlink.Error, request: httpx.Request) -> NoReturn:
    if error.reason == "Canceled.Body" and error.__cause__ is not None:
        # What brought the body said why it ended.
        raise error.__cause__ from None
    raise _kind(error)(str(error), request=request) from error


def _kind(error: pinlink.Error) -> Type[httpx.TransportError]:
    # A write that got no answer in time may have happened: the cause tells that it was time.
    if isinstance(error, pinlink.TimeoutError) or isinstance(error.__cause__, pinlink.TimeoutError):
        if error.phase == "queue":
            return httpx.PoolTimeout
        return httpx.ConnectTimeout if error.delivery == "not sent" else httpx.ReadTimeout
    if error.kind == "Proxy":
        return httpx.ProxyError
    if error.kind == "Config":
        return httpx.LocalProtocolError
    if error.delivery == "not sent":
        return httpx.ConnectError
    return httpx.RemoteProtocolError if error.kind == "Protocol" else httpx.ReadError
