"""The tables that every language is held against."""

import pathlib
import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLES = pathlib.Path(__file__).resolve().parents[2] / "tests" / "parity"


def table(name):
    with (TABLES / name).open("rb") as file:
        return tomllib.load(file)
