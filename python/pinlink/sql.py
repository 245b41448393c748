"""Writes into a database that happen once: the statements for it, for MySQL, PostgreSQL and Hologres.

No connection is opened here: a cursor of the caller's runs the statements. ::

    insert = sql.insert_once("postgres", "orders", {"id": 7, "city": "Berlin"}, "id")
    cursor.execute(insert.format, insert.parameters)
    assert sql.outcome("postgres", cursor.rowcount) in ("Applied", "AlreadyApplied")
"""

from __future__ import annotations

from ._pinlink import Dedup, Statement, insert_once, outcome, upsert

__all__ = ["Dedup", "Statement", "insert_once", "outcome", "upsert"]
