"""The promise: programs that use `urllib3`, or take a pool manager of its, go through unchanged, pinned and pooled."""

import io
import json
import pathlib

import pytest
import urllib3
from scripted import ResetOnce
from urllib3.exceptions import (
    EmptyPoolError,
    HostChangedError,
    HTTPError,
    InvalidHeader,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Retry, Timeout

import pinlink
from pinlink.adapters.urllib3 import PoolManager


def parsed(answer):
    return json.loads(answer.data.decode())


@pytest.fixture
def manager(box):
    with PoolManager(**box.options()) as manager:
        yield manager


def test_a_manager_calls_as_ever(box, manager):
    assert isinstance(manager, urllib3.PoolManager)
    answer = manager.request("POST", box.https("/echo"), fields={"a": "1"}, headers={"x-trace": "7"})
    assert (answer.status, answer.reason, answer.headers["Content-Type"]) == (200, "OK", "application/json")
    echo = parsed(answer)
    headers = dict(echo["headers"])
    assert (echo["method"], headers["x-trace"]) == ("POST", "7")
    assert headers["content-type"].startswith("multipart/form-data")
    assert parsed(manager.request("GET", box.http("/echo"), fields={"q": "2"}))["query"] == "q=2"
    assert manager.request("HEAD", box.http("/rows/1")).data == b""
    assert manager.request("GET", box.http("/status/404")).status == 404
    assert (
        manager.request("GET", box.http("/encoded/gzip/1000")).data
        == manager.request("GET", box.http("/bytes/1000")).data
    )


def test_connections_are_few_and_names_looked_up_once(box, manager):
    for row in range(20):
        assert manager.request("GET", box.https(f"/rows/{row}")).status == 200
    assert box.counts()["origins"]["connections"] == 1
    assert len(box.control("GET", "/queries")) <= 1


@pytest.mark.parametrize("body", [b"rows", "rows", io.BytesIO(b"rows"), iter([b"ro", b"ws"])])
def test_bodies_of_every_kind_arrive(box, manager, body):
    assert parsed(manager.request("PUT", box.http("/echo"), body=body))["body"] == "rows"


def test_an_answer_is_streamed(box, manager):
    answer = manager.request("GET", box.http("/bytes/3000000"), preload_content=False)
    assert len(answer.read(10)) == 10
    assert sum(map(len, answer.stream(100_000))) == 3_000_000 - 10
    answer.release_conn()
    answer = manager.request("GET", box.http("/bytes/50000000"), preload_content=False)
    assert len(answer.read(10)) == 10
    answer.close()
    answer = manager.request("GET", box.http("/chunked/1000"), preload_content=False)
    assert len(io.BufferedReader(answer).read()) == 1000
    assert manager.request("GET", box.http("/rows/1")).status == 200


def test_redirects_are_followed_and_counted(box, manager):
    answer = manager.request("GET", box.http("/redirects/2"))
    assert (answer.status, len(answer.retries.history)) == (200, 2)
    assert manager.request("GET", box.http("/redirects/2"), redirect=False).status == 302
    with pytest.raises(MaxRetryError):
        manager.request("GET", box.http("/redirects/9"), retries=Retry(5, redirect=2))


def test_a_pool_of_one_origin_works_too(box, manager):
    pool = manager.connection_from_url(box.https("/"))
    assert pool.request("GET", "/rows/1").status == 200
    assert pool.request("GET", "/redirects/2").status == 200
    with pytest.raises(HostChangedError):
        pool.request("GET", "https://elsewhere.example/")
    pool.close()
    assert pool.request("GET", "/rows/1").status == 200


@pytest.mark.parametrize("timeout", [0.3, Timeout(total=0.3), Timeout(connect=0.1, read=0.2)])
def test_a_timeout_is_theirs(box, manager, timeout):
    with pytest.raises(ReadTimeoutError) as caught:
        manager.request("GET", box.http("/delay/60000"), timeout=timeout, retries=False)
    assert isinstance(caught.value.__cause__, pinlink.TimeoutError)
    with pytest.raises(MaxRetryError) as caught:
        manager.request("GET", box.http("/delay/60000"), timeout=timeout, retries=0)
    assert isinstance(caught.value.reason, ReadTimeoutError)


def test_exceptions_are_theirs(box, manager):
    with pytest.raises(MaxRetryError) as caught:
        manager.request("GET", box.https("/", certificate="expired"), retries=0)
    assert isinstance(caught.value.reason, SSLError)
    assert isinstance(caught.value.reason.__cause__, pinlink.ConnectionError)
    with pytest.raises(NewConnectionError):
        manager.request("GET", "https://elsewhere.example/")
    with pytest.raises(ProtocolError):
        manager.request("GET", box.http("/close-early/100000"), retries=False)
    answer = manager.request("GET", box.http("/close-early/100000"), preload_content=False)
    with pytest.raises(ProtocolError):
        answer.read()
    with pytest.raises(InvalidHeader):
        manager.request("GET", box.http("/"), headers={"Host": "another.example"})
    with pytest.raises(HTTPError):
        manager.request("GET", box.http("/"), headers={"a b": "c"})


def test_waiting_in_vain_for_a_connection_is_theirs_too(box):
    with PoolManager(max_connections=1, acquire_timeout=0.1, **box.options()) as manager:
        held = manager.request("GET", box.http("/bytes/50000000"), preload_content=False)
        with pytest.raises(EmptyPoolError):
            manager.request("GET", box.http("/rows/1"))
        held.close()
        assert manager.request("GET", box.http("/rows/1")).status == 200


def test_retry_is_theirs(box, manager):
    retry = Retry(3, status_forcelist=[503], backoff_factor=0.01)
    with PoolManager(max_attempts=1, retries=retry, **box.options()) as manager:
        with pytest.raises(MaxRetryError):
            manager.request("GET", box.http("/status/503"))
        assert len(box.seen()) == 4
        assert manager.request("GET", box.http("/status/503?times=2")).status == 200
        box.reset()
        # What may have happened is not sent again: urllib3 repeats no POST unless it is told to.
        with pytest.raises(ReadTimeoutError):
            manager.request("POST", box.http("/delay/60000"), timeout=0.2)
        assert len(box.seen()) == 1
        body = io.BytesIO(b"rows")
        assert manager.request("PUT", box.http("/status/503?times=1&body=1"), body=body).status == 200
        box.reset()
        assert manager.request("GET", box.http("/status/503"), retries=False).status == 503


def test_a_body_that_is_read_once_is_sent_once(box):
    retry = Retry(3, status_forcelist=[503], backoff_factor=0.01)
    with PoolManager(max_attempts=1, retries=retry, **box.options()) as manager:
        for body in (iter([b"ro", b"ws"]), (piece for piece in (b"ro", b"ws"))):
            box.reset()
            with pytest.raises(MaxRetryError):
                manager.request("PUT", box.http("/status/503"), body=body)
            assert len(box.seen()) == 1
            # A server that answers before it has read the body may close the connection afterwards.
            manager.clear()
        with pytest.raises(ReadTimeoutError):
            manager.request("PUT", box.http("/delay/60000"), body=iter([b"rows"]), timeout=0.2, retries=False)
        # These come again.
        for number, body in enumerate([[b"ro", b"ws"], io.BytesIO(b"rows"), b"rows"]):
            answer = manager.request("PUT", box.http(f"/status/503?times=1&body={number}b"), body=body)
            assert answer.status == 200


def test_a_doubt_outlives_a_later_try_that_was_not_sent():
    with ResetOnce() as server, PoolManager(**server.options(max_attempts=1)) as manager:
        with pytest.raises(MaxRetryError) as caught:
            manager.request("PUT", server.url(), body=io.BytesIO(b"rows"), retries=Retry(1))
        cause = caught.value.reason.__cause__
        assert (cause.delivery, cause.outcome) == ("delivery unknown", "Unknown")


def test_trust_and_identity_are_theirs(box):
    options = box.options()
    trusted = options.pop("ca_file")
    private = f"https://{box.host}:{box.plan['https-client-auth']}"
    options["hosts"].append(private)
    with PoolManager(retries=False, **{**options, "web_roots": True}) as manager:
        with pytest.raises(SSLError):
            manager.request("GET", box.https("/rows/1"))
        queries = len(box.control("GET", "/queries"))
        for ways in ({"ca_certs": trusted}, {"cert_reqs": "CERT_NONE"}):
            pool = manager.connection_from_url(box.https("/"), pool_kwargs=ways)
            assert pool.request("GET", "/rows/1").status == 200
        assert len(box.control("GET", "/queries")) == queries
    folder = pathlib.Path(trusted).parent
    identity = {"cert_file": str(folder / "client.pem"), "key_file": str(folder / "client.key"), "ca_certs": trusted}
    with PoolManager(**{**options, "web_roots": True}, **identity) as manager:
        assert parsed(manager.request("GET", f"{private}/echo"))["client_certificate"]


def test_a_proxy_is_an_option(box):
    with PoolManager(proxy=f"http://{box.plan['connect-proxy']}", **box.options()) as manager:
        assert manager.request("GET", box.https("/rows/1")).status == 200
    assert len(box.control("GET", "/tunnels")) == 1


def test_a_cleared_manager_goes_on(box, manager):
    manager.request("GET", box.http("/rows/1"))
    manager.clear()
    assert manager.request("GET", box.http("/rows/1")).status == 200
    assert box.counts()["origins"]["connections"] == 2
