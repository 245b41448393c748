"""What a turn is, and what is said of it: times by the monotonic clock, CPU time by whoever asked."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import peers

Figures = dict[str, float]
Turn = Callable[[int, float], Figures]
"""So many calls or more, for so many seconds or longer."""

WARM_UP_CALLS = 1000
WARM_UP_SECONDS = 2.0


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


def quantile(ordered: list[int], part: float) -> float:
    """A quantile of sorted values, interpolated."""
    at = part * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)


def one_by_one(get: peers.Get) -> Turn:
    """Turns of single calls, each with its time."""

    def turn(count: int, _seconds: float) -> Figures:
        clock, times = time.perf_counter_ns, []
        begun = clock()
        for _ in range(count):
            sent = clock()
            body = get()
            times.append(clock() - sent)
            if body != peers.BODY:
                raise ValueError("the body is another one")
        seconds = (clock() - begun) / 1e9
        times.sort()
        p50, p99 = quantile(times, 0.5) / 1e3, quantile(times, 0.99) / 1e3
        return {"requests": count, "seconds": seconds, "p50_us": p50, "p99_us": p99}

    return turn


def at_once(batch: peers.Batch) -> Turn:
    """Turns of batches until the time is over; smaller ones where one would take much longer than that."""
    each = [0.0]

    def turn(count: int, at_least: float) -> Figures:
        if each[0] > 0.0 and at_least > 0.0:
            count = min(count, max(4 * peers.CONNECTIONS, int(at_least / each[0])))
        requests, begun = 0, time.perf_counter()
        while requests == 0 or time.perf_counter() - begun < at_least:
            batch(count)
            requests += count
        seconds = time.perf_counter() - begun
        each[0] = seconds / requests
        return {"requests": requests, "seconds": seconds}

    return turn


def in_threads(gets: list[peers.Get]) -> Turn:
    """Turns of as many threads as there are callers, which share the calls."""

    def turn(count: int, _seconds: float) -> Figures:
        each, failures = count // len(gets), []

        def work(get: peers.Get) -> None:
            try:
                for _ in range(each):
                    if get() != peers.BODY:
                        raise ValueError("the body is another one")
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


def warm(turn: Turn) -> None:
    """Turns until caches are warm, and whatever adapts has adapted."""
    begun = time.perf_counter()
    for _ in range(10):
        turn(WARM_UP_CALLS // 10, 0.0)
        if time.perf_counter() - begun > WARM_UP_SECONDS:
            return


def made(workload: str, name: str, url: str, ca: str) -> Turn:
    """The peer's turns."""
    if workload == "sync":
        return one_by_one(peers.SYNC[name].make(url, ca))
    if workload == "many":
        return at_once(peers.MANY[name].make(url, ca))
    return in_threads(peers.THREADS[name].make(url, ca))


def serve(workload: str, name: str, url: str, ca: str) -> None:
    """Make the peer when the first line comes, and take turns until the input ends."""
    turn: Turn | None = None
    for line in sys.stdin:
        answer: Figures | dict[str, str] = {}
        try:
            turn = turn or made(workload, name, url, ca)
            if line.strip() == "warm":
                warm(turn)
            else:
                count, milliseconds = line.split()
                answer = turn(int(count), int(milliseconds) / 1e3)
        except Exception as failure:
            answer = {"error": f"{type(failure).__name__}: {failure}"}
        print(json.dumps(answer), flush=True)
