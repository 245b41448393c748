"""The promise: the quick start runs as it stands."""

import pathlib
import re

import pytest
from engines import MariaDb, Postgres

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"
SECTIONS = re.split(r"^## ", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
DATABASES = next(number for number, section in enumerate(SECTIONS) if section.startswith("Databases"))
# What makes a client of options.
MAKERS = r"\b((?:Async)?Client|PinlinkAdapter|Transport|PoolManager|PinSet\.resolve)\((?=hosts|\n)"


def execute(sections, replaced, reach, names):
    """Runs every block of some sections, one after the other, as one program; what it printed."""
    count, printed = 0, []
    names.update(REACH=reach, print=lambda *values: printed.append(" ".join(map(str, values))))
    for section in sections:
        for block in re.findall(r"^```python\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL):
            for example, real in replaced.items():
                block = block.replace(example, real)
            # Their names are of no real hosts: how these are reached is all that differs.
            block = re.sub(MAKERS, r"\1(**REACH, ", block)
            exec(compile(block, str(README), "exec"), names)
            count += 1
    return count, printed


def test_every_block_runs(box, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reach = box.options()
    del reach["hosts"]
    replaced = {"https://kms.example": box.https(""), "https://oss.example": box.https("")}
    names = {}
    count, printed = execute(SECTIONS[:DATABASES], replaced, reach, names)
    names["client"].close()
    assert count == 11
    assert printed == [
        "200 application/json 7",
        '{"row":1}',
        "100 answered",
        "Policy.NotDeclared",
        "Timeout.Total wait delivery unknown 1",
        printed[5],
        f"3000000 {sum(len(str(row)) + 1 for row in range(1000))}",
        "['Applied', 'Applied', 'Applied']",
        "AlreadyApplied",
        "['Applied', 'AlreadyApplied']",
        "{200}",
        "0",
        "7",
        "7",
        "200",
    ]
    assert printed[5].startswith("Timeout.Total: ")
    assert "to do: " in printed[5]


@pytest.fixture
def postgres():
    with Postgres() as server:
        yield server


@pytest.fixture
def mariadb():
    with MariaDb() as server:
        yield server


def test_every_block_about_databases_runs(postgres, mariadb):
    import pinlink

    replaced = {
        "tcp://orders.example:5432": f"tcp://orders.example:{postgres.port}",
        "tcp://shop.example:3306": f"tcp://shop.example:{mariadb.port}",
        '"shop.example", 3306': f'"shop.example", {mariadb.port}',
        'dbname="orders"': f'dbname="postgres", port={postgres.port}',
        'database="shop"': 'database="pinlink"',
        "psycopg.connect(": 'psycopg.connect(sslmode="disable", ',
    }
    reach = {
        "pins": {"orders.example": "127.0.0.1", "shop.example": "127.0.0.1"},
        "allow_addresses": "127.0.0.0/8",
    }
    blocks = [section.replace('user="reader"', 'user="USER"') for section in SECTIONS[DATABASES:]]
    blocks = [block.replace('hostaddr=address, user="USER"', 'hostaddr=address, user="test"') for block in blocks]
    blocks = [block.replace('user="USER"', 'user="root"') for block in blocks]
    count, printed = execute(blocks, replaced, reach, {"pinlink": pinlink})
    assert count == 3
    assert printed == ["Applied", "AlreadyApplied", "1"]


def test_the_block_of_the_main_readme_runs(box):
    reach = box.options()
    del reach["hosts"]
    main = README.parents[1] / "README.md"
    replaced = {"https://kms.example/keys/": box.https("/rows/")}
    replaced.update({name: box.https("") for name in ("https://kms.example", "https://oss.example")})
    count, printed = execute([main.read_text(encoding="utf-8")], replaced, reach, {})
    assert count == 1
    assert printed == ["200"] * 1000
