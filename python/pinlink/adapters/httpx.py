"""pinlink beneath `httpx`, blocking and async.

client = httpx.Client(transport=Transport(hosts=["https://kms.example"], max_connections=8))
"""

from __future__ import annotations

import contextlib

import httpx

import pinlink
from pinlink._asynchronous import fed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, AsyncIterator, Iterator, Optional, Type

# Framing and routing are the client's.
_OWNED = frozenset(
    b"connection content-length expect host keep-alive proxy-connection te trailer transfer-encoding upgrade".split()
)


class _Stream(httpx.SyncByteStream):
    def __init__(self, reader: pinlink.Reader, request: httpx.Request) -> None:
        self._reader, self._request = reader, request

    def __iter__(self) -> Iterator[bytes]:
        with _translating(self._request):
            yield from self._reader.iter_bytes()

    def close(self) -> None:
        self._reader.close()


class _AsyncStream(httpx.AsyncByteStream):
    def __init__(self, reader: pinlink.AsyncReader, request: httpx.Request) -> None:
        self._reader, self._request = reader, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translating(self._request):
            async for piece in self._reader.iter_bytes():
                yield piece

    async def aclose(self) -> None:
        await self._reader.close()


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
        with _translating(request):
            try:
                data: Any = request.content or None
            except httpx.RequestNotRead:
                data = iter(request.stream)  # type: ignore[arg-type]
            answer = self._client.open(_made(request, data))
        return _response(answer, _Stream(answer, request))

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
        with _translating(request):
            try:
                answer = await self._client.open(_made(request, request.content or None))
            except httpx.RequestNotRead:
                pieces: Any = request.stream
                answer = await fed(pieces, lambda feed: self._client.open(_made(request, feed)))
        return _response(answer, _AsyncStream(answer, request))

    async def aclose(self) -> None:
        """Close idle connections and fail every later call."""
        await self._client.close()


def _made(request: httpx.Request, data: Any) -> pinlink.Request:
    url = str(request.url)
    headers = [(name.decode("ascii"), value) for name, value in request.headers.raw if name.lower() not in _OWNED]
    if request.headers.get("host", "").encode() != request.url.netloc:
        raise httpx.LocalProtocolError("another Host is given by the option host_header", request=request)
    length: Optional[str] = request.headers.get("content-length")
    timeouts = request.extensions.get("timeout", {})
    bounds = [timeouts.get(name) for name in ("connect", "read")]
    timeout = None if None in bounds else sum(bounds)
    return pinlink.Request(
        request.method,
        url,
        headers=headers,
        data=data,
        timeout=timeout,
        length=None if length is None else int(length),
        expect_continue="expect" in request.headers,
    )


def _response(answer: Any, stream: Any) -> httpx.Response:
    # As bytes: httpx takes text for ASCII.
    headers = [(name.encode("ascii"), value.encode("utf-8")) for name, value in answer.headers.pairs()]
    return httpx.Response(answer.status, headers=headers, stream=stream)


@contextlib.contextmanager
def _translating(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except pinlink.Error as error:
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
