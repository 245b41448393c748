"""Exercises an unpacked archive as a worker would: ``python exercise.py WORK URL DNS``, without any other package."""

import asyncio
import os
import sys

work, url, dns = sys.argv[1:]
sys.path.insert(0, work)
import pinlink  # noqa: E402

assert os.path.abspath(pinlink.__file__).startswith(os.path.abspath(work) + os.sep), pinlink.__file__
options = {"hosts": url, "nameservers": dns, "allow_addresses": "127.0.0.0/8"}
with pinlink.Client(**options) as client:
    assert client.get(url + "/rows/7").json()["id"] == "7"
    assert [answer.status for answer in client.map([url + f"/rows/{row}" for row in range(100)])] == [200] * 100
    assert len(client.open(url + "/bytes/1000000").read()) == 1000000
    key = pinlink.Scope.job("exercise of " + sys.version.split()[0]).key("insert", os.getpid())
    write = pinlink.Write(pinlink.Request("POST", url + "/sink/1"), key, pinlink.Profile.idempotency_key())
    assert [str(client.write(write).outcome) for _ in range(2)] == ["Applied", "AlreadyApplied"]
    pins = client.pins()

    # A worker that is forked goes on.
    child = os.fork()
    if child == 0:
        os._exit(0 if client.get(url + "/rows/8").ok else 1)
    assert os.waitpid(child, 0)[1] == 0


async def main():
    """The same from asyncio."""
    async with pinlink.AsyncClient(pin_set=pins, **options) as client:
        assert (await client.get(url + "/rows/9")).ok


asyncio.run(main())
