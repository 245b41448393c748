"""The promise: an asyncio program calls as a blocking one does, and cancels as asyncio does."""

import asyncio
import gc
import os
import pickle
import sys
import threading
import time

import pytest

import pinlink


def run(main):
    """As `asyncio.run`; what is under test belongs to no loop."""
    return asyncio.run(main)


def test_calls_of_every_kind(box):
    async def main():
        async with pinlink.AsyncClient(**box.options()) as client:
            answer = await client.post(box.https("/echo"), json={"a": 1}, params={"q": 2}, timeout=5)
            assert (answer.json()["body"], answer.json()["query"]) == ('{"a":1}', "q=2")
            for verb in ("get", "head", "put", "patch", "delete"):
                assert (await getattr(client, verb)(box.http("/echo"))).ok
            assert (await client.request("GET", box.http("/rows/1"))).ok
            assert (await client.send(pinlink.Request("GET", box.http("/rows/1")))).ok
            assert client.pins().find(box.host) == ["127.0.0.1"]
            assert client.stats()["answers"] == 8
        with pytest.raises(pinlink.Error) as caught:
            await client.get(box.http("/rows/1"))
        assert caught.value.reason == "Closed.Closed"

    run(main())


def test_a_client_without_a_context_resolves_at_its_first_call(box):
    async def main():
        client = pinlink.AsyncClient(**box.options())
        answers = await asyncio.gather(*(client.get(box.http(f"/rows/{row}")) for row in range(20)))
        assert all(answer.ok for answer in answers)
        assert client.stats()["lookups_dns"] <= 1
        await client.close()

    run(main())


def test_many_calls_at_once_stay_within_the_cap(box):
    async def main():
        async with pinlink.AsyncClient(**box.options(protocol="http1")) as client:
            calls = [asyncio.ensure_future(client.get(box.https(f"/rows/{row}"))) for row in range(300)]
            answers = await asyncio.gather(*calls)
            assert [answer.url for answer in answers] == [box.https(f"/rows/{row}") for row in range(300)]
            assert client.stats()["connections_peak"] <= 8
            outcomes = await client.map([box.https("/rows/1"), "https://elsewhere.example/"] * 100)
            assert [getattr(outcome, "status", None) for outcome in outcomes] == [200, None] * 100
            assert outcomes[1].reason == "Policy.NotDeclared"

    run(main())


def test_a_canceled_task_ends_its_call_and_gives_its_place_back(box):
    async def main():
        async with pinlink.AsyncClient(**box.options(max_connections=2)) as client:
            for _ in range(20):
                calls = [asyncio.ensure_future(client.get(box.http("/delay/60000"))) for _ in range(4)]
                await asyncio.sleep(0.01)
                for call in calls:
                    call.cancel()
                outcomes = await asyncio.gather(*calls, return_exceptions=True)
                assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.get(box.http("/delay/60000")), 0.05)
            assert (await client.get(box.http("/rows/1"), timeout=5)).ok
            assert client.stats()["connections_live"] <= 2

    run(main())


def test_errors_are_those_of_a_blocking_client(box):
    async def main():
        async with pinlink.AsyncClient(**box.options()) as client:
            with pytest.raises(pinlink.TimeoutError):
                await client.get(box.http("/delay/60000"), timeout=0.2)
            with pytest.raises(pinlink.ConnectionError) as caught:
                await client.get(box.https("/", certificate="expired"))
            assert caught.value.reason == "Tls.Expired"
            with pytest.raises(TypeError):
                await client.get(box.http("/"), headers=7)
        with pytest.raises(pinlink.ConfigError):
            await pinlink.AsyncClient(max_conections=1).get(box.http("/"))

    run(main())


def test_a_writer_knows_what_became_of_it(box):
    async def main():
        async with pinlink.AsyncClient(**box.options()) as client:
            key = pinlink.Scope.job("async orders").key("insert", box.host)
            request = pinlink.Request("POST", box.https("/sink/async"), json={})
            write = pinlink.Write(request, key, pinlink.Profile.idempotency_key())
            assert [(await client.write(write)).outcome for _ in range(2)] == ["Applied", "AlreadyApplied"]
            batch = pinlink.Batch.elasticsearch(box.https("/es/_bulk"), "orders", [(key, "{}")])
            assert [outcome.outcome for outcome in await client.write_batch(batch)] == ["Applied"]

    run(main())


def test_many_writes_have_an_outcome_each(box):
    async def main():
        async with pinlink.AsyncClient(**box.options()) as client:
            scope, profile = pinlink.Scope.job(f"async rows of {box.host}"), pinlink.Profile.idempotency_key()
            writes = [
                pinlink.Write(pinlink.Request("POST", box.https(f"/sink/{row}")), scope.key("insert", row), profile)
                for row in range(20)
            ]
            writes.append(pinlink.Write(pinlink.Request("POST", box.https("/sink/unkeyed"))))
            outcomes = await client.write_all(writes)
            assert [outcome.outcome for outcome in outcomes] == ["Applied"] * 20 + ["Rejected"]
            assert outcomes[-1].reason == "Write.Unkeyed"

    run(main())


def test_a_body_is_sent_while_it_comes(box):
    given = []

    async def pieces(count):
        for row in range(count):
            await asyncio.sleep(0)
            given.append(row)
            yield b"row %d\n" % row

    async def endless():
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)

    async def fail():
        yield b"row"
        raise LookupError("no more rows")

    async def main():
        async with pinlink.AsyncClient(**box.options(max_connections=2)) as client:
            echo = (await client.post(box.http("/echo"), data=pieces(100))).json()
            assert echo["body"] == "".join(f"row {row}\n" for row in range(100))
            assert ["transfer-encoding", "chunked"] in echo["headers"]
            with pytest.raises(pinlink.Error) as caught:
                await client.put(box.http("/echo"), data=fail())
            assert caught.value.reason == "Canceled.Body"
            assert isinstance(caught.value.__cause__, LookupError)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.put(box.http("/delay/60000"), data=endless()), 0.3)
            given.clear()
            with pytest.raises(pinlink.Error):
                await client.put("https://elsewhere.example/", data=pieces(1000))
            # Nobody wanted them.
            assert len(given) < 10
            assert (await client.get(box.http("/rows/1"))).ok

    run(main())


def test_an_answer_is_read_while_it_comes(box):
    async def main():
        async with pinlink.AsyncClient(**box.options(max_connections=1)) as client:
            async with await client.open(box.http("/bytes/3000000")) as answer:
                assert (answer.status, answer.headers["content-length"]) == (200, "3000000")
                size = 0
                async for piece in answer.iter_bytes():
                    size += len(piece)
                assert size == 3_000_000
            async with await client.open(box.http("/bytes/50000000")) as answer:
                async for _ in answer.iter_bytes():
                    break
            assert (await client.get(box.http("/rows/1"))).ok
            with pytest.raises(ValueError, match="closed"):
                await answer.read()
            with pytest.raises(pinlink.Error) as caught:
                await (await client.open(box.http("/close-early/100000"))).read()
            assert caught.value.reason == "Protocol.Incomplete"

    run(main())


def test_the_loop_goes_on_while_calls_wait(box):
    async def main():
        ticks = 0
        async with pinlink.AsyncClient(**box.options()) as client:
            call = asyncio.ensure_future(client.get(box.http("/delay/300")))
            while not call.done():
                await asyncio.sleep(0.01)
                ticks += 1
            assert (await call).ok
        assert ticks > 5

    run(main())


def test_loops_one_after_the_other_and_at_once_share_a_client(box):
    client = pinlink.AsyncClient(**box.options())
    failed = []

    async def main():
        answers = await asyncio.gather(*(client.get(box.http(f"/rows/{row}")) for row in range(20)))
        assert all(answer.ok for answer in answers)

    def work():
        try:
            for _ in range(3):
                run(main())
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert client.stats()["answers"] == 180


def test_a_loop_that_ends_takes_its_calls_with_it(box):
    client = pinlink.AsyncClient(**box.options(max_connections=1))

    async def leave():
        await client.get(box.http("/rows/1"))
        call = asyncio.ensure_future(client.get(box.http("/delay/60000")))
        await asyncio.sleep(0.05)
        assert not call.done()

    begun = time.monotonic()
    run(leave())
    run(leave())
    assert time.monotonic() - begun < 5


def test_loops_that_end_with_calls_under_way_are_forgotten(box):
    client = pinlink.AsyncClient(**box.options(max_connections=32, max_connections_per_origin=32))

    async def leave():
        call = asyncio.ensure_future(client.get(box.http("/delay/60000")))
        await asyncio.sleep(0.02)
        assert not call.done()
        # Nobody cancels it.
        asyncio.get_running_loop().stop()

    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    run(client.get(box.http("/rows/1")))
    gc.collect()
    before = descriptors()
    for _ in range(10):
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        left = loop.create_task(leave())
        loop.run_forever()
        loop.close()
        del loop, left
    gc.collect()
    assert descriptors() <= before + 3


def test_what_one_row_s_function_raises_is_its_outcome_only(box):
    def fail(_):
        raise LookupError("no key")

    async def main():
        async with pinlink.AsyncClient(**box.options()) as client:
            broken = pinlink.Request("GET", box.http("/rows/1"), sign=fail)
            outcomes = await client.map([box.http("/rows/1"), broken])
            assert outcomes[0].ok
            assert isinstance(outcomes[1], pinlink.Error)
            assert isinstance(outcomes[1].__cause__, LookupError)
            with pytest.raises(LookupError):
                await client.send(broken)

    run(main())


def test_a_pickle_carries_options_and_pins(box):
    async def main():
        async with pinlink.AsyncClient(**box.options()) as client:
            other = pickle.loads(pickle.dumps(client))
        assert (await other.get(box.http("/rows/1"))).ok
        assert other.stats()["lookups_dns"] == 0

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="task groups came with 3.11")
def test_task_groups_take_calls(box):
    async def main():
        async with pinlink.AsyncClient(**box.options()) as client:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(client.get(box.http(f"/rows/{row}"))) for row in range(5)]
            assert all(task.result().ok for task in tasks)

    run(main())
