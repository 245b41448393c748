"""What only many runs show: memory that stays, forks that work, ends that come. It prints figures.

Started by ``run.py --soak``. ``PINLINK_SOAK`` divides the counts, for a look at whether it works at all.
"""

import json
import os
import resource
import subprocess
import sys
import textwrap
import time

from conftest import Box

SHARE = int(os.environ.get("PINLINK_SOAK", "1"))
CALLS, FORKS, ENDS, STREAMED = 1_000_000 // SHARE, 1_000 // SHARE, 200 // SHARE, 100_000_000


def resident():
    """What this process has in memory now, in KiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def say(what, **figures):
    print(sys.version.split()[0], what, json.dumps(figures), flush=True)


def calls(box):
    """Memory after a tenth of the calls and after all of them."""
    with box.client() as client:
        url, begun, early = box.http("/rows/1"), time.monotonic(), 0
        for call in range(CALLS):
            assert client.get(url).status == 200
            if call == CALLS // 10:
                early = resident()
        grown = resident() - early
        figures = {"calls": CALLS, "kib": early, "grown_kib": grown, "dials": client.stats()["dials"]}
        say("calls", seconds=round(time.monotonic() - begun, 1), **figures)
    assert grown < 4096, "memory grows"


def stream(box):
    """How much more memory than before a large body takes at the most."""
    with box.client() as client:
        client.get(box.http("/rows/1"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        size = sum(map(len, client.open(box.http(f"/bytes/{STREAMED}")).iter_bytes()))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    say("stream", bytes=size, grown_kib=grown)
    assert size == STREAMED
    assert grown <= 5 * 1024, "a body is kept"


def forks(box):
    """Children of a process that has connections: each calls, and none hangs."""
    worst = 0
    with box.client() as client:
        for child in range(FORKS):
            assert client.get(box.http("/rows/parent")).ok
            begun = time.monotonic()
            pid = os.fork()
            if pid == 0:
                try:
                    os._exit(0 if client.get(box.http(f"/rows/{child}")).ok else 1)
                finally:
                    os._exit(2)
            while True:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    break
                assert time.monotonic() - begun < 30, "a child hangs"
                time.sleep(0.001)
            assert status == 0, "a child does not work"
            worst = max(worst, time.monotonic() - begun)
        say("forks", forks=FORKS, worst_ms=round(worst * 1000), dials_of_the_parent=client.stats()["dials"])
        assert client.stats()["dials"] == 1, "a parent is harmed"


END = """
    import json, sys, threading, time
    import pinlink

    options, urls = json.loads(sys.argv[1])
    client = pinlink.Client(**options)

    def work(url):
        try:
            while True:
                client.map([url] * 3) if "delay" in url else client.get(url)
        except pinlink.Error as error:
            assert error.kind in ("Canceled", "Closed"), error

    for url in urls * 2:
        threading.Thread(target=work, args=(url,), daemon=True).start()
    time.sleep(0.1)
    print(time.monotonic(), flush=True)
"""


def ends(box):
    """Interpreters that end while calls are under way: how long that takes, and with which code."""
    worst = 0
    given = json.dumps([box.options(), [box.http("/delay/60000"), box.http("/rows/1")]])
    for _ in range(ENDS):
        command = [sys.executable, "-c", textwrap.dedent(END), given]
        # Python looks for modules here first; beside the sources lies a package without its library.
        folder = os.path.dirname(os.path.abspath(__file__))
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, cwd=folder)
        assert (ended.returncode, ended.stderr) == (0, b""), ended
        # The clock is the machine's, the same for both.
        took = time.monotonic() - float(ended.stdout)
        worst = max(worst, took)
    say("ends", ends=ENDS, worst_ms=round(worst * 1000))
    assert worst <= 1, "an end takes long"


if __name__ == "__main__":
    for part in (stream, forks, ends, calls):
        with Box() as box:
            part(box)
