//! The limit: a bare blocking socket that sends the same request and reads the answer by its `Content-Length`; over
//! TLS, rustls on that socket.
//!
//! It understands what this one server answers and nothing else.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use memchr::memmem;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::asked::{Ask, At, PAYLOAD, PAYLOAD_TYPE, Result};
use crate::clients::trust;
use crate::turns::Call;

/// A head, and a body of 64 KiB.
const WHOLE: usize = 68 * 1024;
/// What one read takes of a body that is not held.
const PIECE: usize = 64 * 1024;

pub(crate) fn socket(at: &At, ask: Ask) -> Result<Call> {
    let socket = TcpStream::connect(at.address)?;
    socket.set_nodelay(true)?;
    if at.tls {
        let session = ClientConnection::new(trust(at)?.into(), ServerName::try_from(at.name.clone())?)?;
        return Ok(call(StreamOwned::new(session, socket), at, ask));
    }
    Ok(call(socket, at, ask))
}

fn call(mut stream: impl Read + Write + 'static, at: &At, ask: Ask) -> Call {
    let (request, mut buffer) = (bare_request(at, ask), vec![0; WHOLE]);
    match ask {
        Ask::Stream => Box::new(move || ask.check_length(drain(&mut stream, &request, &mut buffer[..PIECE])?)),
        _ => Box::new(move || ask.check(exchange(&mut stream, &request, &mut buffer)?)),
    }
}

/// The same headers as the others send, so that nginx has the same work.
fn bare_request(at: &At, ask: Ask) -> Vec<u8> {
    let (host, path) = (at.authority(), &at.path);
    let rest = format!("{path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: raw/1.0\r\naccept: */*\r\n");
    match ask {
        Ask::Post => {
            let length = PAYLOAD.len();
            let head = format!("POST {rest}content-type: {PAYLOAD_TYPE}\r\ncontent-length: {length}\r\n\r\n");
            [head.as_bytes(), &PAYLOAD].concat()
        }
        _ => format!("GET {rest}\r\n").into_bytes(),
    }
}

/// One write, and reads until the head is there: its length with the empty line, what has come, and the announced length.
fn head(stream: &mut (impl Read + Write), request: &[u8], buffer: &mut [u8]) -> io::Result<(usize, usize, usize)> {
    stream.write_all(request)?;
    let mut filled = 0;
    loop {
        filled += some(stream, &mut buffer[filled..])?;
        if let Some(head) = memmem::find(&buffer[..filled], b"\r\n\r\n") {
            let length = content_length(&buffer[..head]).ok_or(io::ErrorKind::InvalidData)?;
            return Ok((head + 4, filled, length));
        }
    }
}

/// The least that is an exchange: reads until the announced body is there.
fn exchange<'a>(stream: &mut (impl Read + Write), request: &[u8], buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let (begin, mut filled, length) = head(stream, request, buffer)?;
    while filled < begin + length {
        filled += some(stream, &mut buffer[filled..])?;
    }
    Ok(&buffer[begin..begin + length])
}

/// The same, with the body only counted.
fn drain(stream: &mut (impl Read + Write), request: &[u8], buffer: &mut [u8]) -> io::Result<usize> {
    let (begin, filled, length) = head(stream, request, buffer)?;
    let mut taken = filled - begin;
    while taken < length {
        taken += some(stream, buffer)?;
    }
    Ok(taken)
}

fn some(stream: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    match stream.read(into)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        got => Ok(got),
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"\r\nContent-Length: ";
    let at = memmem::find(head, NAME)? + NAME.len();
    let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0')))
}
