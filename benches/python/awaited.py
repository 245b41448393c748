"""Clients of asyncio programs: each function opens one, and returns what makes the call with it once, and closes it."""

from __future__ import annotations

import clients
from calls import PIECE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from calls import Call

    Get = Callable[[], Awaitable[object]]
    Opened = tuple[Get, Callable[[], Coroutine[Any, Any, object]]]
    Open = Callable[[Call], Coroutine[Any, Any, Opened]]


class Loop:
    """A loop that stays, with a client in it."""

    def __init__(self, opens: Open, call: Call) -> None:
        import asyncio
        import atexit

        self._loop = asyncio.new_event_loop()
        self.get, close = self.run(opens(call))
        atexit.register(lambda: self.run(close()))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Wait for it."""
        return self._loop.run_until_complete(work)


async def nothing() -> None:
    """What has no way to be closed."""


async def once(opens: Open, call: Call) -> object:
    """Make the call once, with a client that is made for it."""
    get, close = await opens(call)
    answer = await get()
    await close()
    return answer


async def pinlink(call: Call) -> Opened:
    import pinlink

    client, url = pinlink.AsyncClient(**clients.options(call)), call.url
    if call.is_http2:
        call.check_version((await client.get(url)).trace["http2"])

    async def count() -> int:
        at = 0
        async with await client.open(url) as answer:
            async for piece in answer.iter_bytes():
                at += len(piece)
        return at

    ask, sent = (client.post if call.payload else client.get), call.sent("data")

    async def get() -> bytes:
        body: bytes = (await ask(url, **sent)).content
        return body

    return count if call.is_streamed else get, client.close


async def aiohttp(call: Call) -> Opened:
    session, url = clients.aiohttp(call), call.url

    async def count() -> int:
        at = 0
        async with session.get(url) as answer:
            async for piece in answer.content.iter_chunked(PIECE):
                at += len(piece)
        return at

    ask, sent = (session.post if call.payload else session.get), call.sent("data")

    async def get() -> bytes:
        async with ask(url, **sent) as answer:
            body: bytes = await answer.read()
            return body

    return count if call.is_streamed else get, session.close


async def httpx(call: Call) -> Opened:
    client, url = clients.httpx_asynchronous(call), call.url
    if call.is_http2:
        call.check_version((await client.get(url)).http_version == "HTTP/2")

    async def get() -> bytes:
        body: bytes = (await client.get(url)).content
        return body

    return get, client.aclose


async def niquests(call: Call) -> Opened:
    session, url = clients.niquests_asynchronous(call), call.url

    async def get() -> object:
        return (await session.get(url)).content

    async def gathered() -> object:
        answer = await session.get(url)
        await session.gather(answer)
        return answer.content

    if call.is_http2:
        answer = await session.get(url)
        await session.gather(answer)
        call.check_version(answer.http_version == 20)
    return gathered if call.is_http2 else get, session.close


async def primp(call: Call) -> Opened:
    client, url = clients.primp_asynchronous(call), call.url
    if call.is_http2:  # It was told to speak nothing else, and does not say what it spoke; but tasks find a connection.
        await client.get(url)

    async def get() -> object:
        return (await client.get(url)).content

    return get, nothing


async def pyreqwest(call: Call) -> Opened:
    client, url = clients.pyreqwest_asynchronous(call), call.url
    if call.is_http2:
        call.check_version((await client.get(url).build().send()).version == "HTTP/2.0")

    async def get() -> object:
        return await (await client.get(url).build().send()).bytes()

    return get, client.close
