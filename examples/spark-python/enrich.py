"""A Spark job that asks a service about every row, and stores each answer at a service once.

Addresses are resolved in the driver and broadcast: executors ask DNS nothing. Each Python worker has one client, with
its share of the job's connections. Options are properties of the job: ``--conf spark.pinlink.max_connections=8``.

Spark executes a partition again when its executor is lost, and twice at once when it speculates; a Python worker that
loses such a race just ends, without an exception. So a key is made of what every execution knows alike: the application
or the job's own name, what is done, and the row's business key; for what has none, the partition's number and a place in
it. Attempt numbers, processes and times differ; the stage's number differs between two actions over the same rows.
Those go into a header, for whoever reads logs.
"""

import argparse
import os
from itertools import islice

from pyspark import SparkConf, SparkContext, TaskContext

import pinlink

# How many rows are under way at once, at most.
BATCH = 16
PREFIX = "spark.pinlink."


def outcomes(rows):
    """The rows of a batch; one that failed fails the task, and Spark executes it again."""
    for row in rows:
        if isinstance(row, pinlink.Error):
            raise row
        yield row


def enrichment(options, pins, application, job, source, store):
    """What happens to a partition: its rows are asked about and stored, a batch at a time."""

    def write(url, body, key, task):
        request = pinlink.Request("POST", url, data=body, headers=task)
        return pinlink.Write(request, key, pinlink.Profile.idempotency_key())

    def enrich(rows):
        # The first task of a worker process builds it; it lives as long as the process.
        client = pinlink.Client.shared(pin_set=pins.value, **options)
        scope = pinlink.Scope.job(job) if job else pinlink.Scope.spark(application)
        context = TaskContext.get()
        partition = context.partitionId()
        place = (os.getpid(), context.stageId(), partition, context.attemptNumber())
        task = {"x-task": "process=%d stage=%d partition=%d attempt=%d" % place}

        # What comes may be a range, from which every islice would start anew.
        rows, count = iter(rows), 0
        for batch in iter(lambda: list(islice(rows, BATCH)), []):
            questions = [pinlink.Request("GET", f"{source}{row}", headers=task) for row in batch]
            answers = [answer.raise_for_status() for answer in outcomes(client.map(questions))]
            writes = [
                write(f"{store}{row}", answer.content, scope.key("store row", row), task)
                for row, answer in zip(batch, answers)
            ]
            for row, answer, written in zip(batch, answers, outcomes(client.write_all(writes))):
                yield f"{row}\t{answer.text}\t{written.outcome}"
            count += len(batch)

        # No row's business key says which report this is: its place in the job does.
        report = f'{{"rows":{count}}}'
        client.write(write(f"{store}partition-{partition}", report, scope.chunk_key("report", partition, 0), task))

    return enrich


def main():
    """Runs the job."""
    arguments = argparse.ArgumentParser(description="Asks about every row, and stores each answer once.")
    arguments.add_argument("source", help="the URL that a row's number is added to for asking")
    arguments.add_argument("store", help="the same for storing")
    arguments.add_argument("rows", type=int)
    arguments.add_argument("partitions", type=int)
    arguments.add_argument("output", help="the folder of the output")
    arguments.add_argument("job", nargs="?", help="a name: submitted again under the same, the job writes nothing twice")
    given = arguments.parse_args()

    spark = SparkContext(conf=SparkConf().setAppName("enrich"))
    settings = spark.getConf().getAll()
    options = {name[len(PREFIX) :]: value for name, value in settings if name.startswith(PREFIX)}
    pins = spark.broadcast(pinlink.PinSet.resolve(**options))
    enrich = enrichment(options, pins, spark.applicationId, given.job, given.source, given.store)
    spark.parallelize(range(given.rows), given.partitions).mapPartitions(enrich).saveAsTextFile(given.output)
    spark.stop()


if __name__ == "__main__":
    main()
