"""Python functions that a query calls: a look-up for each row, look-ups in batches, and orders that are inserted once.

Uploaded as it is (``ADD PY functions.py``). Where the service is, and the options of the client, are in the FILE
resource ``service.json``; pinlink is the ARCHIVE resource ``pinlink.zip``, which the platform unpacks under ``work/``.
"""

import json
import sys
from urllib.parse import quote

from odps.distcache import get_cache_file
from odps.udf import BaseUDTF, annotate

ARCHIVE = "work/pinlink.zip"
BATCH = 256


class Service:
    """The service that everything here calls. All functions of a worker share one client."""

    def __init__(self):
        # Who parses a query reads this file where there is no archive: nothing of it is imported above.
        if ARCHIVE not in sys.path:
            sys.path.insert(0, ARCHIVE)
        import pinlink

        with get_cache_file("service.json") as file:
            settings = json.load(file)
        self.pinlink, self.url = pinlink, settings["url"]
        # Names are resolved now, before the first row, and never again.
        self.client = pinlink.Client.shared(**settings["options"])

    def row(self, id):
        """The request for what the service knows of an id."""
        return self.pinlink.Request("GET", f"{self.url}/rows/{quote(id, safe='')}")

    @staticmethod
    def known(answer):
        """What it knows; nothing where it knows none."""
        if isinstance(answer, Exception):
            raise answer
        return None if answer.status == 404 else answer.raise_for_status().text


@annotate("string->string")
class LookUp:
    """``SELECT look_up(id) FROM t``: it can't know the next row, so each is a call on a connection that is kept."""

    def __init__(self):
        self.service = Service()

    def evaluate(self, id):
        if id is None:
            return None
        return self.service.known(self.service.client.send(self.service.row(id)))


@annotate("string->string,string")
class LookUpRows(BaseUDTF):
    """``SELECT look_up_rows(id) AS (id, row) FROM t``: many calls at once, as many as there may be connections."""

    def __init__(self):
        self.service = Service()
        self.ids = []

    def process(self, id):
        self.ids.append(id)
        if len(self.ids) == BATCH:
            self.flush()

    def flush(self):
        ids, self.ids = self.ids, []
        answers = self.service.client.map(self.service.row(id) for id in ids)
        for id, answer in zip(ids, answers):
            self.forward(id, self.service.known(answer))

    def close(self):
        self.flush()


@annotate("string,string,bigint->string,string,string")
class InsertOrders(BaseUDTF):
    """``SELECT insert_orders('orders of ${bizdate}', id, amount) AS (id, outcome, error) FROM orders``.

    The platform may run a worker twice, at once or one after the other. Every execution derives the same key from the
    job's key and the order's id, and the service does what has one key once. A business date as the job's key survives
    a job that is submitted again, too.
    """

    def __init__(self):
        self.service = Service()
        self.profile = self.service.pinlink.Profile.idempotency_key()
        self.ids, self.writes = [], []

    def process(self, job, id, amount):
        pinlink = self.service.pinlink
        if "${" in job:
            raise ValueError(f"the job's key is {job!r}: nobody filled it in")
        scope = pinlink.Scope.job(job)
        order = pinlink.Request("POST", f"{self.service.url}/sink/{quote(id, safe='')}", json={"amount": amount})
        self.ids.append(id)
        self.writes.append(pinlink.Write(order, scope.key("insert order", id), self.profile))
        if len(self.writes) == BATCH:
            self.flush()

    def flush(self):
        ids, writes = self.ids, self.writes
        self.ids, self.writes = [], []
        for id, written in zip(ids, self.service.client.write_all(writes)):
            if isinstance(written, Exception) and written.delivery != "answered":
                # The worker fails and is run again: what was done is not done twice, and what was not is done then.
                raise written
            # What the service refused, it would refuse again: it is written down, and fails no other.
            error = str(written) if isinstance(written, Exception) else None
            self.forward(id, str(written.outcome), error)

    def close(self):
        self.flush()
