"""The promise: the examples run as the platforms run them, from the archive as it is unpacked there."""

import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import textwrap
import zipfile

import pytest

import pinlink

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"

# MaxCompute has these, and the vendor's packages are installed for them (requirements.txt).
maxcompute = pytest.mark.skipif(sys.version_info[:2] not in [(3, 7), (3, 11)], reason="MaxCompute has 3.7 and 3.11")
maxframe = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="MaxFrame's functions run on 3.11")


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A working directory as the platform makes it: the archive unpacked under ``work/`` and its name."""
    folder = tmp_path_factory.mktemp("node")
    package = pathlib.Path(pinlink.__file__).parent
    with zipfile.ZipFile(str(folder / "pinlink.zip"), "w") as archive:
        for path in package.rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                archive.write(str(path), str(path.relative_to(package.parent)))
    with zipfile.ZipFile(str(folder / "pinlink.zip")) as archive:
        archive.extractall(str(folder / "work" / "pinlink.zip"))
    (folder / "pinlink.zip").unlink()
    return folder


def run(node, program, *paths):
    """Runs a program there that finds pinlink in the archive only; the last line of what it prints, as JSON."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment.update(PYTHONPATH=os.pathsep.join(map(str, paths)), PYTHONDONTWRITEBYTECODE="1")
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=str(node),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=120,
        universal_newlines=True,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


# The vendor's local runner calls a function as a worker does.
WORKER = """
    import json, os, sys
    import functions
    from odps.udf.tools.runners import simple_run

    assert "pinlink" not in sys.modules
    done = simple_run(getattr(functions, {name!r}), {rows!r})
    import pinlink
    assert os.path.abspath(pinlink.__file__) == os.path.abspath("work/pinlink.zip/pinlink/__init__.py")
    print(json.dumps([row if isinstance(row, (list, tuple)) else [row] for row in done]))
"""


def execute(box, node, name, rows):
    settings = {"url": box.https(""), "options": box.options(max_connections=4, max_connections_per_origin=4)}
    (node / "service.json").write_text(json.dumps(settings))
    return run(node, WORKER.format(name=name, rows=rows), EXAMPLES / "maxcompute-python")


@maxcompute
def test_a_udf_looks_rows_up_over_one_connection(box, node):
    done = execute(box, node, "LookUp", [["7"], ["a b/c"], [None]])
    assert [row[0] and json.loads(row[0])["id"] for row in done] == ["7", "a%20b%2Fc", None]
    assert box.counts()["origins"]["connections"] == 1
    assert len(box.control("GET", "/queries")) == 1


@maxcompute
def test_a_udtf_looks_many_up_at_once(box, node):
    done = execute(box, node, "LookUpRows", [[str(row)] for row in range(600)])
    assert [(row[0], json.loads(row[1])["id"]) for row in done] == [(str(row), str(row)) for row in range(600)]
    assert box.counts()["origins"]["connections"] <= 4
    assert len(box.control("GET", "/queries")) == 1


@maxcompute
def test_orders_are_inserted_once_by_however_many_executions(box, node):
    orders = [["orders of 20261122", str(order), order] for order in range(300)]
    first = execute(box, node, "InsertOrders", orders)
    assert [row[1:] for row in first] == [["Applied", None]] * 300
    again = execute(box, node, "InsertOrders", orders)
    assert {row[1] for row in again} == {"AlreadyApplied"}
    assert len(box.sink()) == 300


def probe(node, targets, options, name="work/pinlink.zip"):
    """The probe's one cell, of a worker that has the archive, or has none of this name."""
    program = f"""
        import json, sys
        import probe
        from odps.udf.tools.runners import simple_run

        assert "pinlink" not in sys.modules
        probe.ARCHIVE = {name!r}
        (report,) = simple_run(probe.Probe, [[{targets!r}, {options!r}]])
        print(json.dumps(report))
    """
    return run(node, program, EXAMPLES / "maxcompute-python")


@maxcompute
def test_a_probe_tells_what_stands_between_a_worker_and_its_targets(box, node):
    options = f"nameservers={box.plan['dns']} allow_addresses=127.0.0.0/8 ca_file={box.plan['ca-file']}"
    report = probe(node, f"{box.https('')} , {box.http('')}", options)
    for target in (box.https(""), box.http("")):
        assert f"{target}: reachable\n" in report
    assert re.search("\n  module          ok      .*work/pinlink.zip/pinlink/_pinlink", report)
    assert f"  python          ok      {platform.python_version()}" in report
    box.inject("nx-domain")
    # A name that nobody has asked for: an answer is kept for a while.
    report = probe(node, "https://other.box.test", options)
    assert report.startswith("https://other.box.test: NOT REACHABLE\n")
    assert "Dns.NxDomain" in report
    assert "SET odps.internet.access.list=<host>:<port>" in report


@maxcompute
def test_a_probe_that_can_t_import_pinlink_says_what_to_do(node):
    report = probe(node, "https://kms.example", None, "work/none.zip")
    assert report.startswith("https://kms.example: NOT LOOKED AT\nthis machine\n")
    assert "  pinlink         FAILED  can't be imported: ModuleNotFoundError: " in report
    assert "SET odps.isolation.session.enable=true" in report


@maxcompute
def test_an_execution_that_may_have_inserted_nothing_fails(box, node):
    dead = {"hosts": "http://127.0.0.1:1", "allow_addresses": "127.0.0.1", "max_attempts": 1}
    (node / "service.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "options": dead}))
    program = WORKER.format(name="InsertOrders", rows=[["orders of 20261122", "1", 1]])
    with pytest.raises(AssertionError, match=r"Connect\.Refused"):
        run(node, program, EXAMPLES / "maxcompute-python")
    with pytest.raises(AssertionError, match="nobody filled it in"):
        execute(box, node, "InsertOrders", [["orders of ${bizdate}", "1", 1]])


# What stands for the service of MaxFrame: the package's own code generator and runner of subgraphs, here.
ENGINE = """
    import json, os, sys
    import maxframe.dataframe as md
    import odps
    import pandas as pd
    from maxframe.codegen.spe.core import SPECodeGenerator
    from maxframe.sperunner import SPEDagRunner
    from enrich import enrich

    class Runner(SPEDagRunner):
        def store_data(self, key, value):
            return value

    odps.ODPS.from_environments = staticmethod(lambda: None)
    frame = enrich(md.DataFrame(pd.DataFrame({{"id": range(500)}})), {url!r}, {options!r})
    graph = frame.build_graph()
    code = SPECodeGenerator("session", "subgraph").generate(graph)
    (done,) = Runner("session", "subgraph", graph, code, {{}}).run().values()
    import pinlink
    assert os.path.abspath(pinlink.__file__) == os.path.abspath("work/pinlink.zip/pinlink/__init__.py")
    print(json.dumps([done["row"].tolist(), done["error"].tolist()]))
"""


@maxframe
def test_a_frame_is_enriched_by_maxframe_s_own_runner(box, node):
    options = box.options(max_connections=4, max_connections_per_origin=4)
    rows, errors = run(node, ENGINE.format(url=box.https(""), options=options), EXAMPLES / "maxframe")
    assert [json.loads(row)["id"] for row in rows] == [str(row) for row in range(500)]
    assert errors == [None] * 500
    assert box.counts()["origins"]["connections"] <= 4
    assert len(box.control("GET", "/queries")) == 1
    # An answer that says no is no row.
    rows, errors = run(node, ENGINE.format(url=box.https("/nowhere"), options=options), EXAMPLES / "maxframe")
    assert rows == [None] * 500
    assert all(error.startswith("Status.Client: ") for error in errors)
