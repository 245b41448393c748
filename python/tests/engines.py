"""PostgreSQL and MariaDB for tests: real servers, in directories of their own, that end with whoever started them."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading

# nobody: neither server runs as root.
UNPRIVILEGED = 65534


def unprivileged(program, *arguments):
    """A command that ends with the thread that starts it."""
    command = ["setpriv"]
    if os.geteuid() == 0:
        command += [f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"]
    return [*command, "--pdeathsig", "KILL", "--", str(program), *map(str, arguments)]


class Server:
    """A server of one kind, and the database ``pinlink`` in it."""

    ready = ""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pinlink-engine-"))
        if os.geteuid() == 0:
            os.chown(str(self.folder), UNPRIVILEGED, UNPRIVILEGED)
        (self.folder / "init.sql").write_text("CREATE DATABASE pinlink;")
        subprocess.run(self.making(), cwd=str(self.folder), check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        environment = {**os.environ, "LC_ALL": "C"}
        self._process = subprocess.Popen(
            self.running(), cwd=str(self.folder), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        log = []
        for line in self._process.stderr:
            log.append(line.decode(errors="replace"))
            if self.ready in log[-1]:
                break
        else:
            raise AssertionError("".join(log))
        # A full pipe would stop the server.
        self._drain = threading.Thread(target=self._process.stderr.read)
        self._drain.start()

    def close(self):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._drain.join()
        self._process.stderr.close()
        shutil.rmtree(str(self.folder), ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.close()


class Postgres(Server):
    """PostgreSQL, of Debian's package `postgresql`."""

    ready = "ready to accept connections"

    @staticmethod
    def program(name):
        return sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))[-1]

    def making(self):
        options = ["-A", "trust", "-U", "test", "-E", "UTF8", "--no-locale", "--no-sync", "-D", self.folder / "data"]
        return unprivileged(self.program("initdb"), *options)

    def running(self):
        options = ["-D", self.folder / "data", "-k", self.folder, "-h", "127.0.0.1", "-p", self.port]
        return unprivileged(self.program("postgres"), *options, "-c", "fsync=off", "-c", "full_page_writes=off")


class MariaDb(Server):
    """MariaDB, of Debian's packages `mariadb-server-core` and `mariadb-client-core`."""

    ready = "ready for connections"

    def making(self):
        return unprivileged(
            "/usr/bin/mariadb-install-db",
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
            f"--datadir={self.folder / 'data'}",
        )

    def running(self):
        return unprivileged(
            "/usr/sbin/mariadbd",
            "--no-defaults",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--init-file={self.folder / 'init.sql'}",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-flush-method=nosync",
            "--innodb-buffer-pool-size=32M",
        )
