"""The promise: what was resolved once serves every process after it."""

import ipaddress
import pickle

import pytest

import pinlink


def test_a_set_is_resolved_saved_loaded_and_asked(box, tmp_path):
    pins = pinlink.PinSet.resolve(**box.options())
    assert pins.find(box.host.upper()) == ["127.0.0.1"]
    path = tmp_path / "pins.json"
    pins.save(path)
    assert pinlink.PinSet.load(str(path)) == pins
    queries = len(box.control("GET", "/queries"))
    for pin_set in (path, pins):
        with box.client(pin_set=pin_set) as client:
            assert client.get(box.http("/rows/1")).ok
            assert client.pins().find(box.host) == ["127.0.0.1"]
    assert len(box.control("GET", "/queries")) == queries


def test_a_set_is_a_value():
    pins = pinlink.PinSet({"a.example": "10.0.0.1", "*.b.example": [ipaddress.ip_address("10.0.0.2"), "10.0.0.3"]})
    assert (len(pins), list(pins)) == (2, ["*.b.example", "a.example"])
    assert "x.b.example" in pins
    assert "c.example" not in pins
    assert pins.find("x.b.example") == ["10.0.0.2", "10.0.0.3"]
    assert pins.find("c.example") is None
    assert pickle.loads(pickle.dumps(pins)) == pinlink.PinSet.from_json(pins.to_json()) == pins
    merged = pins.merge(pinlink.PinSet.from_hosts_file("10.0.0.9 c.example c"))
    assert (len(merged), len(pins)) == (4, 2)
    assert len(merged.valid_for(0).expire()) == 0
    assert "a.example" in str(pins)


def test_a_host_is_pinned_anew(box, client):
    client.repin(box.host, [ipaddress.ip_address("127.0.0.1")])
    assert client.get(box.http("/rows/1")).ok
    with pytest.raises(pinlink.Error) as caught:
        client.repin(box.host, "169.254.0.1")
    assert caught.value.reason == "Policy.AddressDenied"
    with pytest.raises(pinlink.ConfigError):
        client.repin(box.host, "kms.example")


def test_what_is_no_set_is_refused():
    for text in ("", "[]", '{"version":2,"pins":{}}'):
        with pytest.raises(pinlink.ConfigError) as caught:
            pinlink.PinSet.from_json(text)
        assert caught.value.reason == "Config.PinSet"
    with pytest.raises(pinlink.ConfigError):
        pinlink.PinSet({"a b": "10.0.0.1"})
