"""The promise: a request goes out as it was made, and comes back whole or as one exception that says what to do."""

import builtins
import datetime
import io
import pathlib

import pytest

import pinlink


def echo_headers(answer):
    return {name: value for name, value in answer.json()["headers"]}


def test_a_request_arrives_as_it_was_made(box, client):
    answer = client.post(
        box.http("/echo?q=1"),
        params={"a": [1, "b c"], "none": None, "flag": True},
        json={"é": [1, None]},
        headers={"x-trace": "7"},
    )
    echo = answer.json()
    assert (echo["method"], echo["query"]) == ("POST", "q=1&a=1&a=b%20c&flag=true")
    assert echo["body"] == '{"é":[1,null]}'
    assert echo_headers(answer)["x-trace"] == "7"
    assert echo_headers(answer)["content-type"] == "application/json"


@pytest.mark.parametrize("verb", ["get", "head", "post", "put", "patch", "delete"])
def test_every_verb_is_a_method(box, client, verb):
    answer = getattr(client, verb)(box.https("/echo"))
    assert answer.status == 200
    if verb == "head":
        assert answer.content == b""
    else:
        assert answer.json()["method"] == verb.upper()


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"bytes", "bytes"),
        ("té", "té"),
        (bytearray(b"array"), "array"),
        (memoryview(b"view")[1:], "iew"),
        ({"a": "1 2", "b": ["3", "4"]}, "a=1+2&b=3&b=4"),
        (io.BytesIO(b"file"), "file"),
        (iter([b"pie", b"", b"ces"]), "pieces"),
        (b"", ""),
    ],
)
def test_data_of_every_kind_arrives(box, client, data, body):
    assert client.put(box.http("/echo"), data=data).json()["body"] == body


def test_a_form_says_that_it_is_one_unless_the_caller_does(box, client):
    answer = client.post(box.http("/echo"), data={"a": "1"})
    assert echo_headers(answer)["content-type"] == "application/x-www-form-urlencoded"
    answer = client.post(box.http("/echo"), data={"a": "1"}, headers={"Content-Type": "mine"})
    assert echo_headers(answer)["content-type"] == "mine"


def test_large_bodies_travel_both_ways(box, client):
    rows = bytes(range(97, 120)) * 100_000
    assert client.put(box.http("/echo"), data=rows).json()["body_bytes"] == len(rows)
    answer = client.get(box.https("/bytes/3000000"))
    assert len(answer.content) == 3_000_000
    assert answer.content is answer.content
    assert b"".join(answer.iter_bytes(70_000)) == answer.content


def test_an_answer_has_headers_text_and_trace(box, client):
    answer = client.get(box.https("/rows/7"))
    assert answer.ok
    assert answer.url == box.https("/rows/7")
    assert answer.headers["Content-Type"] == answer.headers.get("content-type") == "application/json"
    assert "ETAG" in answer.headers
    assert answer.headers.get("x-none") is None
    assert ("content-type", "application/json") in answer.headers.pairs()
    assert answer.text.encode() == answer.content
    assert answer.json()
    assert answer.trace["attempts"] == 1
    assert answer.trace["total"] > 0
    assert client.get(box.https("/rows/8")).trace["reused"]
    assert len(box.seen()) == 2


def test_names_are_resolved_once_and_connections_kept(box):
    with box.client() as client:
        for row in range(20):
            assert client.get(box.http(f"/rows/{row}")).status == 200
        stats = client.stats()
    assert (stats["requests"], stats["answers"], stats["dials"], stats["refreshes"]) == (20, 20, 1, 0)
    assert stats["latency_p50_us"] > 0


def test_a_status_of_400_or_more_is_an_answer_until_asked(box, client):
    answer = client.get(box.http("/status/404?token=hunter2"))
    assert (answer.status, answer.ok) == (404, False)
    with pytest.raises(pinlink.StatusError) as caught:
        answer.raise_for_status()
    assert (caught.value.status, caught.value.reason, caught.value.delivery) == (404, "Status.Client", "answered")
    assert "hunter2" not in str(caught.value)
    assert box.host in str(caught.value)
    answer = client.get(box.http("/rows/1"))
    assert answer.raise_for_status() is answer


def test_a_failure_says_what_failed_where_and_whether_it_arrived(box, client):
    with pytest.raises(pinlink.Error) as caught:
        client.get("https://elsewhere.example/")
    error = caught.value
    assert (error.kind, error.reason, error.phase) == ("Policy", "Policy.NotDeclared", "configure")
    assert (error.delivery, error.outcome) == ("not sent", pinlink.Outcome.REJECTED)
    assert error.outcome == "Rejected"
    assert str(error).startswith("Policy.NotDeclared: ")


def test_exceptions_are_builtins_where_python_has_a_word(box, client):
    with pytest.raises(builtins.ConnectionError) as caught:
        client.get(box.https("/", certificate="expired"))
    assert isinstance(caught.value, pinlink.ConnectionError)
    assert (caught.value.reason, caught.value.phase) == ("Tls.Expired", "handshake")
    assert caught.value.host.startswith(box.host)
    with pytest.raises(builtins.TimeoutError) as caught:
        client.get(box.http("/delay/60000"), timeout=0.3)
    assert isinstance(caught.value, pinlink.TimeoutError)
    assert caught.value.attempts >= 1
    assert caught.value.elapsed > 0.2
    with pytest.raises(ValueError, match=r"Config\.InvalidInput"):
        client.get(box.http("/"), headers={"x": "a\r\nb: c"})


def test_a_cause_is_kept(box):
    with pytest.raises(pinlink.ConfigError) as caught:
        pinlink.PinSet.load("/nowhere/pins.json")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_what_a_body_raises_is_the_cause(box, client):
    def pieces():
        yield b"some"
        raise LookupError("the source is gone")

    with pytest.raises(pinlink.Error) as caught:
        client.post(box.http("/echo"), data=pieces())
    assert (caught.value.reason, caught.value.delivery) == ("Write.OutcomeUnknown", "delivery unknown")
    assert caught.value.__cause__.reason == "Canceled.Body"
    assert isinstance(caught.value.__cause__.__cause__, LookupError)

    def interrupted():
        yield b"some"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.post(box.http("/echo"), data=interrupted())


@pytest.mark.parametrize("timeout", [0.5, 5, datetime.timedelta(seconds=5)])
def test_a_timeout_is_seconds_or_a_timedelta(box, client, timeout):
    assert client.get(box.http("/rows/1"), timeout=timeout).status == 200


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_no_time_is_no_timeout(box, client, timeout):
    with pytest.raises(pinlink.ConfigError):
        client.get(box.http("/"), timeout=timeout)


@pytest.mark.parametrize(
    "arguments", [{"timeout": "1"}, {"timeout": True}, {"headers": 7}, {"params": 7}, {"headers": {"a": 7}}]
)
def test_a_wrong_type_is_a_type_error(box, client, arguments):
    with pytest.raises(TypeError):
        client.get(box.http("/"), **arguments)


def test_map_gives_an_outcome_a_row_in_their_order(box, client):
    rows = [box.http(f"/rows/{row}") for row in range(50)]
    rows[7] = "https://elsewhere.example/"
    rows[8] = pinlink.Request("POST", box.http("/echo"), json=8)
    outcomes = client.map(iter(rows))
    assert len(outcomes) == 50
    assert outcomes[7].reason == "Policy.NotDeclared"
    assert outcomes[8].json()["body"] == "8"
    assert [outcome.url for outcome in outcomes[9:]] == rows[9:]
    assert all(outcome.ok for outcome in outcomes if isinstance(outcome, pinlink.Response))
    assert client.map([]) == []
    assert client.stats()["connections_peak"] <= 8


def test_a_request_is_made_once_and_sent_often(box, client):
    request = pinlink.Request("GET", box.http("/echo"), params={"q": 1}, headers=[("x-a", b"1"), ("x-a", "2")])
    assert (request.method, request.url) == ("GET", box.http("/echo?q=1"))
    assert "q=1" not in repr(request)
    for _ in range(2):
        assert client.send(request).json()["query"] == "q=1"
    with pytest.raises(pinlink.ConfigError):
        pinlink.Request("GE T", box.http("/"))


def test_a_closed_client_says_so(box):
    with box.client() as client:
        assert client.get(box.http("/rows/1")).ok
    client.close()
    with pytest.raises(pinlink.Error) as caught:
        client.get(box.http("/rows/1"))
    assert caught.value.reason == "Closed.Closed"


def test_options_are_numbers_timedeltas_lists_and_dictionaries(box):
    options = box.options(
        timeout=datetime.timedelta(seconds=10),
        connect_timeout=2.5,
        max_connections=4,
        max_body=1 << 20,
        protocol="http1",
        pin_set=None,
        pins={box.host: ["127.0.0.1"]},
        ca_file=pathlib.Path(box.plan["ca-file"]),
    )
    with pinlink.Client(**options) as client:
        assert client.get(box.https("/rows/1")).ok
        assert client.stats()["lookups_dns"] == 0
        assert client.pins().find(box.host) == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"max_conections": 1}, pinlink.ConfigError, "Config.UnknownOption"),
        ({"timeout": -1}, pinlink.ConfigError, "Config.InvalidInput"),
        ({"max_connections": 0}, pinlink.ConfigError, "Config.InvalidInput"),
        ({"max_connections": 1.5}, TypeError, None),
        ({"max_connections": True}, TypeError, None),
        ({"web_roots": 1}, TypeError, None),
        ({"hosts": 7}, TypeError, None),
        ({"hosts": []}, pinlink.ConfigError, "Config.Conflict"),
    ],
)
def test_a_wrong_option_is_refused_with_its_name(box, options, error, reason):
    with pytest.raises(error) as caught:
        box.client(**options)
    assert getattr(caught.value, "reason", None) == reason
    assert next(iter(options)) in str(caught.value)


def test_a_process_shares_one_client(box):
    one, other = (pinlink.Client.shared(**box.options()) for _ in range(2))
    one.get(box.http("/rows/1"))
    assert other.stats()["requests"] == 1
    with pytest.raises(pinlink.ConfigError) as caught:
        pinlink.Client.shared(**box.options(max_connections=1))
    assert caught.value.reason == "Config.AlreadyInit"
    one.close()
