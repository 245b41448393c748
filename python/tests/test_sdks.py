"""The promise: SDKs that stand on `requests` go through unchanged: pinned, pooled, within the cap."""

import hashlib
import http.server
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, unquote, urlsplit

import oss2
import pytest
from alibabacloud_tea_openapi.client import Client as OpenApi
from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params
from darabonba.core import DaraCore
from darabonba.exceptions import UnretryableException
from darabonba.runtime import RuntimeOptions

from pinlink.adapters.requests import PinlinkAdapter

BUCKET = "orders.oss.test"


class Store(http.server.ThreadingHTTPServer):
    """As much of OSS as an SDK needs to put, get, list and delete the objects of one bucket; counts connections."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Exchange)
        self.objects = {}
        self.requests = []
        self.lock = threading.Lock()
        self.live = self.peak = self.accepted = 0

    def process_request_thread(self, request, client_address):
        with self.lock:
            self.accepted += 1
            self.live += 1
            self.peak = max(self.peak, self.live)
        super().process_request_thread(request, client_address)
        with self.lock:
            self.live -= 1


class Exchange(http.server.BaseHTTPRequestHandler):
    """One connection to a :class:`Store`."""

    protocol_version = "HTTP/1.1"
    # An answer goes out in one piece.
    wbufsize = -1

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        self.send_header("x-oss-request-id", "5C3D9175B6FC201293AD")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_one(self):
        store, key, body = self.server, unquote(urlsplit(self.path).path[1:]), b""
        if "Content-Length" in self.headers:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        store.requests.append((self.command, self.headers["Host"], self.headers.get("Authorization", "")))
        digest = hashlib.md5(body).hexdigest().upper()
        if self.command == "PUT" and "Transfer-Encoding" in self.headers:
            # OSS takes a body of unknown length; it is no part of this test.
            self.answer(411)
        elif self.command == "PUT":
            store.objects[key] = body
            self.answer(200, ETag=f'"{digest}"')
        elif self.command == "DELETE":
            store.objects.pop(key, None)
            self.answer(204)
        elif not key:
            prefix = parse_qs(urlsplit(self.path).query).get("prefix", [""])[0]
            keys = [name for name in sorted(store.objects) if name.startswith(prefix)]
            entry = "<Contents><Key>%s</Key><LastModified>2026-11-22T00:00:00.000Z</LastModified><ETag>e</ETag>"
            entry += "<Type>Normal</Type><Size>1</Size><StorageClass>Standard</StorageClass></Contents>"
            listed = "".join(entry % name for name in keys)
            xml = f"<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>"
            self.answer(200, xml.encode(), Content_Type="application/xml")
        elif key in store.objects:
            self.answer(200, store.objects[key], Content_Type="text/plain")
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>", Content_Type="application/xml")

    do_PUT = do_GET = do_DELETE = handle_one  # noqa: N815


@pytest.fixture
def store():
    with Store() as store:
        thread = threading.Thread(target=store.serve_forever)
        thread.start()
        yield store
        store.shutdown()
        thread.join()


@pytest.fixture
def no_names(monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError("a name was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", fail)


def test_oss2_puts_gets_and_lists_over_few_pinned_connections(store, no_names):
    port = store.server_address[1]
    adapter = PinlinkAdapter(
        hosts=f"http://*.oss.test:{port}",
        pins={BUCKET: "127.0.0.1"},
        allow_addresses="127.0.0.0/8",
        max_connections=4,
    )
    session = oss2.Session(adapter=adapter)
    bucket = oss2.Bucket(oss2.Auth("id", "secret"), f"http://oss.test:{port}", "orders", session=session)

    def work(row):
        key, body = f"rows/{row}", f"row {row}".encode()
        assert bucket.put_object(key, body).status == 200
        return bucket.get_object(key).read() == body

    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(work, range(60)))
    assert len(bucket.list_objects(prefix="rows/").object_list) == 60
    assert sum(1 for _ in oss2.ObjectIteratorV2(bucket, prefix="rows/5")) == 11
    bucket.delete_object("rows/1")
    with pytest.raises(oss2.exceptions.NoSuchKey):
        bucket.get_object("rows/1")
    assert 1 <= store.peak <= 4
    # Pooled: as many connections as were wanted at once, not one a request.
    assert store.accepted <= 4 < len(store.requests)
    assert {host for _, host, _ in store.requests} == {f"{BUCKET}:{port}"}
    assert all(signature.startswith("OSS id:") for _, _, signature in store.requests)


def test_oss2_tells_a_network_s_failure_as_ever(no_names):
    adapter = PinlinkAdapter(hosts="http://*.oss.test:1", pins={BUCKET: "127.0.0.1"}, allow_addresses="127.0.0.0/8")
    session = oss2.Session(adapter=adapter)
    bucket = oss2.Bucket(oss2.Auth("id", "secret"), "http://oss.test:1", "orders", session=session)
    with pytest.raises(oss2.exceptions.RequestError):
        bucket.get_object("rows/1")


@pytest.fixture
def openapi(box, monkeypatch):
    """A client of a generated SDK. Tea keeps a session for each endpoint, and asks `get_adapter` for its transport."""
    adapter = PinlinkAdapter(max_connections=4, **box.options())
    monkeypatch.setattr(DaraCore, "get_adapter", staticmethod(lambda *_, **__: adapter))
    monkeypatch.setattr(DaraCore, "_sessions", {})
    endpoint = box.https("")[len("https://") :]
    return OpenApi(Config(access_key_id="id", access_key_secret="secret", endpoint=endpoint, protocol="https"))


def call(openapi, path, method="POST", **request):
    kind = Params(
        action="CreateKey",
        version="2016-01-20",
        protocol="HTTPS",
        pathname=path,
        method=method,
        auth_type="AK",
        style="ROA",
        req_body_type="json",
        body_type="json",
    )
    return openapi.call_api(kind, OpenApiRequest(**request), RuntimeOptions(autoretry=False))


def test_a_tea_based_sdk_goes_over_few_pinned_connections(box, openapi):
    echo = call(openapi, "/echo", body={"Alias": "orders"}, query={"RegionId": "cn-hangzhou"})["body"]
    assert (echo["method"], echo["query"], echo["host"]) == ("POST", "RegionId=cn-hangzhou", box.https("")[8:])
    headers = dict(echo["headers"])
    assert headers["x-acs-action"] == "CreateKey"
    assert headers["authorization"].startswith("ACS3-HMAC-SHA256 Credential=id,")
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda row: call(openapi, f"/rows/{row}", "GET")["body"]["id"], range(60)))
    assert answers == [str(row) for row in range(60)]
    counts = box.counts()["origins"]
    assert counts["connections"] <= 4
    assert len(box.control("GET", "/queries")) <= 1


def test_a_tea_based_sdk_tells_a_network_s_failure_as_ever(box, openapi):
    with pytest.raises(UnretryableException):
        call(openapi, "/close-early/1000", "GET")
