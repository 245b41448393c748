"""The promise: a write has its effect once, and says what became of it."""

import json
import uuid

import pytest

import pinlink

SCOPE = pinlink.Scope.job("orders of 2026-11-22")


def order(box, store="sink", **arguments):
    """A write that nobody made before, and its key."""
    record = uuid.uuid4().hex
    return pinlink.Request("POST", box.https(f"/{store}/{record}"), json={"id": record}, **arguments), SCOPE.key(
        "insert", record
    )


def test_a_write_is_applied_once_however_often_it_is_sent(box, client):
    request, key = order(box)
    write = pinlink.Write(request, key, pinlink.Profile.idempotency_key())
    assert write.guarantee == "Once"
    outcomes = [client.write(write).outcome for _ in range(2)]
    assert outcomes == [pinlink.Outcome.APPLIED, pinlink.Outcome.ALREADY_APPLIED]
    assert len(box.sink()) == 1


def test_a_plain_post_is_refused_unless_the_caller_accepts_it(box, client):
    request, _ = order(box)
    with pytest.raises(pinlink.WriteError) as caught:
        client.write(pinlink.Write(request))
    assert (caught.value.reason, caught.value.outcome) == ("Write.Unkeyed", pinlink.Outcome.REJECTED)
    assert box.sink() == []
    assert client.write(pinlink.Write(request, unkeyed=True)).outcome is pinlink.Outcome.APPLIED


def test_the_same_key_with_another_body_is_refused_before_anything_is_sent(box, client):
    request, key = order(box)
    profile = pinlink.Profile.idempotency_key()
    client.write(pinlink.Write(request, key, profile))
    other = pinlink.Request("POST", request.url, json={"id": "another"})
    with pytest.raises(pinlink.WriteError) as caught:
        client.write(pinlink.Write(other, key, profile))
    assert caught.value.reason == "Write.Mismatch"
    assert len(box.sink()) == 1


def test_a_refused_write_shows_the_answer(box, client):
    request = pinlink.Request("POST", box.http("/status/403"), data="x")
    with pytest.raises(pinlink.WriteError) as caught:
        client.write(pinlink.Write(request, SCOPE.key("insert", 1), pinlink.Profile.idempotency_key()))
    assert (caught.value.status, caught.value.outcome) == (403, "Rejected")
    assert isinstance(caught.value.body, bytes)


def test_many_writes_have_an_outcome_each(box, client):
    profile = pinlink.Profile.idempotency_key()
    writes = [pinlink.Write(*order(box), profile) for _ in range(20)]
    writes.append(pinlink.Write(order(box)[0]))
    outcomes = client.write_all(writes)
    assert [outcome.outcome for outcome in outcomes[:-1]] == ["Applied"] * 20
    assert outcomes[-1].reason == "Write.Unkeyed"
    assert all(outcome.response.ok for outcome in outcomes[:-1])


def test_a_batch_writes_each_item_once(box, client):
    keys = [SCOPE.key("index", uuid.uuid4().hex) for _ in range(5)]
    items = [(key, json.dumps({"row": row})) for row, key in enumerate(keys)]
    batch = pinlink.Batch.elasticsearch(box.https("/es/_bulk"), "orders", items)
    assert [outcome.outcome for outcome in client.write_batch(batch)] == ["Applied"] * 5
    assert {outcome.outcome for outcome in client.write_batch(batch)} == {pinlink.Outcome.ALREADY_APPLIED}


def test_every_try_is_signed(box, client):
    seen = []

    def sign(unsigned):
        seen.append((unsigned.method, unsigned.url, unsigned.headers.get("idempotency-key"), unsigned.body))
        return {"Authorization": f"signature {len(seen)}"}

    request = pinlink.Request("POST", box.http("/echo"), data=b"row", sign=sign)
    echo = client.send(request).json()
    assert ["authorization", "signature 1"] in echo["headers"]
    assert seen == [("POST", box.http("/echo"), None, b"row")]

    def fail(unsigned):
        raise LookupError("no key")

    with pytest.raises(LookupError):
        client.send(pinlink.Request("POST", box.http("/echo"), data=b"row", sign=fail))
    assert client.get(box.http("/rows/1")).ok


def test_a_read_settles_an_unknown_outcome(box, client):
    asked = []

    def reads(answer):
        asked.append(answer.status)
        return answer.ok

    question = pinlink.Request("GET", box.https("/rows/1"))
    request = pinlink.Request("POST", box.http("/delay/60000"), data="x", timeout=2)
    key = SCOPE.key("insert", uuid.uuid4().hex)
    write = pinlink.Write(request, key, pinlink.Profile.idempotency_key(), verify=(question, reads))
    assert client.write(write).outcome in ("Applied", "AlreadyApplied")
    assert asked == [200]


def test_a_profile_of_one_s_own_marks_its_answers(box, client):
    profile = pinlink.Profile.header("X-Request-Id").form("uuid").memory(1800).mark(404, "AlreadyApplied")
    write = pinlink.Write(pinlink.Request("POST", box.http("/status/404"), data="x"), SCOPE.key("insert", 2), profile)
    assert client.write(write).outcome is pinlink.Outcome.ALREADY_APPLIED
    with pytest.raises(pinlink.ConfigError):
        profile.mark(200, "Perhaps")
    with pytest.raises(pinlink.ConfigError):
        pinlink.Write(pinlink.Request("POST", box.http("/")), SCOPE.key("insert", 3))


def test_a_batch_of_one_s_own_sends_again_only_what_failed(box, client):
    sent = []

    def compose(items):
        sent.append([body for _, body in items])
        lines = [f"{key.short} {body.decode()}" for key, body in items]
        return pinlink.Request("POST", box.http("/echo"), data="\n".join(lines))

    def read(answer):
        # The target had no time for the second row at first.
        rows = answer.json()["body"].splitlines()
        return [("Again" if row.endswith("b") and len(sent) == 1 else "Applied", 200) for row in rows]

    keys = [SCOPE.key("insert", uuid.uuid4().hex) for _ in range(3)]
    outcomes = client.write_batch(pinlink.Batch(zip(keys, ["a", b"b", "c"]), compose, read))
    assert [outcome.outcome for outcome in outcomes] == ["Applied"] * 3
    assert sent == [[b"a", b"b", b"c"], [b"b"]]
    assert outcomes[0].response.url == box.http("/echo")


def test_what_a_batch_s_functions_raise_takes_no_outcome_away(box, client):
    def fail(_):
        raise LookupError("no row")

    def compose(items):
        return pinlink.Request("POST", box.http("/echo"), data="x")

    for functions in ((fail, fail), (compose, fail), (compose, lambda answer: [("Perhaps", 200)])):
        batch = pinlink.Batch([(SCOPE.key("insert", uuid.uuid4().hex), "a")], *functions)
        (outcome,) = client.write_batch(batch)
        assert isinstance(outcome, pinlink.Error)
        assert isinstance(outcome.__cause__, (LookupError, pinlink.ConfigError))
    sent = []

    def compose_once(items):
        sent.append(len(items))
        return compose(items) if len(sent) == 1 else fail(items)

    keys = [SCOPE.key("insert", uuid.uuid4().hex) for _ in range(2)]
    batch = pinlink.Batch(zip(keys, "ab"), compose_once, lambda answer: [("Applied", 200), ("Again", 503)])
    applied, failed = client.write_batch(batch)
    assert applied.outcome == "Applied"
    assert isinstance(failed.__cause__, LookupError)
    assert sent == [2, 1]


def test_what_one_row_s_functions_raise_is_its_outcome_only(box, client):
    def fail(_):
        raise LookupError("no key")

    profile = pinlink.Profile.idempotency_key()
    writes = [pinlink.Write(*order(box), profile) for _ in range(3)]
    request, key = order(box)
    broken = pinlink.Request("POST", request.url, json={}, sign=fail)
    writes.insert(1, pinlink.Write(broken, key, profile))
    question = pinlink.Request("GET", box.https("/rows/1"))
    late = pinlink.Request("POST", box.http("/delay/60000"), data="x", timeout=1)
    writes.append(pinlink.Write(late, SCOPE.key("insert", uuid.uuid4().hex), profile, verify=(question, fail)))
    outcomes = client.write_all(writes)
    assert [outcome.outcome for outcome in outcomes] == ["Applied", "Rejected", "Applied", "Applied", "Unknown"]
    assert isinstance(outcomes[1].__cause__, LookupError)
    assert isinstance(outcomes[4].__cause__, LookupError)
    rows = client.map([box.http("/rows/1"), broken, box.http("/rows/2")])
    assert rows[0].ok
    assert rows[2].ok
    assert isinstance(rows[1].__cause__, LookupError)

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.map([pinlink.Request("GET", box.http("/rows/1"), sign=interrupt)])
