"""The promise: what looks names up by itself finds the pinned addresses."""

import http.client
import socket

import pytest

import pinlink


def test_getaddrinfo_answers_from_the_pins_while_the_context_lasts(box, client):
    before = socket.getaddrinfo
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo(box.host, 80)
    with pinlink.pinned(client):
        addresses = {row[4][:2] for row in socket.getaddrinfo(box.host, 80, type=socket.SOCK_STREAM)}
        assert addresses == {("127.0.0.1", 80)}
        connection = http.client.HTTPConnection(box.host, box.plan["http"], timeout=5)
        connection.request("GET", "/rows/1")
        assert connection.getresponse().status == 200
        connection.close()
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo(box.host, 80, socket.AF_INET6)
        assert socket.getaddrinfo("127.0.0.1", 80)
    assert socket.getaddrinfo is before


def test_a_set_serves_too_and_an_exception_ends_it():
    before = socket.getaddrinfo
    pins = pinlink.PinSet({"*.nodes.example": ["10.0.0.1", "10.0.0.2"]})
    with pinlink.pinned(pins):
        assert len(socket.getaddrinfo("a.nodes.example.", 80, type=socket.SOCK_STREAM)) == 2
    with pytest.raises(LookupError), pinlink.pinned(pins):
        raise LookupError
    assert socket.getaddrinfo is before
