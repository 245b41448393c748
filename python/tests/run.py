"""Runs the tests of the Python binding with one interpreter or several, each in a virtual environment of its own.

``python3 run.py TARGET PYTHON...``: TARGET is cargo's target directory, in whose ``debug`` the library and the network
in a box lie. The first interpreter also checks types, stubs and style. What is missing is installed, and said.
``python3 run.py --soak TARGET PYTHON...`` runs the soak instead, with what lies in ``release``.
"""

import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent
SOURCES = ["pinlink", "tests", "../examples/maxcompute-python", "../examples/maxframe", "../benches/python"]
BENCHES = sorted(str(source) for source in (PROJECT.parent / "benches" / "python").glob("*.py"))


def laid_out(target, profile="debug"):
    """The package beside its native library, as a wheel would put them."""
    package = target / ("python" if profile == "debug" else "python-" + profile) / "pinlink"
    shutil.rmtree(str(package), ignore_errors=True)
    shutil.copytree(str(PROJECT / "pinlink"), str(package), ignore=shutil.ignore_patterns("__pycache__"))
    (package / "_pinlink.abi3.so").symlink_to(target / profile / "lib_pinlink.so")
    return package.parent


def environment(target, python):
    """A virtual environment with what the tests need, made once for each list of requirements."""
    version = subprocess.check_output([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], text=True)
    place = target / "python" / ("venv-" + version.strip())
    requirements, installed = HERE / "requirements.txt", place / "requirements.txt"
    if not installed.exists() or installed.read_text() != requirements.read_text():
        print("installing what the tests need for Python " + version.strip(), flush=True)
        subprocess.check_call([python, "-m", "venv", "--clear", str(place)])
        pip = [str(place / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.check_call([*pip, "-r", str(requirements)])
        shutil.copy(str(requirements), str(installed))
    return place / "bin"


def main(target, *pythons):
    """Lays the package out and runs everything; the first failure ends it."""
    target = pathlib.Path(target).resolve()
    package = laid_out(target)
    variables = {**os.environ, "CARGO_TARGET_DIR": str(target), "PYTHONPATH": str(package)}
    variables.update(PYTHONDONTWRITEBYTECODE="1", MYPYPATH=str(package))
    variables["MYPY_CACHE_DIR"] = str(target / "python" / "mypy")
    for number, python in enumerate(pythons):
        tools = environment(target, python)
        subprocess.check_call([str(tools / "pytest")], cwd=str(PROJECT), env=variables)
        if number == 0 and not (tools / "mypy").exists():
            print("types and style NOT checked: mypy and ruff are run by Python 3.11 and later")
        elif number == 0:
            for check in (
                ["mypy", "--strict", "-p", "pinlink"],
                ["mypy", "--strict", str(HERE / "typed.py")],
                ["mypy", "--strict", "--ignore-missing-imports", *BENCHES],
                ["stubtest", "--allowlist", str(HERE / "stubtest.allow"), "pinlink"],
                ["ruff", "check", "--no-cache", *SOURCES],
                ["ruff", "format", "--no-cache", "--check", *SOURCES],
            ):
                subprocess.check_call([str(tools / check[0]), *check[1:]], cwd=str(PROJECT), env=variables)


def soak(target, *pythons):
    """The long run, with the library as it is released."""
    target = pathlib.Path(target).resolve()
    variables = {**os.environ, "PYTHONPATH": str(laid_out(target, "release")), "PYTHONDONTWRITEBYTECODE": "1"}
    variables["PINLINK_BOX"] = str(target / "release" / "pinlink-box")
    for python in pythons:
        tools = environment(target, python)
        subprocess.check_call([str(tools / "python"), str(HERE / "soak.py")], cwd=str(HERE), env=variables)


if __name__ == "__main__":
    if sys.argv[1] == "--soak":
        soak(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
