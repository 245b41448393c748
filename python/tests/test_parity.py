"""The promise: options, errors and keys are those of every other language."""

import ast
import pathlib
import re
import sys

import pytest
from parity import table

import pinlink
from pinlink._errors import class_of

OPTIONS = table("options.toml")
ERRORS = table("errors.toml")
KEYS = table("keys.toml")["key"]
STUB = pathlib.Path(pinlink.__file__).with_name("_pinlink.pyi")


def build(**options):
    """Builds what these options make; an error of another option stands for none of this one."""
    pinlink.Client(**{"hosts": "http://127.0.0.1:1", "allow_addresses": "127.0.0.1", **options}).close()


@pytest.mark.skipif(sys.version_info < (3, 8), reason="stubs have the syntax of 3.8")
def test_the_stub_has_the_options_of_the_table_and_no_others():
    tree = ast.parse(STUB.read_text())
    options = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "_Options")
    names = [node.target.id for node in options.body if isinstance(node, ast.AnnAssign)]
    assert names == list(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_takes_what_the_table_says(name):
    example = OPTIONS[name]["example"]
    try:
        build(**{name: example})
    except pinlink.Error as error:
        # Well-formed is enough: a file of an example is not there, and a host of one is not declared.
        assert error.reason != "Config.UnknownOption"
        assert not str(error).startswith("Config.InvalidInput: option")


def in_seconds(text):
    number, unit = re.match(r"([0-9.]+)(ms|s|m|h)$", text).groups()
    return float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def in_bytes(text):
    number, unit = re.match(r"([0-9]+)(B|KiB|MiB|GiB)$", text).groups()
    return int(number) << {"B": 0, "KiB": 10, "MiB": 20, "GiB": 30}[unit]


NUMBERS = {"duration": in_seconds, "size": in_bytes, "count": int}


@pytest.mark.parametrize("name", [name for name, row in OPTIONS.items() if row["kind"] in NUMBERS])
def test_a_number_is_taken_within_its_range_and_no_further(name):
    row = OPTIONS[name]
    number = NUMBERS[row["kind"]]
    least, greatest = number(row["min"]), number(row["max"])
    # Init would wait for a random part of the greatest jitter.
    for value in (least, least if name == "resolve_jitter" else greatest):
        try:
            build(**{name: value})
        except pinlink.ConfigError as error:
            # One option's bound may contradict another's default.
            assert error.reason == "Config.Conflict"
    beyond = [greatest * 2] if least == 0 else [least / 2 if row["kind"] == "duration" else least - 1, greatest * 2]
    for value in beyond:
        with pytest.raises(pinlink.ConfigError) as caught:
            build(**{name: value})
        assert caught.value.reason == "Config.InvalidInput"
        assert f"option {name}" in str(caught.value)


def test_outcomes_are_those_of_the_table():
    assert [outcome.value for outcome in pinlink.Outcome] == ERRORS["outcomes"]
    # As text they are what they are called, on every version.
    assert [str(outcome) for outcome in pinlink.Outcome] == ERRORS["outcomes"]
    assert [f"{outcome}" for outcome in pinlink.Outcome] == ERRORS["outcomes"]


def test_an_error_s_names_stand_in_the_table():
    with pytest.raises(pinlink.Error) as caught:
        build(hosts=[])
    error = caught.value
    kind, reason = error.reason.split(".")
    assert kind == error.kind
    assert reason in ERRORS["reasons"][kind]
    assert error.phase in ERRORS["phases"]
    assert error.delivery in ERRORS["deliveries"]


BUILTINS = {"Connect": ConnectionError, "Dns": ConnectionError, "Proxy": ConnectionError, "Tls": ConnectionError}
BUILTINS.update(Timeout=TimeoutError, Config=ValueError)


@pytest.mark.parametrize("kind", ERRORS["reasons"])
def test_every_reason_has_a_class_and_a_builtin_where_there_is_one(kind):
    for reason in ERRORS["reasons"][kind]:
        found = class_of(f"{kind}.{reason}")
        assert issubclass(found, pinlink.Error)
        builtin = TimeoutError if reason == "Timeout" else BUILTINS.get(kind)
        others = {TimeoutError, ConnectionError, ValueError} - {builtin}
        assert builtin is None or issubclass(found, builtin)
        assert not issubclass(found, tuple(others))
        assert issubclass(found, pinlink.WriteError) == (kind == "Write")


def part(value):
    if isinstance(value, dict):
        return None if value.get("null") else bytes.fromhex(value["hex"])
    return value


@pytest.mark.parametrize("row", KEYS, ids=[row["name"] for row in KEYS])
def test_a_key_is_the_one_of_every_language(row):
    scope = getattr(pinlink.Scope, row["scope"]["kind"])(row["scope"]["text"])
    kind, parts = row["record"]["kind"], [part(value) for value in row["record"]["parts"]]
    if kind == "record":
        key = scope.key(row["operation"], parts)
    elif kind == "content":
        key = scope.content_key(row["operation"], parts[0])
    else:
        key = scope.chunk_key(row["operation"], *map(int, parts))
    assert (key.hex, key.uuid, key.short, key.logged) == (row["hex"], row["uuid"], row["short"], row["logged"])


def test_a_key_s_parts_are_text_bytes_and_whole_numbers():
    scope = pinlink.Scope.job("orders of 2026-11-22")
    keys = {scope.key("insert", record) for record in (4711, "4711", b"4711", [4711], ("4711",))}
    assert len(keys) == 1
    assert scope.key("insert", 2**100).hex != scope.key("insert", None).hex
    for record in (4.5, True, {"a": object()}.values(), object()):
        with pytest.raises(TypeError):
            scope.key("insert", record)
    with pytest.raises(pinlink.ConfigError):
        pinlink.Scope.job("attempt_1")
    key = scope.key("insert", 4711)
    assert key.hex not in repr(key)
    assert key == scope.key("insert", 4711)
