"""The promise: a socket for another protocol is a real one, pinned, and counts until it is closed."""

import os
import socket
import ssl

import pytest

import pinlink


@pytest.fixture
def client(box):
    ports = [box.plan["http"], *box.plan["https"].values()]
    hosts = [f"tcp://{box.host}:{port}" for port in ports]
    with box.client(hosts=hosts, max_connections=1, acquire_timeout=0.2) as client:
        yield client


def ask(connection, box):
    connection.sendall(f"GET /rows/1 HTTP/1.1\r\nhost: {box.host}\r\nconnection: close\r\n\r\n".encode())
    with connection.makefile("rb") as file:
        return file.readline()


def test_a_socket_is_a_real_one(box, client):
    with client.connect(box.host, box.plan["http"], timeout=5) as connection:
        assert isinstance(connection, socket.socket)
        assert connection.gettimeout() == 5
        assert connection.getpeername() == ("127.0.0.1", box.plan["http"])
        assert ask(connection, box) == b"HTTP/1.1 200 OK\r\n"
    descriptor = connection.fileno()
    assert descriptor == -1


def test_a_silent_peer_is_waited_for_as_long_as_was_said(box, client):
    with client.connect(box.host, box.plan["http"], timeout=0.3) as connection, pytest.raises(socket.timeout):
        connection.recv(1)
    with client.connect(box.host, box.plan["http"]) as connection:
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)


def test_it_counts_until_it_is_closed(box, client):
    connection = client.connect(box.host, box.plan["http"])
    with pytest.raises(pinlink.TimeoutError) as caught:
        client.connect(box.host, box.plan["http"])
    assert caught.value.reason == "Timeout.Acquire"
    file = connection.makefile("rb")
    connection.close()
    # A file of it still reads.
    assert client.stats()["connections_live"] == 1
    file.close()
    client.connect(box.host, box.plan["http"]).close()
    assert client.stats()["connections_live"] == 0


def test_many_leave_no_descriptor_behind(box, client):
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    client.connect(box.host, box.plan["http"]).close()
    before = descriptors()
    for _ in range(50):
        client.connect(box.host, box.plan["http"]).close()
    assert descriptors() <= before + 1


def test_tls_is_verified_for_the_host(box, client):
    context = ssl.create_default_context(cafile=box.plan["ca-file"])
    with client.connect(box.host, box.plan["https"]["right"], tls=context) as connection:
        assert ask(connection, box) == b"HTTP/1.1 200 OK\r\n"
    for certificate in ("expired", "wrong-name"):
        with pytest.raises(ssl.SSLError):
            client.connect(box.host, box.plan["https"][certificate], tls=context)
    with pytest.raises(ssl.SSLError):
        client.connect(box.host, box.plan["https"]["right"], tls=True)
    assert client.stats()["connections_live"] == 0


def test_what_is_not_declared_is_out_of_reach(box, client):
    with pytest.raises(pinlink.Error) as caught:
        client.connect("elsewhere.example", 5432)
    assert caught.value.reason == "Policy.NotDeclared"
