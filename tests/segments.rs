//! Promise: how bytes are cut into segments, and what comes between request and answer, changes no outcome.
//!
//! Raw peers on loopback that say one thing at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use pinlink::{Builder, Client, Request};

/// Serves every connection with `converse` until it ends.
fn peer(converse: fn(TcpStream) -> std::io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    // Ends with the process: nothing else would end its `accept`.
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || stream.and_then(converse));
        }
    });
    at
}

fn client(at: SocketAddr) -> Builder {
    Client::builder().hosts([format!("http://{at}")]).allow_addresses(["127.0.0.0/8"]).option("summary", "off")
}

/// Reads a request's head; the length of its body.
fn read_head(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<usize>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            return Ok(Some(length));
        }
    }
}

#[test]
fn bytes_behind_an_answer_are_never_the_next_row_s_answer() {
    let at = peer(|stream| {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        while read_head(&mut reader)?.is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")?;
            stream.write_all(b"helloHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")?;
        }
        Ok(())
    });
    let client = client(at).build().unwrap();
    let rows: Vec<Request> = (0..200).map(|row| Request::get(&format!("http://{at}/{row}"))).collect();
    for outcome in client.map(&rows) {
        assert_eq!(outcome.unwrap().text().unwrap(), "hello");
    }
    assert_eq!(client.stats().connections_idle, 0, "each connection had something left to say");
}

#[test]
fn an_interim_answer_during_the_upload_does_not_end_it() {
    const BODY: usize = 16 << 20;
    let at = peer(|stream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        let Some(length) = read_head(&mut reader)? else { return Ok(()) };
        // The client can't have sent it all: the sockets on the way hold less.
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 2")?;
        let got = std::io::copy(&mut reader.take(length as u64), &mut std::io::sink())?;
        let body = got.to_string();
        write!(stream, "00 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    let client = client(at).build().unwrap();
    let answer = client.send(&Request::post(&format!("http://{at}/")).body(vec![7; BODY])).unwrap();
    assert_eq!((answer.status(), answer.text().unwrap()), (200, BODY.to_string().as_str()));
    assert_eq!(client.stats().connections_idle, 1, "the exchange was a clean one");
}

#[test]
fn an_answer_that_comes_byte_by_byte_is_whole() {
    let at = peer(|stream| {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        while read_head(&mut reader)?.is_some() {
            for byte in b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n" {
                stream.write_all(&[*byte])?;
            }
        }
        Ok(())
    });
    let client = client(at).build().unwrap();
    for _ in 0..3 {
        let answer = client.send(&Request::get(&format!("http://{at}/"))).unwrap();
        assert_eq!((answer.header("x-a"), answer.text().unwrap()), (Some("b"), "abcde"));
    }
    assert_eq!(client.stats().dials, 1);
}
