//! The server that all peers ask: nginx as the distribution built it, with a small configuration of its own.
//!
//! It owns the temporary directory, the certificate, and nginx from its start to its end: nginx is ended by its
//! process id when the value is dropped, and by the kernel when this process dies without dropping it. One
//! worker process, no access log, no limit on requests per connection; the rest as Debian's nginx.conf has it.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::measure::Result;

/// The size of the answer's body.
pub(crate) const BODY: usize = 100;
/// The name that the certificate is for.
pub(crate) const NAME: &str = "localhost";
/// The Debian package that a missing program comes from.
pub(crate) const PACKAGES: [(&str, &str); 3] = [("nginx", "nginx-light"), ("wrk", "wrk"), ("h2load", "nghttp2-client")];

/// nginx starts in milliseconds; on a loaded machine it takes longer.
const START: Duration = Duration::from_secs(10);
/// nginx closes its connections and ends; after this it is killed.
const END: Duration = Duration::from_secs(3);

/// A running nginx.
pub(crate) struct Server {
    child: Child,
    directory: PathBuf,
    doors: Doors,
    ca: String,
}

/// Where nginx listens. Over TCP alone a door speaks one protocol, so HTTP/2 has doors of its own.
#[derive(Clone, Copy)]
struct Doors {
    plain: SocketAddr,
    tls: SocketAddr,
    http2: SocketAddr,
    http2_tls: SocketAddr,
}

impl Doors {
    /// Free ports of the loopback interface.
    fn find() -> Result<Doors> {
        // All are held until all are known, or two might be the same. Nobody else on this machine is racing for them.
        let held: Vec<TcpListener> =
            (0..4).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
        let mut at = held.iter().map(TcpListener::local_addr);
        let mut next = || at.next().ok_or("a port is missing")?.map_err(Into::into);
        let next: &mut dyn FnMut() -> Result<SocketAddr> = &mut next;
        Ok(Doors { plain: next()?, tls: next()?, http2: next()?, http2_tls: next()? })
    }

    fn all(&self) -> [SocketAddr; 4] {
        [self.plain, self.tls, self.http2, self.http2_tls]
    }
}

impl Server {
    /// Starts nginx on free ports of the loopback interface.
    pub(crate) fn start() -> Result<Server> {
        let program = program("nginx")?;
        let directory = std::env::temp_dir().join(format!("pinlink-peers-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("www"))?;
        let child = prepare(&directory).and_then(|(doors, ca)| {
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
            Ok((command.spawn()?, doors, ca))
        });
        let (child, doors, ca) = match child {
            Ok(started) => started,
            Err(error) => {
                let _ = std::fs::remove_dir_all(&directory);
                return Err(error);
            }
        };
        let mut server = Server { child, directory, doors, ca };
        server.await_start()?;
        Ok(server)
    }

    fn await_start(&mut self) -> Result<()> {
        let latest = Instant::now() + START;
        while self.doors.all().iter().any(|door| TcpStream::connect(door).is_err()) {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > latest {
                let log = std::fs::read_to_string(self.directory.join("error.log")).unwrap_or_default();
                return Err(format!("nginx did not start: {}", log.trim()).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Where it listens without TLS.
    pub(crate) fn plain(&self) -> SocketAddr {
        self.doors.plain
    }

    /// Where it listens with TLS 1.3.
    pub(crate) fn tls(&self) -> SocketAddr {
        self.doors.tls
    }

    /// Where it speaks HTTP/2: without TLS (prior knowledge), or with TLS 1.3 (ALPN).
    pub(crate) fn http2(&self, tls: bool) -> SocketAddr {
        if tls { self.doors.http2_tls } else { self.doors.http2 }
    }

    /// The CA that its certificate is signed by, as PEM.
    pub(crate) fn ca(&self) -> &str {
        &self.ca
    }

    /// The same in a file.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: the child has not been waited for, so the process id is still its own. No memory is involved.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        let latest = Instant::now() + END;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > latest {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Writes everything nginx reads.
fn prepare(directory: &Path) -> Result<(Doors, String)> {
    let ca = certify(directory)?;
    std::fs::write(directory.join("www/answer"), "x".repeat(BODY))?;
    let doors = Doors::find()?;
    std::fs::write(directory.join("nginx.conf"), configuration(directory, doors))?;
    Ok((doors, ca))
}

fn configuration(directory: &Path, doors: Doors) -> String {
    let Doors { plain, tls, http2, http2_tls } = doors;
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
pid {at}/nginx.pid;
events {{ worker_connections 2048; }}
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
    server {{ listen {plain}; }}
    server {{ listen {tls} ssl; }}
    server {{ listen {http2} http2; }}
    server {{ listen {http2_tls} ssl http2; }}
}}
"
    );
    text
}

/// A CA and a certificate for [`NAME`] and 127.0.0.1; returns the CA.
fn certify(directory: &Path) -> Result<String> {
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
    Ok(ca)
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
