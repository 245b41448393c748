"""Clients that are given many calls at once: each function makes one, and returns what makes so many calls with it."""

from __future__ import annotations

import clients

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from awaited import Open
    from calls import Call

    Batch = Callable[[int], None]


def one_at_a_time(call: Call) -> Batch:
    import blocking

    get, check = blocking.pinlink(call), call.check

    def batch(count: int) -> None:
        for _ in range(count):
            check(get())

    return batch


def pinlink_map(call: Call) -> Batch:
    client, url, check = clients.pinlink(call), call.url, call.check
    if call.is_http2:
        call.check_version(client.get(url).trace["http2"])

    def batch(count: int) -> None:
        for outcome in client.map([url] * count):
            if isinstance(outcome, Exception):
                raise outcome
            check(outcome.content)

    return batch


def tasks(opens: Open) -> Callable[[Call], Batch]:
    """As many tasks as there are calls at once, each with one after the other."""

    def made(call: Call) -> Batch:
        import asyncio

        from awaited import Loop

        loop = Loop(opens, call)
        get, check = loop.get, call.check

        async def work(left: list[int]) -> None:
            while left[0] > 0:
                left[0] -= 1
                check(await get())

        async def all_of(count: int) -> None:
            left = [count]
            await asyncio.gather(*[work(left) for _ in range(call.at_once)])

        return lambda count: loop.run(all_of(count))

    return made


def niquests_multiplexed(call: Call) -> Batch:
    """As its documentation says: answers that are promises, gathered when so many are under way as may be."""
    session, url, check = clients.niquests(call), call.url, call.check
    first = session.get(url)
    session.gather()
    call.check_version(first.http_version == 20)

    def batch(count: int) -> None:
        for done in range(0, count, call.at_once):
            answers = [session.get(url) for _ in range(min(call.at_once, count - done))]
            session.gather()
            for answer in answers:
                check(answer.content)

    return batch


def curl_multi(call: Call) -> Batch:
    """As pycurl's example `retriever-multi.py`: a handle for each call at once, given the next when it is done."""
    import io

    import pycurl

    multi = pycurl.CurlMulti()
    handles = [clients.curl(call) for _ in range(call.at_once)]
    buffers: dict[Any, io.BytesIO] = {}
    if call.is_http2:
        multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)

    def begin(handle: Any) -> None:
        buffers[handle] = io.BytesIO()
        handle.setopt(pycurl.WRITEDATA, buffers[handle])
        multi.add_handle(handle)

    def end(handle: Any) -> None:
        multi.remove_handle(handle)
        call.check(buffers.pop(handle).getvalue())

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
                    end(handle)
                    free.append(handle)
                    done += 1
            if not free:
                multi.select(1.0)

    if call.is_http2:
        batch(1)
        call.check_version(handles[-1].getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_2_0)
    return batch
