//! The server that is asked: a thread for each connection.
//!
//! It owns the certificate and the listeners, and serves until the process ends. It is not counted, so it may be plain; it
//! must only do the same for every call: over HTTP/1.1 an answer is one write. No clock; the certificate's key is random.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde::{Deserialize, Serialize};

use crate::Result;

/// The name that the certificate is for.
pub(crate) const NAME: &str = "origin.example";
/// The sizes of the answers' bodies, by path.
pub(crate) const SMALL: usize = 100;
pub(crate) const LARGE: usize = 64 * 1024;

/// What `/later` waits before it answers: longer than a client takes from sending to waiting.
const LATER: Duration = Duration::from_millis(3);

/// Where it listens, and the certificate to trust.
#[derive(Serialize, Deserialize)]
pub(crate) struct Doors {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    /// HTTP/2 without TLS.
    pub(crate) http2: SocketAddr,
    pub(crate) ca_file: PathBuf,
}

/// What is served until the process ends, and the file that clients need.
pub(crate) struct Server(Doors);

impl Server {
    pub(crate) fn start() -> Result<Server> {
        let own = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let ca_file = std::env::temp_dir().join(format!("pinlink-instructions-{}.pem", std::process::id()));
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)?;
        let config = Arc::new(config);
        let plain = listen(answer)?;
        let tls = listen(move |socket| answer(StreamOwned::new(ServerConnection::new(config.clone())?, socket)))?;
        let http2 = listen(answer_streams)?;
        std::fs::write(&ca_file, own.cert.pem())?;
        Ok(Server(Doors { plain, tls, http2, ca_file }))
    }

    pub(crate) fn doors(&self) -> &Doors {
        &self.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A small file in the folder for such; where it can't be removed it stays.
        let _ = std::fs::remove_file(&self.0.ca_file);
    }
}

fn listen(serve: impl Fn(TcpStream) -> Result<()> + Clone + Send + 'static) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let serve = serve.clone();
            // The end of a connection ends its thread; the client tells what went wrong, by failing.
            std::thread::spawn(move || drop(socket.set_nodelay(true).map(|()| serve(socket))));
        }
    });
    Ok(address)
}

/// The head of an answer, as nginx writes it.
pub(crate) fn head_of(size: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
         Content-Length: {size}\r\nConnection: keep-alive\r\n\r\n"
    )
}

/// Answers one request after the other.
fn answer(mut stream: impl Read + Write) -> Result<()> {
    let whole = |size: usize| [head_of(size).as_bytes(), &vec![b'x'; size]].concat();
    let (small, large) = (whole(SMALL), whole(LARGE));
    let (mut buffer, mut held) = (vec![0; 16 * 1024], 0);
    loop {
        let Some(request) = whole_request(&buffer[..held]) else {
            let got = stream.read(&mut buffer[held..])?;
            if got == 0 {
                return Ok(());
            }
            held += got;
            continue;
        };
        let is_large = buffer.starts_with(b"GET /64k ");
        if buffer.starts_with(b"GET /later ") {
            std::thread::sleep(LATER);
        }
        buffer.copy_within(request..held, 0);
        held -= request;
        stream.write_all(if is_large { &large } else { &small })?;
        stream.flush()?;
    }
}

/// The length of the first request, once all of it is there.
fn whole_request(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let all = head + length.unwrap_or_default();
    (bytes.len() >= all).then_some(all)
}

/// Answers streams as they come.
fn answer_streams(socket: TcpStream) -> Result<()> {
    socket.set_nonblocking(true)?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let mut connection = h2::server::handshake(tokio::net::TcpStream::from_std(socket)?).await?;
        while let Some(request) = connection.accept().await {
            let mut respond = request?.1;
            let head = http::Response::builder().header("content-length", SMALL).body(())?;
            respond.send_response(head, false)?.send_data(Bytes::from_static(&[b'x'; SMALL]), true)?;
        }
        Ok(())
    })
}
