//! A way to a server that breaks where it is told to.
//!
//! It owns the sockets between a driver and a server. It reads no protocol but the word `COMMIT`, which a client
//! sends as text. Whatever is cut, both sides see their connection end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

/// Where the connection breaks: once, at the next chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cut {
    /// Nowhere.
    Nowhere,
    /// The next bytes of the client's don't arrive.
    Request,
    /// They arrive, and what the server answers does not.
    Answer,
    /// The client's next `COMMIT` does not arrive.
    Commit,
    /// It does, and its answer does not.
    CommitAnswer,
}

/// A listening relay. It ends with the process.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    cut: Arc<AtomicU8>,
}

impl Relay {
    /// To a port of 127.0.0.1.
    ///
    /// # Panics
    /// Where there is no socket to be had.
    pub fn to(server: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let cut = Arc::new(AtomicU8::new(Cut::Nowhere as u8));
        let armed = Arc::clone(&cut);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                for (from, to, is_client) in [(&client, &server, true), (&server, &client, false)] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                    let _ = (from.set_nodelay(true), to.set_nodelay(true));
                    let armed = Arc::clone(&armed);
                    thread::spawn(move || carry(from, to, is_client, &armed));
                }
            }
        });
        Relay { port, cut }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Breaks the connection at the next such point.
    pub fn arm(&self, cut: Cut) {
        self.cut.store(cut as u8, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, is_client: bool, armed: &AtomicU8) {
    let mut buffer = [0; 64 * 1024];
    let take =
        |cut: Cut, next: Cut| armed.compare_exchange(cut as u8, next as u8, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..count];
        let is_commit = is_client && bytes.windows(6).any(|word| word == b"COMMIT");
        let breaks = if is_client {
            if is_commit {
                // Armed before the bytes leave: the answer can't overtake it.
                take(Cut::CommitAnswer, Cut::Answer);
            }
            take(Cut::Request, Cut::Nowhere) || (is_commit && take(Cut::Commit, Cut::Nowhere))
        } else {
            take(Cut::Answer, Cut::Nowhere)
        };
        if breaks || to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
