"""Measures the Python binding beside its peers: ``run.py TARGET [ARGUMENT...]``.

TARGET is cargo's target directory, in whose ``release`` the library and the program that gives turns lie; the arguments
are that program's. Each distribution gets a folder of its own; one that can't be installed is reported as missing.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[1] / "python" / "pinlink"


def install(python: Path, requirement: str, place: Path) -> None:
    """Put a distribution and what it needs into a folder, unless it is there."""
    wanted, missing = place / "requirement", place.with_suffix(".missing")
    if wanted.exists() and wanted.read_text() == requirement:
        return
    print(f"installing {requirement}", flush=True)
    shutil.rmtree(place, ignore_errors=True)
    missing.unlink(missing_ok=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(place)]
    done = subprocess.run([*pip, requirement], stderr=subprocess.PIPE, text=True)
    if done.returncode == 0:
        wanted.write_text(requirement)
    else:
        missing.write_text((done.stderr.strip().splitlines() or ["pip failed"])[-1])


def lay_out(target: Path, place: Path, named: bool) -> None:
    """The package beside its native library, as a wheel would put them: without the names that a profiler wants."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(PACKAGE, place / "pinlink", ignore=shutil.ignore_patterns("__pycache__"))
    made, laid = target / "release" / "lib_pinlink.so", place / "pinlink" / "_pinlink.abi3.so"
    if named:
        shutil.copyfile(made, laid)
    else:
        strip = ["strip", "-o", str(laid), str(made)]
        subprocess.check_call(strip)


def main(target: Path, arguments: list[str]) -> int:
    """Install what is missing and measure."""
    folder = target / "bench-python"
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)
    for requirement in (HERE / "requirements.txt").read_text().split():
        install(python, requirement, folder / requirement.partition("==")[0].partition("[")[0])
    lay_out(target, folder / "pinlink", named="--flames" in arguments)
    worker = [str(python), str(HERE / "worker.py"), str(folder)]
    program = [str(target / "release" / "pinlink-peers"), "--language", "python", *arguments, "--", *worker]
    # Compiled once, as what is installed, but not beside the sources.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.call(program, env={**variables, "PYTHONPYCACHEPREFIX": str(folder / "compiled")})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
