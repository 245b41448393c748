"""The way from Python into native code and back, where next to nothing is done: what every call pays besides."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from batches import Batch
    from calls import Call


def python(call: Call) -> Batch:
    """Nothing crosses: a function of Python's."""

    def method() -> str:
        return call.method

    def batch(count: int) -> None:
        for _ in range(count):
            method()

    return batch


def attribute(call: Call) -> Batch:
    """Native code that makes a short text."""
    import pinlink

    request = pinlink.Request("GET", call.url)
    if request.method != call.method:
        raise ValueError("the attribute is another one")

    def batch(count: int) -> None:
        for _ in range(count):
            request.method  # noqa: B018

    return batch


def request(call: Call) -> Batch:
    """Native code that reads a URL and makes an object."""
    import pinlink

    make, url = pinlink.Request, call.url

    def batch(count: int) -> None:
        for _ in range(count):
            make("GET", url)

    return batch
