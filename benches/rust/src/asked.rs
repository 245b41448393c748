//! What is asked of every peer: where the server is, the kinds of exchange, and what a right answer is.
//!
//! Every peer checks every answer by these. It sends nothing.

use std::net::SocketAddr;
use std::path::PathBuf;

/// What can fail here is only told of.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The body of a `POST`.
pub(crate) static PAYLOAD: [u8; 1024] = [b'p'; 1024];
/// The type of that body.
pub(crate) const PAYLOAD_TYPE: &str = "application/octet-stream";

/// What one call is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A `GET` of 100 B.
    Get,
    /// A `POST` of [`PAYLOAD`], answered by 100 B.
    Post,
    /// A `GET` of 64 KiB, read as a whole.
    Body,
    /// A `GET` of 10 MiB, read piece by piece and never held.
    Stream,
}

impl Ask {
    /// What the calls of a workload are.
    pub(crate) fn of(workload: &str) -> Ask {
        match workload {
            "post" => Ask::Post,
            "body" => Ask::Body,
            "stream" => Ask::Stream,
            _ => Ask::Get,
        }
    }

    /// The size of the answer's body.
    pub(crate) fn length(self) -> usize {
        match self {
            Ask::Get | Ask::Post => 100,
            Ask::Body => 64 * 1024,
            Ask::Stream => 10 * 1024 * 1024,
        }
    }

    /// Whether this is the answer's body.
    pub(crate) fn check(self, body: &[u8]) -> Result<()> {
        self.check_length(body.len())?;
        match self {
            Ask::Get | Ask::Post if body != [b'x'; 100] => Err("the body is another one".into()),
            _ => Ok(()),
        }
    }

    /// Whether the answer's body has this length.
    pub(crate) fn check_length(self, length: usize) -> Result<()> {
        if length == self.length() { Ok(()) } else { Err(format!("the body has {length} bytes").into()) }
    }
}

/// Where the server is, and how it is reached.
pub(crate) struct At {
    pub(crate) url: String,
    pub(crate) tls: bool,
    /// Its name in the URL, which its certificate is for.
    pub(crate) name: String,
    /// It listens on the loopback interface.
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    /// The CA that signed its certificate, in a file.
    pub(crate) ca: PathBuf,
}

impl At {
    pub(crate) fn new(url: &str, ca: &str) -> Result<At> {
        let uri: http::Uri = url.parse()?;
        let (name, port) = (uri.host().ok_or("the URL has no host")?, uri.port_u16().ok_or("the URL has no port")?);
        Ok(At {
            url: url.to_owned(),
            tls: uri.scheme_str() == Some("https"),
            name: name.to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            path: uri.path().to_owned(),
            ca: ca.into(),
        })
    }

    /// Name and port.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.name, self.address.port())
    }

    /// Scheme, name and port.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}
