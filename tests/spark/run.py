"""Runs the Spark examples on a real Spark, and holds what the services saw against the input.

``python3 run.py TARGET JAVA_HOME PYTHON...``: TARGET is cargo's target directory, in whose ``debug`` the native
libraries and the network in a box lie; JAVA_HOME a JDK that Spark runs on (17). The first Python runs the driver and
the workers on ``local-cluster``, the last those on the standalone cluster. Spark itself is one pip distribution,
installed once into TARGET/spark. What is lost, doubled, or over a cap fails; so does a run in which nothing was killed
or speculated. Logs stay where a failure says, those of local-cluster's executors in the folder ``work`` of Spark.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import xml.etree.ElementTree
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
POM = EXAMPLES / "spark-java/pom.xml"
LIBRARY = "libpinlink_jni.so"
NATIVE = "io/github/pinlink/native/linux-x86_64/"

ROWS = 96
PARTITIONS = 8
# The row whose answer never comes, until its task is executed again.
HELD = 37
# The job's own name: the same when it is submitted again.
JOB = "rows of 2026-11-22"
# The whole job's connections: what the proxy in the box allows at once.
CONNECTIONS = 8
# Far beyond what any step takes, so that what hangs fails.
PATIENCE = 300

# For JVMs that live for seconds: most of their time would go to compiling what soon ends.
BRIEF = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
# Where the archive is unpacked in an executor's working directory.
ON_PATH = ["--conf", "spark.executorEnv.PYTHONPATH=wheel"]
# A connection for each request under way; elsewhere many share one.
HTTP_1 = {"spark__pinlink__protocol": "http1"}

SPECULATION = {
    "spark__speculation": "true",
    "spark__speculation__quantile": "0.5",
    "spark__speculation__multiplier": "1.5",
    "spark__speculation__interval": "100ms",
}


def say(text):
    print(f"spark: {text}", flush=True)


def until(what, look):
    """What `look` finds, once it finds something."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} was never so"
        time.sleep(0.1)


def tree(root):
    """A process and all that descend from it."""
    children = {}
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        # Whoever has ended meanwhile has no children.
        with contextlib.suppress(OSError):
            parent = status.read_text().rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(status.parent.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def command_line(process):
    try:
        return pathlib.Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


class Program:
    """A program with all that it starts, which ends with it; what it says goes to a file."""

    def __init__(self, log, command, variables):
        self.log = log
        with log.open("wb") as out:
            streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out}
            self._process = subprocess.Popen(command, env=variables, **streams)
        self.id = self._process.pid

    def runs(self):
        assert self._process.poll() is None, f"it ended; {self.log} tells why:\n{self._tail()}"
        return True

    def _tail(self):
        return self.log.read_text(errors="replace")[-3000:]

    def said(self, pattern):
        self.runs()
        found = re.search(pattern, self.log.read_text(errors="replace"))
        return found and found.group(1)

    def wait(self):
        code = self._process.wait(PATIENCE)
        assert code == 0, f"code {code}; {self.log} tells why:\n{self._tail()}"

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        if self._process.poll() is None:
            for process in tree(self.id):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        self._process.wait()


class Box:
    """The network in a box: DNS, a proxy that refuses what is over the job's cap, and the services behind it."""

    def __init__(self, target):
        command = [str(target / "debug/pinlink-box"), "--names", "rows.box.test"]
        command += ["--cap", str(CONNECTIONS), "--over-cap", "refuse"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        plan = json.loads(self._process.stdout.readline())
        self._control = "http://" + plan["control"]
        self.origin = f"https://rows.box.test:{plan['https']['right']}"
        self.options = {
            "hosts": self.origin,
            "nameservers": plan["dns"],
            "ca_file": plan["ca-file"],
            "allow_addresses": "127.0.0.0/8",
            "web_roots": "false",
            # A query that is answered late is not asked twice.
            "resolve_attempt_timeout": "1m",
            "resolve_timeout": "2m",
            "job_connections": str(CONNECTIONS),
            # Whatever is held stays so until its process ends.
            "timeout": f"{PATIENCE}s",
            "stall_timeout": f"{PATIENCE}s",
        }

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._control + path, data, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def hold(self):
        """Has the first write of one row be applied, and never answered."""
        self.control("POST", "/faults", {"fault": "apply-then-silence", "times": 1, "name": str(HELD)})

    def effects(self):
        """What the service did: record, key, how often."""
        return [(write["record"], write["key"], write["applied"]) for write in self.control("GET", "/sink")]

    def seen(self):
        return self.control("GET", "/seen")

    def tasks(self, record):
        """Who has sent writes to a record, in the order in which they came: what their header says of them."""
        sent = [dict(request["headers"])["x-task"] for request in self.seen() if request["path"] == f"/sink/{record}"]
        return [dict(field.split("=") for field in task.split()) for task in sent]

    def held(self, program):
        """Which task waits for the answer that never comes."""
        return until("the held row's write", lambda: program.runs() and self.tasks(HELD))[0]

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def installed(target):
    """Spark, from pip, in the version that the example in Java is built for."""
    pom = xml.etree.ElementTree.parse(str(POM))
    names = {"m": "http://maven.apache.org/POM/4.0.0"}
    spark = "pyspark==" + pom.findtext(".//m:dependency[m:groupId='org.apache.spark']/m:version", namespaces=names)
    venv = target / "spark/venv"
    mark = venv / "installed.txt"
    if not mark.exists() or mark.read_text() != spark:
        say(f"installing {spark} (once, 320 MB)")
        subprocess.check_call([sys.executable, "-m", "venv", "--clear", str(venv)])
        pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.check_call([*pip, "--no-cache-dir", spark])
        mark.write_text(spark)
    return next(venv.glob("lib/python3*/site-packages/pyspark"))


class Bench:
    """What all runs share: Spark, and what is shipped with the jobs."""

    def __init__(self, target, java_home):
        self.target = target
        self.java_home = java_home
        self.spark = installed(target)
        self.folder = target / "spark/run"
        for old in (self.folder, self.spark / "work"):
            shutil.rmtree(str(old), ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.library = self.folder / LIBRARY
        self.strip("libpinlink_jni.so", self.library)
        # The package's own folder: what lies in folders below needs what other platforms provide.
        self.bare = self.jar("pinlink-bare", (ROOT / "jni/java/src/main/java/io/github/pinlink").glob("*.java"))
        self.whole = self.folder / "pinlink.jar"
        shutil.copy(str(self.bare), str(self.whole))
        with zipfile.ZipFile(str(self.whole), "a", zipfile.ZIP_DEFLATED, compresslevel=1) as jar:
            jar.write(str(self.library), NATIVE + LIBRARY)
        self.job = self.jar("enrich", (EXAMPLES / "spark-java").glob("**/*.java"), [self.bare, self.spark / "jars/*"])
        self.archive = self.package()

    def strip(self, name, to):
        """A library as it is shipped: without what is for debuggers, which is nine tenths of it."""
        subprocess.check_call(["strip", "-o", str(to), str(self.target / "debug" / name)])

    def jar(self, name, sources, classpath=()):
        classes, jar = self.folder / name, self.folder / f"{name}.jar"
        javac = [f"{self.java_home}/bin/javac", *(f"-J{option}" for option in BRIEF.split())]
        javac += ["--release", "8", "-Xlint:all,-options,-path", "-Werror", "-d", str(classes)]
        subprocess.check_call([*javac, "-cp", ":".join(map(str, classpath)), *map(str, sources)])
        with zipfile.ZipFile(str(jar), "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(classes.glob("**/*.class")):
                file.write(str(path), str(path.relative_to(classes)))
        return jar

    def package(self):
        """The wheel, renamed to .zip: the package beside its native library."""
        folder = self.folder / "wheel"
        package = folder / "pinlink"
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(str(ROOT / "python/pinlink"), str(package), ignore=ignored)
        self.strip("lib_pinlink.so", package / "_pinlink.abi3.so")
        return pathlib.Path(shutil.make_archive(str(self.folder / "pinlink"), "zip", str(folder)))

    def variables(self, python=sys.executable, **more):
        given = {
            "JAVA_HOME": str(self.java_home),
            "SPARK_HOME": str(self.spark),
            "JAVA_TOOL_OPTIONS": BRIEF,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self.folder / "local"),
            "PYSPARK_PYTHON": str(python),
            "PYTHONDONTWRITEBYTECODE": "1",
            # The driver's own copy of the package.
            "PYTHONPATH": str(self.folder / "wheel"),
        }
        return {**os.environ, **given, **more}

    def configured(self, program, master, box, workers, **settings):
        """The beginning of a command: a program of Spark's, with what all jobs have."""
        conf = {f"spark.pinlink.{option}": value for option, value in box.options.items()}
        conf["spark.pinlink.workers"] = str(workers)
        conf.update({"spark.ui.enabled": "false", "spark.executor.memory": "512m"})
        conf.update({"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"})
        conf.update({name.replace("__", "."): value for name, value in settings.items()})
        command = [str(self.spark / "bin" / program), "--master", master, "--driver-memory", "512m"]
        for name, value in conf.items():
            command += ["--conf", f"{name}={value}"]
        return command

    def submit(self, name, master, box, workers, job, python=sys.executable, **settings):
        """Starts a job: what is shipped with it, then its file and what follows its usual arguments."""
        shipped, (main, *after) = job
        command = self.configured("spark-submit", master, box, workers, **settings)
        command += [*map(str, shipped), str(main), f"{box.origin}/rows/", f"{box.origin}/sink/"]
        command += [str(ROWS), str(PARTITIONS), str(self.folder / name), *after]
        return Program(self.folder / f"{name}.log", command, self.variables(python))

    def lines(self, name):
        """The output, by row: the answer and what became of the write."""
        rows = {}
        for part in sorted((self.folder / name).glob("part-*")):
            for line in part.read_text().splitlines():
                row, answer, outcome = line.split("\t")
                assert int(row) not in rows, f"row {row} is there twice"
                rows[int(row)] = (json.loads(answer)["id"], outcome)
        return rows


def hold_against_input(bench, name, box):
    """Every row enriched, every write applied once, nothing over the cap, one query."""
    rows = bench.lines(name)
    enriched = {row: answer for row, (answer, _) in rows.items()}
    assert enriched == {row: str(row) for row in range(ROWS)}, f"{len(enriched)} rows: {enriched}"
    sink = box.control("GET", "/sink")
    wanted = sorted([str(row) for row in range(ROWS)] + [f"partition-{number}" for number in range(PARTITIONS)])
    # By record and key: a record under two keys would be there twice.
    assert sorted(write["record"] for write in sink) == wanted, f"{len(sink)} records and keys, not {len(wanted)}"
    wrong = [write for write in sink if not write["key"] or write["applied"] != 1 or len(write["bodies"]) != 1]
    assert not wrong, f"without a key, not applied once, or with several bodies: {wrong}"
    counts = box.control("GET", "/counts")
    assert counts["dns"]["queries"] == 1, f"only the driver asks, once: {counts['dns']}"
    proxy = counts["proxy"]
    assert 1 < proxy["peak"] <= CONNECTIONS, proxy
    assert (proxy["refused"], counts["origins"]["failed-handshakes"]) == (0, 0), counts
    again = sum(outcome == "AlreadyApplied" for _, outcome in rows.values())
    twice = sum(write["attempts"] > 1 for write in sink)
    say(f"{name}: {ROWS} rows, {len(sink)} effects, {twice} written again, peak {proxy['peak']} of {CONNECTIONS}")
    return again


def hold_against_attempts(box, place):
    """The held row's task was executed twice, in two places."""
    tasks = box.tasks(HELD)
    assert {task["attempt"] for task in tasks} == {"0", "1"}, tasks
    assert len({task[place] for task in tasks}) == 2, tasks
    assert len({task["partition"] for task in tasks}) == 1, tasks


def killed_executor(bench, box):
    """Java on local-cluster, the library in the jar: the executor with the held row is killed."""
    box.hold()
    job = ["--class", "example.Enrich", "--jars", bench.whole], [bench.job, JOB]
    with bench.submit("killed-executor", "local-cluster[2,2,512]", box, 2, job, **HTTP_1) as program:
        lost = box.held(program)["executor"]

        def executor(process):
            line = command_line(process)
            return "--executor-id" in line and line[line.index("--executor-id") + 1] == lost

        os.kill(next(filter(executor, tree(program.id))), signal.SIGKILL)
        program.wait()
    hold_against_attempts(box, "executor")
    assert hold_against_input(bench, "killed-executor", box) > 0


def submitted_again(bench, box):
    """The same job once more, now in Scala: what has been done is not done again."""
    before = box.effects()
    settings = {
        "spark__enrich__job": JOB,
        "spark__enrich__source": f"{box.origin}/rows/",
        "spark__enrich__store": f"{box.origin}/sink/",
        "spark__enrich__rows": str(ROWS),
        "spark__enrich__output": str(bench.folder / "submitted-again"),
    }
    command = bench.configured("spark-shell", "local[2]", box, 1, **settings)
    command += ["--jars", str(bench.whole), "-i", str(EXAMPLES / "spark-scala/enrich.scala")]
    with Program(bench.folder / "submitted-again.log", command, bench.variables()) as program:
        program.wait()
    assert bench.lines("submitted-again") == {row: (str(row), "AlreadyApplied") for row in range(ROWS)}
    assert box.effects() == before, "something was done again"
    say(f"submitted-again: {ROWS} rows, no effect")


def killed_worker(bench, box, python):
    """Python on local-cluster: the worker process with the held row is killed; all are forks of a warm process."""
    box.hold()
    warm = json.dumps({"options": box.options, "url": f"{box.origin}/rows/warm"})
    settings = {"spark__python__daemon__module": "warm", "spark__executorEnv__WARM": warm, **HTTP_1}
    shipped = ["--archives", f"{bench.archive}#wheel", "--files", ROOT / "tests/spark/warm.py"]
    job = [*shipped, *ON_PATH], [EXAMPLES / "spark-python/enrich.py"]
    with bench.submit("killed-worker", "local-cluster[2,2,512]", box, 4, job, python, **settings) as program:
        victim = int(box.held(program)["process"])
        assert victim in tree(program.id), "it is no worker of this job"
        os.kill(victim, signal.SIGKILL)
        program.wait()
    assert "/rows/warm" in [request["path"] for request in box.seen()], "no daemon was warm"
    hold_against_attempts(box, "process")
    assert hold_against_input(bench, "killed-worker", box) > 0


def speculation(bench, box, master):
    """Java on two hosts, the library shipped as a file: the held row's task gets a copy on the other host."""
    box.hold()
    job = ["--class", "example.Enrich", "--jars", bench.bare, "--files", bench.library], [bench.job]
    with bench.submit("speculation", master, box, 2, job, **SPECULATION) as program:
        program.wait()
    hold_against_attempts(box, "executor")
    assert hold_against_input(bench, "speculation", box) > 0


def speculation_in_python(bench, box, master, python):
    """Python on two hosts: the worker process that loses just ends."""
    box.hold()
    job = ["--archives", f"{bench.archive}#wheel", *ON_PATH], [EXAMPLES / "spark-python/enrich.py"]
    with bench.submit("speculation-in-python", master, box, 2, job, python, **SPECULATION) as program:
        program.wait()
    hold_against_attempts(box, "process")
    assert hold_against_input(bench, "speculation-in-python", box) > 0


@contextlib.contextmanager
def cluster(bench):
    """A standalone master, and two workers on hosts of their own: Spark speculates across hosts only."""
    daemon = [str(bench.spark / "bin/spark-class")]
    with contextlib.ExitStack() as running:
        options = ["org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
        variables = bench.variables(SPARK_DAEMON_MEMORY="256m")
        master = running.enter_context(Program(bench.folder / "master.log", daemon + options, variables))
        url = until("the master", lambda: master.said(r"Starting Spark master at (spark://\S+)"))
        for number in (2, 3):
            host = f"127.0.0.{number}"
            options = ["org.apache.spark.deploy.worker.Worker", "--host", host, "--webui-port", "0"]
            options += ["-c", "1", "-m", "1g", "-d", str(bench.folder / f"worker-{number}"), url]
            log = bench.folder / f"worker-{number}.log"
            variables = bench.variables(SPARK_DAEMON_MEMORY="256m", SPARK_LOCAL_IP=host)
            worker = running.enter_context(Program(log, daemon + options, variables))
            until("the worker", lambda worker=worker: worker.said(r"(Successfully registered with master)"))
        yield url


def main(target, java_home, *pythons):
    """Runs everything; the first failure ends it, and its logs stay where they are."""
    # Whoever ends this ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("spark: ended"))
    bench = Bench(pathlib.Path(target).resolve(), java_home)
    with Box(bench.target) as box:
        killed_executor(bench, box)
        submitted_again(bench, box)
    with Box(bench.target) as box:
        killed_worker(bench, box, pythons[0])
    with cluster(bench) as master:
        with Box(bench.target) as box:
            speculation(bench, box, master)
        with Box(bench.target) as box:
            speculation_in_python(bench, box, master, pythons[-1])
    for old in (bench.folder, bench.spark / "work"):
        shutil.rmtree(str(old))


if __name__ == "__main__":
    main(*sys.argv[1:])
