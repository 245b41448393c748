//! A server's life: made, started, awaited, stopped.
//!
//! A thread of its own starts it and stays, since the kernel ends a child with the *thread* that made it
//! (`PR_SET_PDEATHSIG`): a test process that is killed leaves no server behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// nobody.
const UNPRIVILEGED: u32 = 65534;
/// Far beyond what a start takes on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
/// Where MariaDB's tests put their tables.
pub(crate) const DATABASE: &str = "pinlink";
/// A port that was free may be taken when the server comes to it.
const TRIES: usize = 5;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL, of Debian's package `postgresql`.
    Postgres,
    /// MariaDB, of Debian's packages `mariadb-server-core` and `mariadb-client-core`.
    MariaDb,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    engine: Engine,
    port: u16,
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
    // Last: removed when the server has ended.
    _directory: TempDir,
}

impl Server {
    /// The server that this process's tests share: started by the first that asks, stopped with the last that holds
    /// it.
    ///
    /// # Panics
    /// Where it can't be started: its package is missing, or see the message.
    pub fn shared(engine: Engine) -> Arc<Server> {
        static SHARED: [Mutex<Weak<Server>>; 2] = [const { Mutex::new(Weak::new()) }; 2];
        let mut shared = SHARED[engine as usize].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Server::start(engine));
        *shared = Arc::downgrade(&server);
        server
    }

    fn start(engine: Engine) -> Server {
        let directory = tempfile::Builder::new().prefix("pinlink-engine-").tempdir().expect("a directory");
        if geteuid().is_root() {
            chown(directory.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED)).expect("root may");
        }
        let data = directory.path().join("data");
        fs::write(directory.path().join("init.sql"), format!("CREATE DATABASE {DATABASE};")).expect("it is ours");
        let made = engine.maker(&data).current_dir(directory.path()).output().expect("setpriv runs");
        let log = [made.stdout, made.stderr].concat();
        assert!(made.status.success(), "{engine:?}: {}", String::from_utf8_lossy(&log));
        for _ in 0..TRIES {
            let port =
                TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
            let mut command = engine.server(&data, port);
            command.current_dir(directory.path()).stdout(Stdio::null());
            let (stop, stopped) = channel();
            let (ready, is_ready) = channel();
            let keeper = thread::spawn(move || keep(engine, command, &ready, &stopped));
            match is_ready.recv_timeout(READY_WITHIN) {
                Ok(Ok(())) => {
                    let (stop, keeper) = (Some(stop), Some(keeper));
                    return Server { engine, port, stop, keeper, _directory: directory };
                }
                Ok(Err(log)) if log.contains("in use") => {}
                Ok(Err(log)) => panic!("{engine:?} ended at once:\n{log}"),
                Err(error) => panic!("{engine:?} was not ready within {READY_WITHIN:?}: {error}"),
            }
        }
        panic!("{engine:?} found no free port")
    }

    /// Which one it is.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Engine {
    fn maker(self, data: &Path) -> Command {
        match self {
            Engine::Postgres => {
                let mut command = unprivileged(&postgres("initdb"));
                command.args(["-A", "trust", "-U", "test", "-E", "UTF8", "--no-locale", "--no-sync", "-D"]).arg(data);
                command
            }
            Engine::MariaDb => {
                let mut command = unprivileged(Path::new("/usr/bin/mariadb-install-db"));
                command.args([
                    "--no-defaults",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    "--skip-name-resolve",
                ]);
                command.arg(with("--datadir=", data));
                command
            }
        }
    }

    /// Nothing here outlives a test, so nothing is written through.
    fn server(self, data: &Path, port: u16) -> Command {
        let parent = data.parent().expect("it lies in the server's directory");
        match self {
            Engine::Postgres => {
                let mut command = unprivileged(&postgres("postgres"));
                command.arg("-D").arg(data).arg("-k").arg(parent).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
                command.args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"]);
                command
            }
            Engine::MariaDb => {
                let mut command = unprivileged(Path::new("/usr/sbin/mariadbd"));
                command.args(["--no-defaults", "--bind-address=127.0.0.1", &format!("--port={port}")]);
                command.arg(with("--datadir=", data)).arg(with("--socket=", &parent.join("socket")));
                command.arg(with("--pid-file=", &parent.join("pid")));
                command.arg(with("--init-file=", &parent.join("init.sql")));
                command.args(["--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync"]);
                command.args(["--innodb-buffer-pool-size=32M", "--innodb-lock-wait-timeout=20"]);
                command
            }
        }
    }

    fn is_ready(self, line: &str) -> bool {
        line.contains(match self {
            Engine::Postgres => "ready to accept connections",
            Engine::MariaDb => "ready for connections",
        })
    }
}

fn with(option: &str, path: &Path) -> String {
    format!("{option}{}", path.display())
}

/// Debian keeps a directory for each version, and none in `PATH`.
fn postgres(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("package postgresql is installed");
    let mut paths: Vec<_> = versions.flatten().map(|version| version.path().join("bin").join(program)).collect();
    paths.retain(|path| path.exists());
    paths.sort();
    paths.pop().expect("package postgresql is installed")
}

/// The command as nobody where we are root, since neither server runs as root; and ended with the thread that starts
/// it.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if geteuid().is_root() {
        command.args([&format!("--reuid={UNPRIVILEGED}"), &format!("--regid={UNPRIVILEGED}"), "--clear-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the server until its owner drops the other end of `stopped`.
fn keep(engine: Engine, mut command: Command, ready: &Sender<Result<(), String>>, stopped: &Receiver<()>) {
    let mut child = command.spawn().expect("setpriv runs");
    let mut log = BufReader::new(child.stderr.take().expect("it is a pipe"));
    let mut seen = String::new();
    while !seen.lines().last().is_some_and(|line| engine.is_ready(line)) {
        if !matches!(log.read_line(&mut seen), Ok(1..)) {
            let _ = child.wait();
            let _ = ready.send(Err(seen));
            return;
        }
    }
    // A full pipe would stop the server.
    let drain = thread::spawn(move || for _ in log.lines().map_while(Result::ok) {});
    let _ = ready.send(Ok(()));
    let _ = stopped.recv();
    stop(engine, &mut child);
    let _ = drain.join();
}

fn stop(engine: Engine, child: &mut Child) {
    // At once, but PostgreSQL gives back its shared memory.
    let signal = if engine == Engine::Postgres { Signal::QUIT } else { Signal::KILL };
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
    let until = Instant::now() + STOPPED_WITHIN;
    while Instant::now() < until {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
}
