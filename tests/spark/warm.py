"""Spark's daemon, whose children are the Python workers, with a client that was used before the first fork."""

import json
import os

import pinlink
from pyspark.daemon import manager

if __name__ == "__main__":
    given = json.loads(os.environ["WARM"])
    with pinlink.Client(pins={"rows.box.test": "127.0.0.1"}, **given["options"]) as client:
        client.get(given["url"]).raise_for_status()
    manager()
