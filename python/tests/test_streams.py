"""The promise: an answer of any size is read while it comes, and one that breaks off never looks whole."""

import csv
import hashlib
import io
import resource

import pytest
from conftest import Box

import pinlink


def test_pieces_come_as_they_are_sent(box, client):
    answer = client.open(box.http("/bytes/3000000"))
    assert (answer.status, answer.headers["content-length"]) == (200, "3000000")
    pieces = list(answer.iter_bytes())
    assert max(map(len, pieces)) <= 256 * 1024
    assert b"".join(pieces) == client.get(box.http("/bytes/3000000")).content
    assert client.stats()["dials"] == 1


def test_a_piece_stays_what_it_was_however_the_next_ones_come(box, client):
    for url in (box.https("/bytes/3000000"), box.http("/chunked/3000000"), box.http("/stream/50/3000/1")):
        pieces = list(client.open(url).iter_bytes())
        assert b"".join(pieces) == client.get(url).content
    with client.open(box.http("/bytes/10000000")) as answer:
        whole = client.get(box.http("/bytes/10000000")).content
        kept = [(piece, bytes(bytearray(piece))) for piece in answer.iter_bytes()]
    assert all(piece == copy for piece, copy in kept)
    assert b"".join(piece for piece, _ in kept) == whole


def test_an_answer_is_a_file(box, client):
    whole = client.get(box.http("/bytes/100000")).content
    with client.open(box.http("/bytes/100000")) as answer:
        assert answer.read(10) == whole[:10]
        assert answer.read() == whole[10:]
        assert answer.read() == b""
    with pytest.raises(ValueError, match="closed"):
        answer.read(1)
    answer = client.open(pinlink.Request("POST", box.http("/echo"), data="a,b\n1,2\n"))
    lines = csv.reader(io.TextIOWrapper(io.BufferedReader(answer)))
    assert next(iter(lines))[0].startswith("{")


def test_reads_of_every_size_bring_the_same_bytes(box, client):
    whole = client.get(box.http("/bytes/300000")).content
    for size in (1000, 70_000, 1 << 20):
        with client.open(box.http("/bytes/300000")) as answer:
            assert answer.read(0) == b""
            first = bytearray(500)
            assert answer.readinto(first) == 500
            pieces = list(iter(lambda answer=answer, size=size: answer.read(size), b""))
            assert max(map(len, pieces)) <= size
            assert first + b"".join(pieces) == whole


def test_who_reads_on_after_closing_is_told(box, client):
    answer = client.open(box.http("/bytes/3000000"))
    pieces = answer.iter_bytes()
    assert next(pieces)
    answer.close()
    with pytest.raises(ValueError, match="closed"):
        next(pieces)
    for read in (answer.read, answer.readall):
        with pytest.raises(ValueError, match="closed"):
            read()


def test_an_answer_closed_early_closes_its_connection_and_gives_its_place_back(box):
    with box.client(max_connections=1) as client:
        for _ in range(3):
            with client.open(box.http("/bytes/50000000")) as answer:
                assert next(answer.iter_bytes())
        assert client.get(box.http("/rows/1")).ok


def test_a_body_that_breaks_off_is_an_error(box, client):
    answer = client.open(box.http("/close-early/100000"))
    with pytest.raises(pinlink.Error) as caught:
        answer.read()
    assert (caught.value.reason, caught.value.delivery) == ("Protocol.Incomplete", "answered")


def test_a_size_limit_holds(box, client):
    answer = client.open(pinlink.Request("GET", box.http("/chunked/100000"), size_limit=1000))
    with pytest.raises(pinlink.Error) as caught:
        answer.read()
    assert caught.value.reason == "Limit.Body"


def test_a_large_body_takes_little_memory():
    with Box() as box, box.client() as client:
        client.get(box.http("/rows/1"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        digest, size = hashlib.sha256(), 0
        for piece in client.open(box.http("/bytes/100000000")).iter_bytes():
            digest.update(piece)
            size += len(piece)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert size == 100_000_000
    assert grown < 5 * 1024
