"""The promise: programs that use `httpx` go through unchanged, pinned and pooled."""

import asyncio

import httpx
import pytest
from scripted import Scripted, request_of

import pinlink
from pinlink.adapters.httpx import AsyncTransport, Transport


@pytest.fixture
def through(box):
    with httpx.Client(transport=Transport(**box.options())) as client:
        yield client


def test_a_client_calls_as_ever(box, through):
    answer = through.post(box.https("/echo"), params={"q": 1}, json={"a": 1}, headers={"x-trace": "7"})
    echo = answer.json()
    assert (echo["method"], echo["query"]) == ("POST", "q=1")
    assert "".join(echo["body"].split()) == '{"a":1}'
    assert dict(echo["headers"])["x-trace"] == "7"
    assert through.head(box.http("/rows/1")).content == b""
    assert through.get(box.http("/status/404")).status_code == 404
    assert through.put(box.http("/echo"), content=iter([b"ro", b"ws"])).json()["body"] == "rows"
    assert through.get(box.http("/redirects/2"), follow_redirects=True).status_code == 200
    answer = through.get(box.http("/encoded/gzip/1000"))
    assert (answer.headers["content-encoding"], len(answer.content)) == ("gzip", 1000)


def test_connections_are_few(box, through):
    for row in range(20):
        assert through.get(box.https(f"/rows/{row}")).status_code == 200
    assert box.counts()["origins"]["connections"] == 1


def test_an_answer_is_streamed(box, through):
    with through.stream("GET", box.http("/bytes/3000000")) as answer:
        assert sum(len(piece) for piece in answer.iter_bytes()) == 3_000_000
    with through.stream("GET", box.http("/bytes/50000000")) as answer:
        assert next(answer.iter_bytes())
    assert through.get(box.http("/rows/1")).status_code == 200


def test_exceptions_are_theirs(box, through):
    with pytest.raises(httpx.ReadTimeout) as caught:
        through.get(box.http("/delay/60000"), timeout=0.1)
    assert isinstance(caught.value.__cause__, pinlink.TimeoutError)
    with pytest.raises(httpx.ConnectError):
        through.get(box.https("/", certificate="expired"))
    with pytest.raises(httpx.ConnectError):
        through.get("https://elsewhere.example/")
    with pytest.raises(httpx.RemoteProtocolError):
        through.get(box.http("/close-early/100000"))
    with pytest.raises(httpx.LocalProtocolError):
        through.get(box.http("/"), headers={"Host": "another.example"})


def test_a_header_of_any_letters_comes_through():
    def serve(connection, file):
        request_of(file)
        connection.sendall("HTTP/1.1 200 OK\r\nX-Name: café\r\nContent-Length: 2\r\n\r\nok".encode())

    with Scripted(serve) as server, httpx.Client(transport=Transport(**server.options())) as client:
        assert client.get(server.url()).headers["x-name"] == "café"


def test_the_async_one_does_the_same(box):
    async def main():
        async with httpx.AsyncClient(transport=AsyncTransport(**box.options())) as client:
            answers = await asyncio.gather(*(client.get(box.http(f"/rows/{row}")) for row in range(50)))
            assert {answer.status_code for answer in answers} == {200}
            assert (await client.post(box.https("/echo"), json={"a": 1})).json()["method"] == "POST"
            async with client.stream("GET", box.http("/bytes/3000000")) as answer:
                size = 0
                async for piece in answer.aiter_bytes():
                    size += len(piece)
                assert size == 3_000_000
            ahead = []

            async def pieces():
                for row in range(1000):
                    ahead.append(row)
                    yield b"x" * 10_000

            # An upload is never at hand as a whole.
            upload = client.build_request("PUT", box.http("/upload"), content=pieces())
            assert (await client.send(upload)).json()["bytes"] == 10_000_000
            assert len(ahead) == 1000

            async def fail():
                yield b"x"
                raise LookupError("no more rows")

            with pytest.raises(LookupError):
                await client.put(box.http("/echo"), content=fail())
            with pytest.raises(httpx.ReadTimeout):
                await client.get(box.http("/delay/60000"), timeout=0.1)
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(box.http("/close-early/100000"))

    asyncio.run(main())
