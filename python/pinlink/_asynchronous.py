"""The client of an asyncio program."""

from __future__ import annotations

import asyncio
import weakref

from ._pinlink import AsyncCore, Board, Feed, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import (
        Any,
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
        Dict,
        Iterable,
        List,
        Optional,
        Tuple,
        TypeVar,
        Union,
    )

    from typing_extensions import Unpack

    from ._errors import Error
    from ._headers import Headers
    from ._pinlink import (
        AsyncPieces,
        Batch,
        PinSet,
        Response,
        Write,
        Written,
        _AsyncData,
        _Fields,
        _Options,
        _Params,
        _Seconds,
    )

    _Future = asyncio.Future[Any]
    _T = TypeVar("_T")
else:
    _Future = asyncio.Future

_boards: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Board] = weakref.WeakKeyDictionary()


class _Call(_Future):
    """What waits for a call. Canceling it gives the call up at once."""

    _board: Optional[Board] = None
    _number = 0

    def cancel(self, *arguments: Any, **options: Any) -> bool:
        if self._board is not None:
            self._board.drop(self._number)
        return super().cancel(*arguments, **options)


async def run(start: Callable[..., int], *arguments: Any) -> Any:
    loop = asyncio.get_running_loop()
    board = _boards.get(loop)
    if board is None:
        board = _boards[loop] = Board()
        loop.add_reader(board.fileno(), board.turn)
    call = _Call(loop=loop)
    call._number = start(board, call, *arguments)
    call._board = board
    return await call


async def fed(pieces: AsyncIterable[bytes], call: Callable[[Feed], Awaitable[_T]]) -> _T:
    """Make a call whose body comes while it is sent: it takes the feed that these pieces go into."""
    feed = Feed()

    async def bring() -> None:
        try:
            async for piece in pieces:
                # An empty one would be no end, but nothing to send either.
                if piece and not await run(feed.push, piece):
                    return
        except Exception as error:
            await run(feed.push, error)
        else:
            await run(feed.push, None)

    bringing = asyncio.ensure_future(bring())
    try:
        return await call(feed)
    finally:
        feed.close()
        bringing.cancel()


class AsyncReader:
    """An answer whose body is read while it comes: made by :meth:`AsyncClient.open`.

    It holds its connection until the body has ended or it is closed; closed before the end, the connection is closed
    too.
    """

    def __init__(self, pieces: AsyncPieces) -> None:
        """Read these pieces."""
        self._pieces = pieces

    @property
    def status(self) -> int:
        """The status code, 200 to 599."""
        return self._pieces.status

    @property
    def headers(self) -> Headers:
        """The header fields, by their case-insensitive names."""
        return self._pieces.headers

    @property
    def url(self) -> str:
        """The URL that was asked for."""
        return self._pieces.url

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces as they come, up to 120 KiB each."""
        while True:
            piece: bytes = await run(self._pieces.chunk)
            if not piece:
                return
            yield piece

    async def read(self) -> bytes:
        """Read the rest of the body."""
        return b"".join([piece async for piece in self.iter_bytes()])

    async def close(self) -> None:
        """Give the connection back. Closing again does nothing."""
        self._pieces.close()

    async def __aenter__(self) -> AsyncReader:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()


class AsyncClient:
    """A client for asyncio: options, answers and errors of :class:`Client`.

    Declared hosts are resolved at ``async with``, or by the first call. Canceling a task ends its call: the connection
    is closed, and its place goes to the next. It works in any number of event loops, one after the other or at once.
    """

    def __init__(self, **options: Unpack[_Options]) -> None:
        """Make a client of these options. Mistakes in them are raised by the first call.

        Raises:
            TypeError: a value has a type that its option does not take.
        """
        self._core = AsyncCore(**options)

    async def get(
        self,
        url: str,
        *,
        params: Optional[_Params] = None,
        headers: Optional[_Fields] = None,
        timeout: Optional[_Seconds] = None,
    ) -> Response:
        """Send a GET."""
        return await run(self._core.ask, "GET", url, params, headers, None, None, timeout)  # type: ignore[no-any-return]

    async def head(
        self,
        url: str,
        *,
        params: Optional[_Params] = None,
        headers: Optional[_Fields] = None,
        timeout: Optional[_Seconds] = None,
    ) -> Response:
        """Send a HEAD."""
        return await run(self._core.ask, "HEAD", url, params, headers, None, None, timeout)  # type: ignore[no-any-return]

    async def post(
        self,
        url: str,
        *,
        params: Optional[_Params] = None,
        headers: Optional[_Fields] = None,
        json: Optional[Any] = None,
        data: Optional[_AsyncData] = None,
        timeout: Optional[_Seconds] = None,
    ) -> Response:
        """Send a POST: at most once, unless it has an ``Idempotency-Key``."""
        return await self.request("POST", url, params=params, headers=headers, json=json, data=data, timeout=timeout)

    async def put(
        self,
        url: str,
        *,
        params: Optional[_Params] = None,
        headers: Optional[_Fields] = None,
        json: Optional[Any] = None,
        data: Optional[_AsyncData] = None,
        timeout: Optional[_Seconds] = None,
    ) -> Response:
        """Send a PUT."""
        return await self.request("PUT", url, params=params, headers=headers, json=json, data=data, timeout=timeout)

    async def patch(
        self,
        url: str,
        *,
        params: Optional[_Params] = None,
        headers: Optional[_Fields] = None,
        json: Optional[Any] = None,
        data: Optional[_AsyncData] = None,
        timeout: Optional[_Seconds] = None,
    ) -> Response:
        """Send a PATCH: at most once, unless it has an ``Idempotency-Key``."""
        return await self.request("PATCH", url, params=params, headers=headers, json=json, data=data, timeout=timeout)

    async def delete(
        self,
        url: str,
        *,
        params: Optional[_Params] = None,
        headers: Optional[_Fields] = None,
        json: Optional[Any] = None,
        data: Optional[_AsyncData] = None,
        timeout: Optional[_Seconds] = None,
    ) -> Response:
        """Send a DELETE."""
        return await self.request("DELETE", url, params=params, headers=headers, json=json, data=data, timeout=timeout)

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Optional[_Params] = None,
        headers: Optional[_Fields] = None,
        json: Optional[Any] = None,
        data: Optional[_AsyncData] = None,
        timeout: Optional[_Seconds] = None,
    ) -> Response:
        """Send a request by any method: arguments and errors are those of :meth:`Client.request`.

        ``data`` may be an asynchronous iterable of bytes too.
        """
        if hasattr(data, "__aiter__"):
            pieces: Any = data
            return await fed(
                pieces, lambda feed: run(self._core.ask, method, url, params, headers, json, feed, timeout)
            )
        return await run(self._core.ask, method, url, params, headers, json, data, timeout)  # type: ignore[no-any-return]

    async def send(self, request: Request) -> Response:
        """Send a request that was made before."""
        return await run(self._core.send, request)  # type: ignore[no-any-return]

    async def map(self, requests: Iterable[Union[Request, str]]) -> List[Union[Response, Error]]:
        """Send many: an outcome for each, in their order, as :meth:`Client.map`."""
        return await run(self._core.map, requests)  # type: ignore[no-any-return]

    async def open(self, request: Union[Request, str]) -> AsyncReader:
        """Send a request, or a GET of this URL, whose answer is read while it comes."""
        if not isinstance(request, Request):
            request = Request("GET", request)
        return AsyncReader(await run(self._core.open, request))

    async def write(self, write: Write) -> Written:
        """Write, and say what became of it, as :meth:`Client.write`. Canceled, the outcome is unknown."""
        return await run(self._core.write, write)  # type: ignore[no-any-return]

    async def write_all(self, writes: Iterable[Write]) -> List[Union[Written, Error]]:
        """Write many: an outcome for each, in their order, as :meth:`Client.write_all`."""
        return await run(self._core.write_all, writes)  # type: ignore[no-any-return]

    async def write_batch(self, batch: Batch) -> List[Union[Written, Error]]:
        """Write many in one request, as :meth:`Client.write_batch`."""
        return await run(self._core.write_batch, batch)  # type: ignore[no-any-return]

    def pins(self) -> PinSet:
        """What is pinned now; nothing before the first call."""
        return self._core.pins()

    def stats(self) -> Dict[str, int]:
        """What this client has done in this process: counters by name; latencies are in microseconds."""
        return self._core.stats()

    async def close(self) -> None:
        """Close idle connections and fail every later call. Closing again does nothing."""
        self._core.close()

    async def __aenter__(self) -> AsyncClient:
        await run(self._core.begin)
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    def __reduce__(self) -> Tuple[Any, ...]:
        return _restored, self._core.pickled()


def _restored(options: List[Tuple[str, str]], pins: Optional[str]) -> AsyncClient:
    client = AsyncClient.__new__(AsyncClient)
    client._core = AsyncCore.restored(options, pins)
    return client
