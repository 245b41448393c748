"""What the tests share: a network in a box, in a process of its own, and a client for it."""

import itertools
import json
import os
import pathlib
import subprocess
import urllib.request

import pytest

import pinlink

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target")))
_NEXT = itertools.count(1)

# What the environment says of proxies and trust is the machine's; libraries under test would take it for theirs.
for name in list(os.environ):
    if name.lower().endswith("_proxy") or name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        del os.environ[name]


class Box:
    """A DNS server, proxies, origins, and faults that are switched at run time. It ends when its input closes."""

    def __init__(self, *options):
        # Look-ups are shared within a process: every box has a name that nobody else has asked for.
        name = f"kms-{os.getpid()}-{next(_NEXT)}.box.test"
        command = [os.environ.get("PINLINK_BOX", str(TARGET / "debug/pinlink-box")), "--names", name, *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.plan = json.loads(self._process.stdout.readline())
        self.host = self.plan["plan"]["names"][0]

    def http(self, path="/"):
        return f"http://{self.host}:{self.plan['http']}{path}"

    def https(self, path="/", certificate="right"):
        return f"https://{self.host}:{self.plan['https'][certificate]}{path}"

    def options(self, **options):
        """The options of a client that reaches this network's origins, and these."""
        hosts = [self.http("")] + [self.https("", certificate) for certificate in self.plan["https"]]
        reach = {
            "hosts": hosts,
            "nameservers": [self.plan["dns"]],
            "allow_addresses": ["127.0.0.0/8"],
            "ca_file": self.plan["ca-file"],
            "web_roots": False,
        }
        return {**reach, **options}

    def client(self, **options):
        return pinlink.Client(**self.options(**options))

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.plan['control']}{path}", data, method=method)
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def inject(self, fault):
        self.control("POST", "/faults", fault)

    def heal(self):
        self.control("DELETE", "/faults")

    def reset(self):
        self.control("POST", "/reset")

    def counts(self):
        return self.control("GET", "/counts")

    def seen(self):
        return self.control("GET", "/seen")

    def sink(self):
        return self.control("GET", "/sink")

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.close()


@pytest.fixture(scope="module")
def shared_box():
    with Box() as box:
        yield box


@pytest.fixture
def box(shared_box):
    shared_box.heal()
    shared_box.reset()
    return shared_box


@pytest.fixture
def client(box):
    with box.client() as client:
        yield client
