"""The promise: the examples run as the platforms run them, from the archive as it is unpacked there."""

import json
import os
import pathlib
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
