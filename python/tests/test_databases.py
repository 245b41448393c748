"""The promise: a driver of one's own reaches the pinned address, within the caps, and writes into a database once."""

import datetime
import decimal
import socket
import uuid

import psycopg
import pymysql
import pytest
from engines import MariaDb, Postgres

import pinlink
from pinlink import sql

HOST = "orders.db.test"
SCOPE = pinlink.Scope.job("orders of 2026-11-22")
COLUMNS = {"postgres": "numeric(9, 2), day date, note bytea", "mysql": "decimal(9, 2), day date, note varbinary(20)"}


def nobody(*arguments):
    raise AssertionError("a name was looked up")


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield server


@pytest.fixture(scope="module")
def mariadb():
    with MariaDb() as server:
        yield server


def client_of(server, **options):
    """A client that reaches this server by a name that nobody knows."""
    reach = {"hosts": f"tcp://{HOST}:{server.port}", "pins": {HOST: "127.0.0.1"}, "allow_addresses": "127.0.0.0/8"}
    return pinlink.Client(**{**reach, **options})


@pytest.fixture
def psycopg_connection(postgres):
    with client_of(postgres) as client:
        address = client.pins().find(HOST)[0]
        # The name stays for TLS and passwords; libpq connects to `hostaddr` and looks nothing up.
        settings = {"host": HOST, "hostaddr": address, "port": postgres.port, "user": "test", "dbname": "postgres"}
        connection = psycopg.connect(autocommit=True, sslmode="disable", **settings)
        yield connection
        connection.close()


@pytest.fixture
def pymysql_connection(mariadb, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with client_of(mariadb) as client:
        connection = pymysql.Connection(host=HOST, user="root", database="pinlink", autocommit=True, defer_connect=True)
        # PyMySQL takes a connected socket, which is pinned and counts.
        connection.connect(client.connect(HOST, mariadb.port))
        assert client.stats()["connections_live"] == 1
        yield connection
        connection.close()
        assert client.stats()["connections_live"] == 0


@pytest.fixture(params=["postgres", "mysql"])
def dialect(request):
    return request.param


@pytest.fixture
def cursor(request, dialect):
    connection = request.getfixturevalue("psycopg_connection" if dialect == "postgres" else "pymysql_connection")
    with connection.cursor() as cursor:
        yield cursor


@pytest.fixture
def table(cursor, dialect):
    name = "orders_" + uuid.uuid4().hex[:8]
    cursor.execute(f"CREATE TABLE {name} (id varchar(40) PRIMARY KEY, version int, price {COLUMNS[dialect]})")
    yield name
    cursor.execute(f"DROP TABLE {name}")


def run(cursor, dialect, statement):
    cursor.execute(statement.format, statement.parameters)
    return sql.outcome(dialect, cursor.rowcount)


def rows(cursor, table):
    cursor.execute(f"SELECT id, version, price, day, note FROM {table} ORDER BY id")
    return [tuple(row) for row in cursor.fetchall()]


def test_a_row_is_inserted_once_and_keeps_the_values_of_the_program(cursor, dialect, table):
    row = {"id": "a%s?$1", "version": 1, "price": decimal.Decimal("9.90"), "day": datetime.date(2026, 11, 22)}
    insert = sql.insert_once(dialect, table, {**row, "note": b"\x00%"}, "id")
    assert [run(cursor, dialect, insert) for _ in range(2)] == ["Applied", "AlreadyApplied"]
    assert rows(cursor, table) == [(*row.values(), b"\x00%")]


def test_an_older_write_changes_nothing(cursor, dialect, table):
    def write(version):
        return run(
            cursor, dialect, sql.upsert(dialect, table, {"id": "a", "version": version}, "id", greatest="version")
        )

    assert [write(version) for version in (2, 1, 2, 3)] == ["Applied", "AlreadyApplied", "AlreadyApplied", "Applied"]
    assert rows(cursor, table)[0][:2] == ("a", 3)


def test_what_no_index_covers_is_written_in_one_transaction_with_its_key(cursor, dialect, table):
    dedup = sql.Dedup(dialect)
    make = dedup.create_table()
    cursor.execute(make.format)
    key, text = SCOPE.key("count", table), f"UPDATE {table} SET version = version + "
    run(cursor, dialect, sql.insert_once(dialect, table, {"id": "a", "version": 0}, "id"))
    writes = [sql.Statement(text + ("?" if dialect == "mysql" else "$1"), [5])] * 2
    assert [dedup.once(cursor, key, b"5", writes) for _ in range(2)] == ["Applied", "AlreadyApplied"]
    assert rows(cursor, table)[0][1] == 10
    with pytest.raises(pinlink.WriteError) as caught:
        dedup.once(cursor, key, b"6", writes)
    assert caught.value.reason == "Write.Mismatch"
    with pytest.raises(pinlink.WriteError) as caught:
        dedup.once(cursor, SCOPE.key("fail", table), b"5", [*writes, sql.Statement("UPDATE nowhere SET a = 1")])
    assert (caught.value.reason, caught.value.outcome) == ("Write.Rejected", pinlink.Outcome.REJECTED)
    assert isinstance(caught.value.__cause__, (psycopg.Error, pymysql.Error))
    assert rows(cursor, table)[0][1] == 10
    cursor.execute(dedup.forget(3600).format)


def test_a_ledger_stands_in_a_table(cursor, dialect, table):
    ledger = pinlink.Ledger.sql(dialect, cursor)
    cursor.execute(ledger.create_table().format)
    sent = []
    key = SCOPE.key("mail", table)
    outcomes = [ledger.once(key, b"mail", sent.append).outcome for _ in range(2)]
    assert (outcomes, len(sent)) == (["Applied", "AlreadyApplied"], 1)


def test_a_driver_that_looks_names_up_finds_the_pins(postgres, mariadb):
    # Without `hostaddr`: psycopg looks names up in Python, or libpq does in C, which no context of Python's reaches.
    with client_of(mariadb) as client, pinlink.pinned(client):
        connection = pymysql.connect(host=HOST, port=mariadb.port, user="root")
        connection.close()


def test_statements_show_no_values_and_refuse_what_could_not_be_unique():
    insert = sql.insert_once("postgres", "sales.orders", [("id", 7), ("city", "hunter2")], ["id"])
    text = 'INSERT INTO "sales"."orders" ("id", "city") VALUES ({}) ON CONFLICT ("id") DO NOTHING'
    assert (insert.text, insert.format) == (text.format("$1, $2"), text.format("%s, %s"))
    assert insert.parameters == (7, "hunter2")
    assert "hunter2" not in repr(insert)
    for dialect, columns in [("postgres", {"id": 1.5, "a": 1}), ("mysql", {"id": None, "a": 1}), ("oracle", {"id": 1})]:
        with pytest.raises(pinlink.ConfigError):
            sql.insert_once(dialect, "orders", columns, "id")
    assert sql.Statement('SELECT "a?" WHERE b = ?', [1]).format == 'SELECT "a?" WHERE b = %s'
