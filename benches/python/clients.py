"""Clients of each library, made as its documentation says: connections kept, pools alike, nothing of the environment.

A library is imported by the function that makes its client: a process holds one of them only.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl
    from typing import Any

    from calls import Call

LOOPBACK = "127.0.0.0/8"


def trusting(call: Call) -> ssl.SSLContext:
    """What verifies the server's certificate, where a client leaves that to Python."""
    import ssl

    return ssl.create_default_context(cafile=call.ca)


def raw(call: Call) -> socket.socket:
    import socket

    stream = socket.create_connection(("127.0.0.1", call.port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return trusting(call).wrap_socket(stream, server_hostname=call.host) if call.is_tls else stream


def options(call: Call) -> dict[str, Any]:
    """Those of a client of ours."""
    more: dict[str, Any] = {"pins": {"localhost": "127.0.0.1"}, "ca_file": call.ca} if call.is_tls else {}
    if call.is_http2:
        more.update(protocol="http2", max_streams=call.at_once)
    return {
        "hosts": [call.origin],
        "allow_addresses": LOOPBACK,
        "max_connections": call.connections,
        "max_connections_per_origin": call.connections,
        "summary": "off",
        **more,
    }


def pinlink(call: Call) -> Any:
    import pinlink

    return pinlink.Client(**options(call))


def http_client(call: Call) -> Any:
    import http.client

    if call.is_tls:
        return http.client.HTTPSConnection(call.host, call.port, context=trusting(call))
    return http.client.HTTPConnection(call.host, call.port)


def requests(call: Call) -> Any:
    import requests

    session = requests.Session()
    session.trust_env = False
    session.verify = call.ca
    return session


def requests_on_pinlink(call: Call) -> Any:
    import requests
    from pinlink.adapters.requests import PinlinkAdapter

    session = requests.Session()
    session.trust_env = False
    session.mount(call.origin, PinlinkAdapter(**options(call)))
    return session


def httpx(call: Call) -> Any:
    import httpx

    return httpx.Client(trust_env=False, verify=trusting(call))


def httpx_on_pinlink(call: Call) -> Any:
    import httpx
    from pinlink.adapters.httpx import Transport

    return httpx.Client(transport=Transport(**options(call)))


def httpx_asynchronous(call: Call) -> Any:
    import httpx

    limits = httpx.Limits(max_connections=call.connections, max_keepalive_connections=call.connections)
    return httpx.AsyncClient(trust_env=False, verify=trusting(call), limits=limits, http2=call.is_http2)


def urllib3(call: Call) -> Any:
    import urllib3

    return urllib3.PoolManager(maxsize=call.connections, ca_certs=call.ca)


def niquests(call: Call) -> Any:
    import niquests

    session = niquests.Session(pool_maxsize=call.connections, multiplexed=call.is_http2)
    session.trust_env = False
    session.verify = call.ca
    return session


def niquests_asynchronous(call: Call) -> Any:
    import niquests

    session = niquests.AsyncSession(pool_maxsize=call.connections, multiplexed=call.is_http2)
    session.trust_env = False
    session.verify = call.ca
    return session


def curl(call: Call) -> Any:
    import pycurl

    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, call.url)
    handle.setopt(pycurl.CAINFO, call.ca)
    if call.payload:
        handle.setopt(pycurl.POSTFIELDS, call.payload)
        handle.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in call.headers.items()])
    if call.is_http2:
        handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        handle.setopt(pycurl.PIPEWAIT, 1)
    return handle


def primp(call: Call) -> Any:
    import primp

    return primp.Client(ca_cert_file=call.ca if call.is_tls else None)


def primp_asynchronous(call: Call) -> Any:
    import primp

    return primp.AsyncClient(ca_cert_file=call.ca if call.is_tls else None, http2_only=call.is_http2)


def aiohttp(call: Call) -> Any:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=call.connections, ssl=trusting(call))
    return aiohttp.ClientSession(connector=connector)


def pyreqwest(call: Call) -> Any:
    from pyreqwest.client import SyncClientBuilder

    return _pyreqwest(SyncClientBuilder(), call)


def pyreqwest_asynchronous(call: Call) -> Any:
    from pyreqwest.client import ClientBuilder

    return _pyreqwest(ClientBuilder(), call)


def _pyreqwest(builder: Any, call: Call) -> Any:
    if call.is_tls:
        with open(call.ca, "rb") as file:
            builder = builder.add_root_certificate_pem(file.read())
    return builder.no_proxy().http2(call.is_http2).pool_max_idle_per_host(call.connections).build()
