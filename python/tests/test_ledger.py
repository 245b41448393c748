"""The promise: a target that knows nothing of keys is written to by one execution of many."""

import threading
import uuid

import pytest

import pinlink

SCOPE = pinlink.Scope.job("mails of 2026-11-22")


@pytest.fixture
def ledger(box, client):
    return pinlink.Ledger.http(client, box.http("/oss/ledger/mails/"), pinlink.Profile.oss())


def key():
    """A key that nobody has used."""
    return SCOPE.key("send mail", uuid.uuid4().hex)


def test_one_execution_writes_and_the_others_find_it_done(box, client, ledger):
    mails, outcomes, mail = [], [], key()

    def send(left):
        assert 0 < left <= 30
        mails.append(client.post(box.http("/echo"), data=b"mail", timeout=left).status)
        return "sent"

    def execute():
        outcomes.append(ledger.once(mail, b"mail", send))

    executions = [threading.Thread(target=execute) for _ in range(4)]
    for execution in executions:
        execution.start()
    for execution in executions:
        execution.join()
    assert mails == [200]
    assert sorted(settled.outcome for settled in outcomes) == ["AlreadyApplied"] * 3 + ["Applied"]
    assert [settled.value for settled in outcomes if settled.outcome == "Applied"] == ["sent"]
    assert all(settled.is_confirmed for settled in outcomes)


def test_a_refusal_lets_the_next_execution_write(box, client, ledger):
    mail = key()
    with pytest.raises(pinlink.WriteError) as caught:
        ledger.once(mail, b"mail", lambda left: client.write(pinlink.Write(pinlink.Request("POST", box.http("/")))))
    assert (caught.value.reason, caught.value.outcome) == ("Write.Unkeyed", "Rejected")
    assert ledger.once(mail, b"mail", lambda left: 1).outcome is pinlink.Outcome.APPLIED


def test_what_may_have_happened_is_unknown_unless_a_read_can_tell(ledger):
    def lose(left):
        raise OSError("the answer was lost")

    mail = key()
    with pytest.raises(pinlink.WriteError) as caught:
        ledger.once(mail, b"mail", lose)
    assert (caught.value.reason, caught.value.outcome) == ("Write.OutcomeUnknown", "Unknown")
    assert isinstance(caught.value.__cause__, OSError)
    assert ledger.once(key(), b"mail", lose, verify=lambda: True).outcome == "Applied"
    with pytest.raises(LookupError):
        ledger.once(key(), b"mail", lose, verify={}.popitem)
    with pytest.raises(KeyboardInterrupt):
        ledger.once(key(), b"mail", interrupt)


def interrupt(left):
    raise KeyboardInterrupt


def test_another_content_under_the_same_key_is_refused(ledger):
    mail = key()
    ledger.once(mail, b"mail", lambda left: None)
    with pytest.raises(pinlink.WriteError) as caught:
        ledger.once(mail, b"another", lambda left: None)
    assert caught.value.reason == "Write.Mismatch"


def test_a_store_that_fails_before_the_write_is_said_so(box, client):
    ledger = pinlink.Ledger.http(client, box.http("/status/403/"), pinlink.Profile.oss())
    written = []
    with pytest.raises(pinlink.WriteError) as caught:
        ledger.once(key(), b"mail", written.append, timeout=5)
    assert (caught.value.reason, written) == ("Write.Ledger", [])


def test_records_are_signed(box, client):
    signed = []

    def sign(unsigned):
        signed.append(unsigned.method)
        return {"Authorization": "signature"}

    ledger = pinlink.Ledger.http(client, box.http("/oss/ledger/signed/"), pinlink.Profile.s3(), sign=sign)
    assert ledger.once(key(), b"mail", lambda left: None).outcome == "Applied"
    assert "PUT" in signed


def test_what_no_ledger_can_be_kept_with_is_refused(box, client):
    for base, profile in [("/oss/a", pinlink.Profile.oss()), ("/oss/a/", pinlink.Profile.idempotency_key())]:
        with pytest.raises(pinlink.ConfigError):
            pinlink.Ledger.http(client, box.http(base), profile)
    with pytest.raises(pinlink.ConfigError):
        pinlink.Ledger.http(client, box.http("/oss/a/"), pinlink.Profile.oss(), takeover="always")
    ledger = pinlink.Ledger.http(client, box.http("/oss/a/"), pinlink.Profile.oss(), lease=0.001)
    with pytest.raises(pinlink.ConfigError):
        ledger.once(key(), b"mail", lambda left: None)
