//! The HTTPS origins' handshakes: what is negotiated, and what goes wrong before and right after.
//!
//! Owns: the TLS faults, and the link of a connection that has shaken hands. Which certificates and keys there are is
//! the business of `certificate`. Randomness: only what rustls needs.

use std::io;
use std::sync::Arc;

use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::{Certificate, Served, common_name};
use crate::counts::{Book, Link, add};
use crate::fault::{Fault, Layer};
use crate::frames;
use crate::origin::{Counted, Origin, Speaks};
use crate::scripted::PLAIN;

/// A fatal alert `internal_error` as nobody encrypted it: in the middle of a session it is a record that fails its MAC
/// check in TLS 1.2 and an illegal record in TLS 1.3.
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 80];

/// The start of a plausible answer that breaks off: no length, so that only `close_notify` could end it.
const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nthe first half of";

/// What happens instead of, or after, a handshake.
enum Break {
    Stall,
    Close,
    Plain,
}

impl Origin {
    pub(crate) async fn tls(&self, stream: Counted, kind: Certificate, served: &Served) -> io::Result<()> {
        let breaks = |fault: &Fault| match fault {
            Fault::HandshakeStall => Some(Break::Stall),
            Fault::HandshakeClose => Some(Break::Close),
            Fault::NotTls => Some(Break::Plain),
            _ => None,
        };
        if let Some(how) = self.faults.hit(Layer::Tls, None, breaks) {
            add(&self.book.failed_handshakes, 1);
            return interrupt(stream, how).await;
        }
        let version = |fault: &Fault| match fault {
            Fault::Tls12Only => Some(&served.tls12),
            Fault::Tls13Only => Some(&served.tls13),
            _ => None,
        };
        let mut config = Arc::clone(self.faults.hit(Layer::Tls, None, version).unwrap_or(&served.both));
        let is = |wanted: Fault| move |fault: &Fault| (*fault == wanted).then_some(());
        if self.faults.hit(Layer::Tls, None, is(Fault::RotateTickets)).is_some() {
            served.tickets.rotate();
        }
        if self.faults.hit(Layer::Tls, None, is(Fault::AlpnNone)).is_some() {
            Arc::make_mut(&mut config).alpn_protocols.clear();
        }
        let mut link = stream.link("https")?;
        link.certificate = Some(kind);
        let mut stream = shake(stream, &config, &mut link, &self.book).await?;
        let speaks = if stream.get_ref().1.alpn_protocol() == Some(b"h2") { Speaks::Http2 } else { Speaks::Http1 };
        if speaks == Speaks::Http2 && self.faults.hit(Layer::Tls, None, is(Fault::AlpnLies)).is_some() {
            stream.write_all(PLAIN.as_bytes()).await?;
            stream.shutdown().await?;
            while stream.read(&mut [0; 4096]).await? > 0 {}
            return Ok(());
        }
        let spoils = |fault: &Fault| match fault {
            Fault::AlertMidStream => Some(ALERT.to_vec()),
            Fault::GarbageRecord => Some([&[23, 3, 3, 0, 32][..], &[0x5A; 32]].concat()),
            Fault::TruncatedClose => Some(Vec::new()),
            _ => None,
        };
        if let Some(record) = self.faults.hit(Layer::Tls, None, spoils) {
            if speaks == Speaks::Http2 {
                stream.write_all(&frames::hello()).await?;
                frames::await_request(&mut stream).await?;
                add(&self.book.requests, 1);
                stream.write_all(&frames::half_an_answer()).await?;
            } else {
                let mut request = [0; 8192];
                _ = stream.read(&mut request).await?;
                add(&self.book.requests, 1);
                stream.write_all(HALF).await?;
            }
            stream.flush().await?;
            let socket = stream.get_mut().0;
            socket.write_all(&record).await?;
            // FIN on the socket, past the session, which therefore says no close_notify.
            return socket.shutdown().await;
        }
        self.http(stream, link, speaks).await;
        Ok(())
    }
}

/// Shakes hands, counts it, and notes on the link what was negotiated.
pub(crate) async fn shake(
    stream: Counted,
    config: &Arc<ServerConfig>,
    link: &mut Link,
    book: &Book,
) -> io::Result<TlsStream<Counted>> {
    let stream = TlsAcceptor::from(Arc::clone(config)).accept(stream).await;
    let stream = stream.inspect_err(|_| add(&book.failed_handshakes, 1))?;
    let session = stream.get_ref().1;
    link.sni = session.server_name().map(str::to_owned);
    link.client = session.peer_certificates().and_then(|chain| common_name(chain.first()?));
    link.resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    add(&book.handshakes, 1);
    add(&book.resumed, u64::from(link.resumed));
    Ok(stream)
}

/// Plays a handshake that comes to nothing, then waits for the client to leave.
async fn interrupt(mut stream: Counted, how: Break) -> io::Result<()> {
    let mut hello = [0; 4096];
    _ = stream.read(&mut hello).await?;
    match how {
        Break::Stall => {}
        Break::Close => return Ok(()),
        Break::Plain => {
            let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).await?;
            stream.shutdown().await?;
        }
    }
    while stream.read(&mut hello).await? > 0 {}
    Ok(())
}
