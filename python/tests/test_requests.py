"""The promise: programs and SDKs that use `requests` go through unchanged, pinned and pooled."""

import io
import pathlib
import pickle

import pytest
import requests
from scripted import ResetOnce, Scripted, request_of
from urllib3.util import Retry

import pinlink
from pinlink.adapters.requests import PinlinkAdapter


def mounted(adapter):
    session = requests.Session()
    session.trust_env = False
    for prefix in ("https://", "http://"):
        session.mount(prefix, adapter)
    return session


@pytest.fixture
def session(box):
    with mounted(PinlinkAdapter(**box.options())) as session:
        yield session


def test_a_session_calls_as_ever(box, session):
    answer = session.post(box.https("/echo"), params={"q": 1}, json={"a": 1}, headers={"x-trace": "7"})
    assert (answer.status_code, answer.reason, answer.encoding) == (200, "OK", "utf-8")
    echo = answer.json()
    assert (echo["method"], echo["query"], echo["body"]) == ("POST", "q=1", '{"a": 1}')
    headers = dict(echo["headers"])
    assert (headers["x-trace"], headers["content-type"]) == ("7", "application/json")
    assert headers["user-agent"].startswith("python-requests/")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.url == box.https("/echo?q=1")
    assert answer.elapsed.total_seconds() > 0
    assert session.head(box.http("/rows/1")).content == b""
    assert session.get(box.http("/status/404")).status_code == 404
    with pytest.raises(requests.HTTPError):
        session.get(box.http("/status/404")).raise_for_status()


def test_connections_are_few_and_names_looked_up_once(box, session):
    for row in range(20):
        assert session.get(box.https(f"/rows/{row}")).ok
    assert box.counts()["origins"]["connections"] == 1


@pytest.mark.parametrize("body", [b"rows", "rows", io.BytesIO(b"rows"), iter([b"ro", b"ws"]), {"a": "1"}])
def test_bodies_of_every_kind_arrive(box, session, body):
    echo = session.put(box.http("/echo"), data=body).json()
    assert echo["body"] == ("a=1" if isinstance(body, dict) else "rows")
    lengths = [value for name, value in echo["headers"] if name == "content-length"]
    # What can tell its length is sent with it: many stores take no chunks.
    assert len(lengths) == (0 if type(body).__name__ == "list_iterator" else 1)


def test_files_are_sent_as_a_form(box, session):
    echo = session.post(box.http("/echo"), files={"rows": ("rows.csv", b"a,b")}).json()
    assert "a,b" in echo["body"]


def test_an_answer_is_streamed(box, session):
    with session.get(box.http("/bytes/3000000"), stream=True) as answer:
        assert sum(len(piece) for piece in answer.iter_content(100_000)) == 3_000_000
    with session.get(box.http("/bytes/50000000"), stream=True) as answer:
        assert len(answer.raw.read(10)) == 10
    assert session.get(box.http("/rows/1")).ok


def test_codings_and_cookies_and_redirects_are_those_of_requests(box, session):
    answer = session.get(box.http("/encoded/gzip/1000"))
    assert (answer.headers["Content-Encoding"], len(answer.content)) == ("gzip", 1000)
    answer = session.get(box.http("/redirects/2"))
    assert (answer.status_code, len(answer.history)) == (200, 2)
    assert session.get(box.http("/redirects/2"), allow_redirects=False).is_redirect


def test_cookies_are_kept_and_fields_of_one_name_joined():
    def serve(connection, file):
        for _ in iter(lambda: request_of(file), None):
            fields = b"Set-Cookie: a=1\r\nX-Two: 1\r\nset-cookie: b=2; Path=/\r\nX-Two: 2\r\nContent-Length: 0\r\n"
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")

    server = Scripted(serve)
    with server, mounted(PinlinkAdapter(**server.options())) as session:
        answer = session.get(server.url())
        assert answer.headers["x-two"] == "1, 2"
        assert dict(answer.cookies) == dict(session.cookies) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("timeout", [0.3, (0.1, 0.2)])
def test_a_timeout_is_theirs(box, session, timeout):
    with pytest.raises(requests.ReadTimeout) as caught:
        session.get(box.http("/delay/60000"), timeout=timeout)
    assert isinstance(caught.value.__cause__, pinlink.TimeoutError)
    assert caught.value.request.method == "GET"
    with pytest.raises(requests.ReadTimeout):
        session.post(box.http("/delay/60000"), timeout=timeout)


def test_exceptions_are_theirs(box, session):
    with pytest.raises(requests.exceptions.SSLError):
        session.get(box.https("/", certificate="expired"))
    with pytest.raises(requests.ConnectionError):
        session.get("https://elsewhere.example/")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _ = session.get(box.http("/close-early/100000")).content


def test_verify_is_theirs(box):
    options = box.options()
    trusted = options.pop("ca_file")
    with mounted(PinlinkAdapter(**{**options, "web_roots": True})) as session:
        with pytest.raises(requests.exceptions.SSLError):
            session.get(box.https("/rows/1"))
        queries = len(box.control("GET", "/queries"))
        assert session.get(box.https("/rows/1"), verify=trusted).ok
        assert session.get(box.https("/rows/1"), verify=False).ok
        assert len(box.control("GET", "/queries")) == queries


def test_cert_is_theirs(box, session):
    folder = pathlib.Path(box.plan["ca-file"]).parent
    private = f"https://{box.host}:{box.plan['https-client-auth']}"
    options = box.options()
    options["hosts"].append(private)
    with mounted(PinlinkAdapter(**options)) as session:
        with pytest.raises(requests.ConnectionError):
            session.get(f"{private}/echo")
        pair = (str(folder / "client.pem"), str(folder / "client.key"))
        assert session.get(f"{private}/echo", cert=pair).json()["client_certificate"]
        both = folder / "both.pem"
        both.write_text("".join(pathlib.Path(path).read_text() for path in pair))
        assert session.get(f"{private}/echo", cert=str(both)).json()["client_certificate"]
        session.cert = pair
        assert session.get(f"{private}/echo").ok


@pytest.mark.parametrize(("proxy", "scheme"), [("connect-proxy", "http"), ("socks-proxy", "socks5")])
def test_proxies_are_theirs(box, session, proxy, scheme):
    proxies = {"https": f"{scheme}://{box.plan[proxy]}"}
    assert session.get(box.https("/rows/1"), proxies=proxies).ok
    assert len(box.control("GET", "/tunnels")) == 1
    # Not for what goes around it.
    assert session.get(box.http("/rows/1"), proxies=proxies).ok
    assert session.get(box.https("/rows/1"), proxies={**proxies, "no_proxy": box.host}).ok
    assert len(box.control("GET", "/tunnels")) == 1
    # requests takes a proxy without a scheme for one of HTTP.
    if scheme == "http":
        assert session.get(box.https("/rows/1"), proxies={"https": box.plan[proxy]}).ok
    with pytest.raises(requests.exceptions.InvalidProxyURL):
        session.get(box.https("/rows/1"), proxies={"https": "ftp://127.0.0.1:21"})
    dead = {"https": "http://127.0.0.1:1"}
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(box.https("/rows/1"), proxies=dead)
    assert caught.value.__cause__.delivery == "not sent"


def test_retry_is_theirs(box):
    retry = Retry(3, status_forcelist=[503], backoff_factor=0.01)
    with mounted(PinlinkAdapter(max_retries=retry, max_attempts=1, **box.options())) as session:
        with pytest.raises(requests.exceptions.RetryError):
            session.get(box.http("/status/503"))
        assert len(box.seen()) == 4
        assert session.get(box.http("/status/503?times=2")).status_code == 200
        box.reset()
        # A POST is repeated where they say so only, and what they don't list is an answer.
        assert session.post(box.http("/status/503")).status_code == 503
        assert session.get(box.http("/status/500")).status_code == 500
        assert len(box.seen()) == 2
    with mounted(PinlinkAdapter(max_retries=2, max_attempts=1, **box.options())) as session:
        box.reset()
        with pytest.raises(requests.ReadTimeout):
            session.get(box.http("/delay/60000"), timeout=0.2)
        # A number is of tries to connect.
        assert len(box.seen()) == 1


def test_a_body_that_is_read_once_is_sent_once_and_a_file_again(box):
    retry = Retry(3, status_forcelist=[503], backoff_factor=0.01)
    seen = []

    def serve(connection, file):
        for request in iter(lambda: request_of(file), None):
            seen.append(request[1])
            status = b"503 no" if len(seen) % 2 else b"200 OK"
            connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    server = Scripted(serve)
    adapter = PinlinkAdapter(max_retries=retry, **server.options(max_attempts=1))
    with server, mounted(adapter) as session:
        assert session.put(server.url(), data=io.BytesIO(b"rows")).status_code == 200
        assert session.put(server.url(), data=b"rows").status_code == 200
        assert seen == [b"rows"] * 4
    with mounted(PinlinkAdapter(max_retries=retry, max_attempts=1, **box.options())) as session:
        with pytest.raises(requests.exceptions.RetryError):
            session.put(box.http("/status/503"), data=iter([b"ro", b"ws"]))
        assert len(box.seen()) == 1


def test_a_doubt_outlives_a_later_try_that_was_not_sent():
    server = ResetOnce()
    adapter = PinlinkAdapter(max_retries=Retry(3), **server.options(max_attempts=1))
    with server, mounted(adapter) as session:
        with pytest.raises(requests.ConnectionError) as caught:
            session.put(server.url(), data=io.BytesIO(b"rows"))
        cause = caught.value.__cause__
        assert (cause.delivery, cause.outcome) == ("delivery unknown", "Unknown")


def test_a_session_goes_along_in_a_pickle(box, session):
    session.get(box.http("/rows/1"))
    other = pickle.loads(pickle.dumps(session))
    assert other.get(box.http("/rows/2")).ok
