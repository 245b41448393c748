"""The promise: signals, forks, pickles, threads and the end of the interpreter are as Python has them."""

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from conftest import Box

import pinlink

# What proves that a wait was bounded: far below "for ever", far above a busy machine's hiccup.
BOUNDED = 5


def run(program, *arguments, **options):
    """Runs a program of its own, which must end soon; its process."""
    program = textwrap.dedent(program)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=60,
        universal_newlines=True,
        # Python looks for modules here first; beside the sources lies a package without its library.
        cwd=os.path.dirname(__file__),
        **options,
    )


@pytest.mark.parametrize("many", [False, True])
def test_ctrl_c_ends_a_call_at_once(box, client, many):
    url = box.http("/delay/60000")
    client.get(box.http("/rows/1"))
    pressed = []

    def press():
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.3, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        client.map([url] * 4) if many else client.get(url)
    assert time.monotonic() - pressed[0] < 1
    timer.join()
    assert client.get(box.http("/rows/1")).ok


def test_a_signal_handler_that_raises_nothing_disturbs_nothing(box, client):
    caught = []
    earlier = signal.signal(signal.SIGALRM, lambda *_: caught.append(time.monotonic()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        assert client.get(box.http("/delay/600")).ok
    finally:
        signal.signal(signal.SIGALRM, earlier)
    assert len(caught) == 1


CLOSE = """
    import json, signal, sys
    import pinlink

    options, url = json.loads(sys.argv[1])
    with pinlink.Client(**options) as client:
        answer = client.open(url)
        closed = []

        def close(*_):
            answer.close()
            closed.append(1)

        signal.signal(signal.SIGALRM, close)
        assert answer.read(10)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            while True:
                answer.read(10)
        except ValueError as error:
            assert closed and "closed" in str(error), error
        assert client.stats()["connections_live"] == 0
"""


def test_a_signal_handler_may_close_what_its_thread_reads(box):
    ended = run(CLOSE, json.dumps([box.options(), box.http("/stream/100/10/100")]))
    assert ended.returncode == 0, ended.stderr


def test_others_run_while_a_call_waits(box, client):
    ticks = []
    done = threading.Event()

    def tick():
        while not done.wait(0.01):
            ticks.append(1)

    thread = threading.Thread(target=tick)
    thread.start()
    client.get(box.http("/delay/500"))
    done.set()
    thread.join()
    assert len(ticks) > 5


def test_threads_share_one_client(box, client):
    failed = []

    def work(worker):
        try:
            for row in range(25):
                assert client.get(box.https(f"/rows/{worker}-{row}")).ok
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    stats = client.stats()
    assert stats["answers"] == 200
    assert stats["connections_peak"] <= 8


def test_a_forked_child_works_and_its_parent_is_unharmed(box, client):
    assert client.get(box.http("/rows/parent")).ok
    for child in range(20):
        pid = os.fork()
        if pid == 0:
            try:
                answer = client.get(box.http(f"/rows/child-{child}"))
                stats = client.stats()
                os._exit(0 if answer.ok and stats["lookups_dns"] == 0 and stats["dials"] == 1 else 1)
            finally:
                os._exit(2)
        deadline = time.monotonic() + BOUNDED
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                break
            assert time.monotonic() < deadline, "the child hangs"
            time.sleep(0.005)
        assert status == 0
        answer = client.get(box.http("/rows/parent"))
        assert answer.trace["reused"]
    assert client.stats()["dials"] == 1


def child_of_a_pool(argument):
    client, url = argument
    return client.get(url).status


def test_a_client_goes_along_to_a_pool_of_processes(box, client):
    context = multiprocessing.get_context("fork")
    client.get(box.http("/rows/1"))
    with context.Pool(2) as pool:
        assert pool.map(child_of_a_pool, [(client, box.http(f"/rows/{row}")) for row in range(8)]) == [200] * 8


def test_a_pickle_carries_options_and_pins_and_connects_late(box):
    with box.client(max_connections=3) as client:
        client.get(box.http("/rows/1"))
        pickled = pickle.dumps(client)
    before = box.counts()["origins"]["connections"]
    other = pickle.loads(pickled)
    assert box.counts()["origins"]["connections"] == before
    assert other.get(box.http("/rows/2")).ok
    stats = other.stats()
    assert (stats["lookups_dns"], stats["pins_imported"], stats["dials"]) == (0, 1, 1)
    other.close()


def test_a_pickle_needs_no_file_of_pins(box, tmp_path):
    path = tmp_path / "pins.json"
    pinlink.PinSet({box.host: "127.0.0.1", "*.nodes.example": "10.0.0.2"}).save(path)
    with box.client(pin_set=path) as client:
        pickled = pickle.dumps(client)
    path.unlink()
    with pickle.loads(pickled) as other:
        assert other.get(box.http("/rows/1")).ok
        assert other.stats()["lookups_dns"] == 0


def test_an_exception_survives_a_pickle(box, client):
    with pytest.raises(pinlink.Error) as caught:
        client.get(box.https("/", certificate="expired"))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is pinlink.ConnectionError
    assert (copy.reason, copy.host, str(copy)) == (caught.value.reason, caught.value.host, str(caught.value))


EXIT = """
    import json, os, sys, threading, time
    import pinlink

    options, url, way = json.loads(sys.argv[1])
    client = pinlink.Client(**options)

    def work():
        try:
            while True:
                client.map([url] * 3) if way == "map" else client.get(url)
        except pinlink.Error as error:
            assert error.kind in ("Canceled", "Closed"), error

    for _ in range(4):
        threading.Thread(target=work, daemon=True).start()
    time.sleep(0.2)
"""


@pytest.mark.parametrize("way", ["get", "map"])
@pytest.mark.parametrize("path", ["/delay/60000", "/rows/1"])
def test_the_interpreter_ends_while_calls_are_under_way(box, way, path):
    for _ in range(3):
        begun = time.monotonic()
        ended = run(EXIT, json.dumps([box.options(), box.http(path), way]))
        assert (ended.returncode, ended.stderr) == (0, "")
        assert time.monotonic() - begun < BOUNDED


def test_a_child_does_not_wait_for_its_parent_s_threads(box):
    ended = run(
        EXIT
        + """
    for _ in range(5):
        begun = time.monotonic()
        pid = os.fork()
        if pid == 0:
            sys.exit()
        _, status = os.waitpid(pid, 0)
        assert status == 0
        print(time.monotonic() - begun)
    """,
        json.dumps([box.options(), box.http("/delay/60000"), "get"]),
    )
    assert ended.returncode == 0, ended.stderr
    # Its end would wait half a second for calls under way; a busy machine may take that once.
    assert min(map(float, ended.stdout.split())) < 0.5


def test_importing_brings_little_and_starts_nothing():
    ended = run(
        """
        import os, sys
        before = set(sys.modules)
        import pinlink
        brought = set(sys.modules) - before
        assert brought <= {"__future__", "atexit", "pinlink", "pinlink._errors", "pinlink._pinlink"}, brought
        assert len(os.listdir("/proc/self/task")) == 1
        assert set(pinlink.__all__) <= set(dir(pinlink))
        for name in pinlink.__all__:
            assert getattr(pinlink, name) is getattr(pinlink, name)
        assert pinlink.Error().outcome is pinlink.Outcome.REJECTED
        """
    )
    assert ended.returncode == 0, ended.stderr


SHARED = """
    import json, sys
    import pinlink

    options, url = json.loads(sys.argv[1])
    one, other = (pinlink.Client.shared(**options) for _ in range(2))
    with one:
        assert one.get(url).ok
    try:
        one.get(url)
        raise AssertionError("it was closed")
    except pinlink.Error as error:
        assert error.reason == "Closed.Closed", error
    assert other.get(url).ok
    assert pinlink.Client.shared(**options).get(url).ok
    assert other.stats()["dials"] == 1
"""


def test_who_closes_the_process_s_client_closes_a_handle_of_it(box):
    ended = run(SHARED, json.dumps([box.options(), box.http("/rows/1")]))
    assert ended.returncode == 0, ended.stderr


REENTERED = """
    import asyncio, faulthandler, json, sys
    import pinlink
    from pinlink import _asynchronous

    options, url = json.loads(sys.argv[1])
    faulthandler.dump_traceback_later(30, exit=True)

    async def main():
        async with pinlink.AsyncClient(**options) as client:
            call = asyncio.ensure_future(client.get(url))
            while not call.done():
                # As a loop does that runs within itself, and finds the wake to be read twice.
                _asynchronous._boards[asyncio.get_running_loop()].turn()
                await asyncio.sleep(0)
            assert (await call).ok

    asyncio.run(main())
"""


def test_a_loop_that_runs_within_itself_blocks_nothing(box):
    ended = run(REENTERED, json.dumps([box.options(), box.http("/delay/100")]))
    assert ended.returncode == 0, ended.stderr


def test_records_go_to_logging(caplog):
    with Box() as box, caplog.at_level("INFO", logger="pinlink"):
        with box.client() as client:
            client.get(box.http("/rows/1"))
        assert [record.name for record in caplog.records] == ["pinlink"]
        assert caplog.records[0].getMessage().startswith("pinlink: 1 requests, 1 answered")
        caplog.clear()
        box.client(danger_accept_any_certificate=True).close()
        assert "WARNING" in [record.levelname for record in caplog.records]
