"""What a turn is, and what is said of it: times by the monotonic clock, CPU time by whoever asked."""

from __future__ import annotations

import json
import sys
import threading
import time
from importlib.metadata import distributions
from pathlib import Path

import peers
from awaited import Loop
from calls import Call, Peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from batches import Batch
    from blocking import Get

    Figures = dict[str, Any]
    Turn = Callable[[int, float], Figures]
    """So many calls or more, for so many seconds or longer."""

PATIENCE = 2.0
"""A batch takes no longer, unless it is small already: the slowest peers would take half a minute for one."""
WARM_UP_SECONDS = 0.5
"""Nothing compiles while it runs: what takes longer is slow, not cold."""


def tell(folder: str) -> None:
    """Print a line for each peer of each workload: its version, or why it is missing."""
    for workload, known in peers.WORKLOADS.items():
        for name, peer in known.items():
            line = {"workload": workload, "name": name}
            place = Path(folder, peer.distribution)
            reason = place.with_suffix(".missing")
            if reason.exists():
                line["missing"] = reason.read_text().strip()
            elif peer.distribution == "pinlink":
                initial = (place / "pinlink" / "__init__.py").read_text()
                line["version"] = "pinlink " + initial.split('__version__ = "')[1].split('"')[0]
            elif not peer.distribution:
                line["version"] = f"Python {sys.version.split()[0]}"
            else:
                versions = {found.name.lower(): found.version for found in distributions(path=[str(place)])}
                line["version"] = f"{peer.distribution} {versions[peer.distribution]}"
            print(json.dumps(line))


def one_by_one(get: Get, call: Call) -> Turn:
    """Turns of single calls, each with its time."""

    def turn(count: int, _seconds: float) -> Figures:
        clock, check, times = time.perf_counter_ns, call.check, []
        begun = clock()
        for _ in range(count):
            sent = clock()
            answer = get()
            times.append(clock() - sent)
            check(answer)
        return {"requests": count, "seconds": (clock() - begun) / 1e9, "latencies_ns": times}

    return turn


def one_by_one_awaited(loop: Loop, call: Call) -> Turn:
    """The same where each call is awaited."""

    async def calls(count: int) -> Figures:
        clock, get, check, times = time.perf_counter_ns, loop.get, call.check, []
        begun = clock()
        for _ in range(count):
            sent = clock()
            answer = await get()
            times.append(clock() - sent)
            check(answer)
        return {"requests": count, "seconds": (clock() - begun) / 1e9, "latencies_ns": times}

    return lambda count, _seconds: loop.run(calls(count))


def at_once(batch: Batch, call: Call) -> Turn:
    """Turns of batches until the time is over; smaller ones where one would take much longer than that."""
    each = [0.0]

    def turn(count: int, at_least: float) -> Figures:
        if each[0] > 0.0:
            count = min(count, max(4 * call.at_once, int((at_least or PATIENCE) / each[0])))
        requests, begun = 0, time.perf_counter()
        while requests == 0 or time.perf_counter() - begun < at_least:
            batch(count)
            requests += count
        seconds = time.perf_counter() - begun
        each[0] = seconds / requests
        return {"requests": requests, "seconds": seconds}

    return turn


def in_threads(gets: list[Get], call: Call) -> Turn:
    """Turns of as many threads as there are callers, which share the calls."""

    def turn(count: int, _seconds: float) -> Figures:
        each, failures = count // len(gets), []

        def work(get: Get) -> None:
            try:
                for _ in range(each):
                    call.check(get())
            except Exception as failure:
                failures.append(failure)

        threads = [threading.Thread(target=work, args=(get,)) for get in gets]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begun
        if failures:
            raise failures[0]
        return {"requests": each * len(gets), "seconds": seconds}

    return turn


def warm(turn: Turn, count: int) -> None:
    """So many calls or more, until the last tenths were no faster: caches are warm, and what adapts has adapted."""
    best, since, calls, part = float("inf"), 0, 0, max(count // 10, 1)
    latest = time.perf_counter() + WARM_UP_SECONDS
    while (calls < count or since < 3) and time.perf_counter() < latest:
        figures = turn(part, 0.0)
        each = figures["seconds"] / figures["requests"]
        since = 0 if each < 0.95 * best else since + 1
        best = min(best, each)
        calls += part


def made(peer: Peer, workload: str, call: Call) -> Turn:
    """The peer's turns."""
    if workload == "threads":
        return in_threads(peer.make(call), call)
    if workload in ("http2", "crossing") or workload.startswith("many-"):
        return at_once(peer.make(call), call)
    if isinstance(peer, peers.Awaited):
        return one_by_one_awaited(Loop(peer.make, call), call)
    return one_by_one(peer.make(call), call)


def serve(folder: str, workload: str, name: str, call: Call) -> None:
    """Make the peer when the first line comes, and take turns until the input ends."""
    peer = peers.WORKLOADS[workload][name]
    peer.enter(folder)
    turn: Turn | None = None
    for line in sys.stdin:
        answer: Figures = {}
        try:
            turn = turn or made(peer, workload, call)
            first, second = line.split()
            if first == "warm":
                warm(turn, int(second))
            else:
                answer = turn(int(first), int(second) / 1e3)
        except Exception as failure:
            answer = {"error": f"{type(failure).__name__}: {failure}"}
        print(json.dumps(answer), flush=True)
