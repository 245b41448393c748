//! The scripted HTTP/2 peer, plain or over TLS: frame by frame, right unless a script says otherwise.
//!
//! Owns: the listener, and the task that reads while another writes. Without a script every request is answered `200`
//! and `hello`, within the client's windows, and SETTINGS and PING are acknowledged. Floods stop after 64 MiB or when
//! the client closes. What is said is the business of `talk`. No time, no randomness.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::certificate::Certificate;
use crate::counts::{Book, Link};
use crate::frames::{Frame, PREFACE};
use crate::handshake::shake;
use crate::origin::{Counted, accept};
use crate::switch::Faults;
use crate::talk::Talk;

/// How many frames may wait to be looked at.
const BACKLOG: usize = 4096;

/// The raw HTTP/2 origin, plain or over TLS.
pub(crate) struct Scripted2 {
    pub(crate) book: Arc<Book>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

impl Scripted2 {
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        accept(listener, &self.book, |stream| {
            let scripted = Arc::clone(&self);
            tokio::spawn(async move { scripted.converse(stream).await });
        })
        .await;
    }

    async fn converse(&self, stream: Counted) -> io::Result<()> {
        let Some(config) = &self.tls else {
            let link = stream.link("scripted2")?;
            return self.talk(stream, link).await;
        };
        let mut link = stream.link("scripted2-tls")?;
        link.certificate = Some(Certificate::Right);
        let stream = shake(stream, config, &mut link, &self.book).await?;
        self.talk(stream, link).await
    }

    async fn talk<T>(&self, stream: T, link: Link) -> io::Result<()>
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (mut from, to) = tokio::io::split(stream);
        let (seen, incoming) = mpsc::channel(BACKLOG);
        let mut talk = Talk::new(self, link, to);
        talk.greet().await?;
        from.read_exact(&mut [0; PREFACE.len()]).await?;
        // A task of its own: while a flood is written, what the client says must still be read.
        let reader = tokio::spawn(async move {
            while let Ok(frame) = Frame::read(&mut from).await {
                if seen.send(frame).await.is_err() {
                    break;
                }
            }
        });
        let ended = talk.run(incoming).await;
        reader.abort();
        ended
    }
}
