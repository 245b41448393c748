"""The promise: what stands between a job and its targets is told in Python as it is seen."""

import json
import pickle
import platform

import pytest
from conftest import Box
from parity import table

import pinlink

NAMES = table("doctor.toml")


def reach(box, **options):
    """Options that reach a box's targets, without its hosts."""
    return {name: value for name, value in box.options(**options).items() if name != "hosts"}


def check_same(diagnosis):
    """Whether the JSON says what the objects do, field by field, in the names of every language."""
    told = json.loads(diagnosis.to_json())
    assert told.keys() == {"targets", "environment"}
    assert [row["target"] for row in told["targets"]] == [row.target for row in diagnosis.targets]
    for row, examination in zip(told["targets"], diagnosis.targets):
        assert len(row["steps"]) == len(examination.steps)
        for fields, step in zip(row["steps"], examination.steps):
            causes = [cause._asdict() for cause in step.causes]
            assert dict(fields) == dict(step._asdict(), causes=[dict(cause) for cause in causes])
            assert step.stage in NAMES["stages"]
            assert step.verdict in NAMES["verdicts"]
            assert {cause.layer for cause in step.causes} <= set(NAMES["layers"])
            assert {cause.certainty for cause in step.causes} <= set(NAMES["certainties"])
    assert told["environment"] == [dict(fact._asdict()) for fact in diagnosis.environment]
    assert {fact.verdict for fact in diagnosis.environment} <= set(NAMES["verdicts"])
    again = pickle.loads(pickle.dumps(diagnosis))
    assert (str(again), again.targets, again.ok) == (str(diagnosis), diagnosis.targets, diagnosis.ok)


def test_targets_that_are_reachable_are_well_at_every_step(box):
    targets = [box.https(""), box.http(""), box.http("").replace("http:", "tcp:")]
    diagnosis = pinlink.doctor(targets, **reach(box))
    assert diagnosis.ok, str(diagnosis)
    assert all(examination.ok for examination in diagnosis.targets)
    assert [step.stage for step in diagnosis.targets[0].steps] == list(NAMES["stages"])
    assert [step.stage for step in diagnosis.targets[1].steps] == ["name", "address", "tcp", "answer"]
    assert [examination.target for examination in diagnosis.targets] == targets
    assert all(step.reason is None and 0 <= step.milliseconds < 10_000 for step in diagnosis.targets[0].steps)
    assert str(diagnosis).startswith(targets[0] + ": reachable\n")
    assert repr(diagnosis) == "<pinlink.Diagnosis: 3 of 3 targets are reachable>"
    check_same(diagnosis)


def test_a_missing_step_is_named_with_its_layer_and_how_sure_that_is(box):
    with Box() as faulty:
        faulty.inject("nx-domain")
        diagnosis = pinlink.doctor([faulty.https(""), box.http("")], **reach(faulty))
    assert not diagnosis.ok
    examination = diagnosis.targets[0]
    assert not examination.ok
    (step,) = examination.steps
    assert (step.stage, step.verdict, step.reason) == ("name", "failed", "Dns.NxDomain")
    assert step.causes[0].layer == "name"
    assert step.causes[0].certainty == "likely"
    assert "odps.session.networklink" in step.causes[0].step
    for words in ("NOT REACHABLE", NAMES["verdicts"]["failed"], NAMES["layers"][step.causes[1].layer]):
        assert words in str(diagnosis)
    check_same(diagnosis)


def test_this_interpreter_is_told_of_beside_the_machine():
    diagnosis = pinlink.doctor()
    assert diagnosis.ok
    assert diagnosis.targets == ()
    facts = {fact.name: fact for fact in diagnosis.environment}
    assert facts["pinlink"].value.startswith(pinlink.__version__)
    assert facts["python"].value == f"{platform.python_version()} ({platform.python_implementation()})"
    assert facts["isolation"] == ("isolation", "well", "Python may open files and sockets")
    assert facts["module"].value == pinlink._pinlink.__file__
    check_same(diagnosis)


def test_an_interpreter_that_may_open_nothing_is_told_which_flag_lets_it(monkeypatch):
    def denied(*_arguments):
        raise PermissionError

    monkeypatch.setattr("socket.socket", denied)
    monkeypatch.setattr("builtins.open", denied)
    facts = {fact.name: fact for fact in pinlink.doctor().environment}
    assert facts["isolation"].verdict == "warning"
    for part in ("files (PermissionError)", "sockets (PermissionError)", "odps.isolation.session.enable=true"):
        assert part in facts["isolation"].value


def test_a_client_looks_at_its_declared_origins(box):
    options = dict(reach(box), hosts=[box.https(""), "https://*.box.test"], pins={box.host: "127.0.0.1"})
    client = pinlink.Client(**options)
    diagnosis = client.doctor()
    assert diagnosis.ok, str(diagnosis)
    assert [examination.target for examination in diagnosis.targets] == [box.https("")]
    assert box.control("GET", "/queries") == []
    client.close()
    with pytest.raises(pinlink.Error) as caught:
        client.doctor()
    assert caught.value.kind == "Closed"


@pytest.mark.parametrize("wrong", ["ftp://a.example", "tcp://a.example", "https://*.example", "", "a b"])
def test_what_is_no_target_is_a_mistake(wrong):
    for targets in (wrong, ["https://127.0.0.1", wrong]):
        with pytest.raises(pinlink.ConfigError) as caught:
            pinlink.doctor(targets)
        assert caught.value.reason == "Config.InvalidInput"


def test_what_is_no_option_is_a_mistake():
    with pytest.raises(pinlink.ConfigError) as caught:
        pinlink.doctor("https://127.0.0.1", max_conns=1)
    assert caught.value.reason == "Config.UnknownOption"
    with pytest.raises(TypeError):
        pinlink.doctor(7)
