"""A Spark job that asks a service about every row, and stores each answer at a service once.

Addresses are resolved in the driver and broadcast: executors ask DNS nothing. Each Python worker has one client, with
its share of the job's connections. Options are properties of the job: ``--conf spark.pinlink.max_connections=8``.

Spark executes a partition again when its executor is lost, and twice at once when it speculates; a Python worker that
loses such a race just ends, without an exception. So a key is made of what every execution knows alike: the application
or the job's own name, what is done, and the row's business key; for what has none, the partition's number and a place
in it. Attempt numbers, processes and times differ; the stage's number differs between two actions over the same rows.
Those go into a header, for whoever reads logs.
"""

from __future__ import annotations

import argparse
import os
from itertools import islice
from typing import Any, Callable, Iterable, Iterator, TypeVar

import pinlink
from pyspark import Broadcast, SparkConf, SparkContext, TaskContext

# How many rows are under way at once, at most.
BATCH = 16
PREFIX = "spark.pinlink."

Row = TypeVar("Row")


def outcomes(rows: Iterable[Row | pinlink.Error]) -> Iterator[Row]:
    """The rows of a batch; one that failed fails the task, and Spark executes it again."""
    for row in rows:
        if isinstance(row, pinlink.Error):
            raise row
        yield row


def attempt() -> dict[str, str]:
    """Says which execution sends a request."""
    task = TaskContext.get()
    if task is None:
        return {}
    place = f"stage={task.stageId()} partition={task.partitionId()} attempt={task.attemptNumber()}"
    return {"x-task": f"process={os.getpid()} {place}"}


def enrichment(
    options: dict[str, Any], pins: Broadcast[pinlink.PinSet], application: str, job: str | None, source: str, store: str
) -> Callable[[int, Iterable[int]], Iterator[str]]:
    """What happens to a partition: its rows are asked about and stored, a batch at a time."""

    def write(url: str, body: bytes | str, key: pinlink.Key) -> pinlink.Write:
        request = pinlink.Request("POST", url, data=body, headers=attempt())
        return pinlink.Write(request, key, pinlink.Profile.idempotency_key())

    def enrich(partition: int, rows: Iterable[int]) -> Iterator[str]:
        # The first task of a worker process builds it; it lives as long as the process.
        client = pinlink.Client.shared(pin_set=pins.value, **options)
        scope = pinlink.Scope.job(job) if job else pinlink.Scope.spark(application)

        # What comes may be a range, from which every islice would start anew.
        rows, count = iter(rows), 0
        for batch in iter(lambda: list(islice(rows, BATCH)), []):
            questions = [pinlink.Request("GET", f"{source}{row}", headers=attempt()) for row in batch]
            answers = [answer.raise_for_status() for answer in outcomes(client.map(questions))]
            keys = [scope.key("store row", row) for row in batch]
            writes = [write(f"{store}{row}", answer.content, key) for row, answer, key in zip(batch, answers, keys)]
            for row, answer, written in zip(batch, answers, outcomes(client.write_all(writes))):
                yield f"{row}\t{answer.text}\t{written.outcome}"
            count += len(batch)

        # No row's business key says which report this is: its place in the job does.
        report = f'{{"rows":{count}}}'
        client.write(write(f"{store}partition-{partition}", report, scope.chunk_key("report", partition, 0)))

    return enrich


def main() -> None:
    """Runs the job."""
    arguments = argparse.ArgumentParser(description="Asks about every row, and stores each answer once.")
    arguments.add_argument("source", help="the URL that a row's number is added to for asking")
    arguments.add_argument("store", help="the same for storing")
    arguments.add_argument("rows", type=int)
    arguments.add_argument("partitions", type=int)
    arguments.add_argument("output", help="the folder of the output")
    arguments.add_argument("job", nargs="?", help="a name: submitted again under it, the job writes nothing twice")
    given = arguments.parse_args()

    spark = SparkContext(conf=SparkConf().setAppName("enrich"))
    settings = spark.getConf().getAll()
    options: dict[str, Any] = {name[len(PREFIX) :]: value for name, value in settings if name.startswith(PREFIX)}
    pins = spark.broadcast(pinlink.PinSet.resolve(**options))
    enrich = enrichment(options, pins, spark.applicationId, given.job, given.source, given.store)
    rows = spark.parallelize(range(given.rows), given.partitions)
    rows.mapPartitionsWithIndex(enrich).saveAsTextFile(given.output)
    spark.stop()


if __name__ == "__main__":
    main()
