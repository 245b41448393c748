//! The server that all peers ask: nginx as the distribution built it, with a small configuration of its own.
//!
//! It owns the temporary directory, the certificate, and nginx from its start to its end: nginx is ended by its
//! process id when the value is dropped, and by the kernel when this process dies without dropping it. One
//! worker process, no access log, no limit on requests per connection, room for some thousand connections; the rest as
//! Debian's nginx.conf has it. How many connections it has accepted it says itself, on a connection of ours that was
//! there before all others.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::measure::Result;
use crate::plan::Door;
use crate::process::await_end;

/// The size of `/answer`, and of what `/post` answers.
const BODY: usize = 100;
/// The files, and how large they are; `/post` is no file.
const FILES: [(&str, usize); 3] = [("answer", BODY), ("64k", BODY_64K), ("10m", BODY_10M)];
/// The size of `/64k`.
pub(crate) const BODY_64K: usize = 64 * 1024;
/// The size of `/10m`.
pub(crate) const BODY_10M: usize = 10 * 1024 * 1024;
/// The name that the certificate is for.
const NAME: &str = "localhost";
/// The Debian package that a missing program comes from, where it is called otherwise.
const PACKAGES: [(&str, &str); 3] = [("nginx", "nginx-light"), ("h2load", "nghttp2-client"), ("perf", "linux-perf")];

/// nginx starts in milliseconds; on a loaded machine it takes longer.
const START: Duration = Duration::from_secs(10);
/// nginx closes its connections and ends; after this it is killed.
const END: Duration = Duration::from_secs(3);

/// It says in microseconds how many connections there were.
const STATUS: Duration = Duration::from_secs(10);

/// A running nginx.
pub(crate) struct Server {
    child: Child,
    directory: PathBuf,
    doors: Doors,
    status: Rc<RefCell<Status>>,
}

/// Where nginx listens.
#[derive(Clone, Copy)]
struct Doors {
    plain: SocketAddr,
    tls: SocketAddr,
    http2: SocketAddr,
    http2_tls: SocketAddr,
    status: SocketAddr,
}

impl Doors {
    /// Free ports of the loopback interface.
    fn find() -> Result<Doors> {
        // All are held until all are known, or two might be the same. Nobody else on this machine is racing for them.
        let held: Vec<TcpListener> =
            (0..5).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
        let mut at = held.iter().map(TcpListener::local_addr);
        let mut next = || at.next().ok_or("a port is missing")?.map_err(Into::into);
        let next: &mut dyn FnMut() -> Result<SocketAddr> = &mut next;
        Ok(Doors { plain: next()?, tls: next()?, http2: next()?, http2_tls: next()?, status: next()? })
    }
}

impl Server {
    /// Starts nginx on free ports of the loopback interface.
    pub(crate) fn start() -> Result<Server> {
        let program = program("nginx")?;
        let directory = std::env::temp_dir().join(format!("pinlink-peers-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("www"))?;
        let child = prepare(&directory).and_then(|doors| {
            let mut command = Command::new(&program);
            command.arg("-p").arg(&directory).arg("-c").arg(directory.join("nginx.conf"));
            command.arg("-e").arg(directory.join("error.log")).stdin(Stdio::null()).stderr(Stdio::null());
            // SAFETY: between fork and exec only `prctl` is called, which is async-signal-safe and takes no pointer.
            unsafe {
                command.pre_exec(|| {
                    // The master then ends its worker, which it could not after SIGKILL.
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                    Ok(())
                });
            }
            Ok((command.spawn()?, doors))
        });
        let started = child.and_then(|(mut child, doors)| match await_start(&mut child, doors, &directory) {
            Ok(status) => Ok((child, doors, status)),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        });
        match started {
            Ok((child, doors, status)) => {
                let status = Rc::new(RefCell::new(Status { stream: status }));
                Ok(Server { child, directory, doors, status })
            }
            Err(error) => {
                let _ = std::fs::remove_dir_all(&directory);
                Err(error)
            }
        }
    }

    /// Where a path is asked for at a door: TLS is for the certificate's name.
    pub(crate) fn url(&self, door: Door, path: &str) -> String {
        let at = match door {
            Door::Plain => self.doors.plain,
            Door::Tls => self.doors.tls,
            Door::Http2 => self.doors.http2,
            Door::Http2Tls => self.doors.http2_tls,
        };
        match door.is_tls() {
            true => format!("https://{NAME}:{}{path}", at.port()),
            false => format!("http://{at}{path}"),
        }
    }

    /// Whom to ask how many connections it has accepted.
    pub(crate) fn status(&self) -> Rc<RefCell<Status>> {
        Rc::clone(&self.status)
    }

    /// The CA that its certificate is signed by, in a PEM file.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Waits until nginx answers; returns the connection that its status is asked on.
fn await_start(child: &mut Child, doors: Doors, directory: &Path) -> Result<TcpStream> {
    let latest = Instant::now() + START;
    loop {
        // It listens at all doors before it answers at one.
        match TcpStream::connect(doors.status) {
            Ok(stream) => {
                stream.set_read_timeout(Some(STATUS))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(_) if child.try_wait()?.is_none() && Instant::now() < latest => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(_) => {
                let log = std::fs::read_to_string(directory.join("error.log")).unwrap_or_default();
                return Err(format!("nginx did not start: {}", log.trim()).into());
            }
        }
    }
}

fn end(child: &mut Child) {
    // SAFETY: the child has not been waited for, so the process id is still its own. No memory is involved.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
    await_end(child, END);
}

/// nginx's page `stub_status`, on a connection that is kept.
pub(crate) struct Status {
    stream: TcpStream,
}

impl Status {
    /// The connections that nginx has accepted so far, this one included.
    pub(crate) fn accepted(&mut self) -> Result<u64> {
        self.stream.write_all(b"GET /status HTTP/1.1\r\nhost: status\r\n\r\n")?;
        let mut page = String::new();
        let mut piece = [0; 1024];
        // The last line of the page begins with "Reading".
        while !page.split_once("\nReading").is_some_and(|(_, last)| last.ends_with('\n')) {
            match self.stream.read(&mut piece)? {
                0 => return Err("nginx closed the connection of its status".into()),
                read => page.push_str(&String::from_utf8_lossy(&piece[..read])),
            }
        }
        let counts = page.split_once("requests\n").map(|(_, counts)| counts.trim_start());
        let accepts = counts.and_then(|counts| counts.split(' ').next());
        Ok(accepts.ok_or("nginx's status counts no connections")?.parse()?)
    }
}

/// Writes everything nginx reads.
fn prepare(directory: &Path) -> Result<Doors> {
    certify(directory)?;
    for (name, size) in FILES {
        std::fs::write(directory.join("www").join(name), "x".repeat(size))?;
    }
    let doors = Doors::find()?;
    std::fs::write(directory.join("nginx.conf"), configuration(directory, doors))?;
    Ok(doors)
}

fn configuration(directory: &Path, doors: Doors) -> String {
    let Doors { plain, tls, http2, http2_tls, status } = doors;
    let answer = "x".repeat(BODY);
    let at = directory.display();
    // SAFETY: takes nothing and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let mut text = String::new();
    if is_root {
        // Its worker would become nobody, who may not read the temporary directory.
        text.push_str("user root;\n");
    }
    let _ = write!(
        text,
        "daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {at}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    open_file_cache max=16 inactive=1h;
    open_file_cache_valid 1h;
    client_body_temp_path {at}/body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    root {at}/www;
    ssl_certificate {at}/leaf.pem;
    ssl_certificate_key {at}/leaf.key;
    ssl_protocols TLSv1.3;
    server {{
        listen {plain};
        listen {tls} ssl;
        listen {http2} http2;
        listen {http2_tls} ssl http2;
        location = /post {{ return 200 {answer}; }}
    }}
    server {{ listen {status}; location = /status {{ stub_status; }} }}
}}
"
    );
    text
}

/// A CA and a certificate for [`NAME`] and 127.0.0.1.
fn certify(directory: &Path) -> Result<()> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    // Named alike, the two would pass for one certificate that signed itself.
    params.distinguished_name.push(DnType::CommonName, "pinlink-peers CA");
    let key = KeyPair::generate()?;
    let ca = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new([NAME.to_owned(), "127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    std::fs::write(directory.join("ca.pem"), &ca)?;
    std::fs::write(directory.join("leaf.pem"), leaf.pem())?;
    std::fs::write(directory.join("leaf.key"), key.serialize_pem())?;
    Ok(())
}

/// Where a program is, or an error that names the package it comes in.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian has nginx in /usr/sbin, which is in root's PATH only.
    let found = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/bin")])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file());
    found.ok_or_else(|| {
        let package = PACKAGES.iter().find(|(program, _)| *program == name).map_or(name, |(_, package)| package);
        format!("{name} is not installed: apt-get install {package}").into()
    })
}

/// What a program says of its version, on whichever stream.
pub(crate) fn says(name: &str, argument: &str) -> String {
    let Ok(output) = program(name).and_then(|program| Ok(Command::new(program).arg(argument).output()?)) else {
        return "missing".to_owned();
    };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;
    use std::io::prelude::*;

    use super::*;

    /// An answer's status line and the size of its body.
    fn ask(stream: &mut TcpStream, request: &str) -> (String, usize) {
        stream.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let (mut first, mut size) = (String::new(), 0);
        reader.read_line(&mut first).unwrap();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(length) = line.strip_prefix("Content-Length: ") {
                size = length.trim().parse().unwrap();
            } else if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; size];
        reader.read_exact(&mut body).unwrap();
        assert!(body.iter().all(|&byte| byte == b'x') && reader.buffer().is_empty());
        (first.trim().to_owned(), size)
    }

    #[test]
    fn every_path_is_answered_on_a_kept_connection_and_each_connection_is_counted() {
        let server = Server::start().unwrap();
        let status = server.status();
        let before = status.borrow_mut().accepted().unwrap();
        let mut stream = TcpStream::connect(server.doors.plain).unwrap();
        stream.set_read_timeout(Some(STATUS)).unwrap();
        let post = format!("POST /post HTTP/1.1\r\nhost: h\r\ncontent-length: 1024\r\n\r\n{}", "p".repeat(1024));
        for _ in 0..2 {
            assert_eq!(ask(&mut stream, &post), ("HTTP/1.1 200 OK".to_owned(), BODY));
            for (name, size) in FILES {
                let get = format!("GET /{name} HTTP/1.1\r\nhost: h\r\n\r\n");
                assert_eq!(ask(&mut stream, &get), ("HTTP/1.1 200 OK".to_owned(), size));
            }
        }
        assert_eq!(status.borrow_mut().accepted().unwrap() - before, 1);
        drop(TcpStream::connect(server.doors.tls).unwrap());
        // The second status answer comes after everything that nginx knew of at the first.
        let _ = status.borrow_mut().accepted().unwrap();
        assert_eq!(status.borrow_mut().accepted().unwrap() - before, 2);
        let directory = server.directory.clone();
        drop(server);
        assert!(!directory.exists());
    }
}
