//! One connection of the scripted HTTP/2 peer: streams, windows, and when which script begins.
//!
//! Owns: the connection's state, from the block that is being read to the flood that is being poured out. What wrong
//! answers look like is the business of `wrong`. A connection that a script has spoilt stays spoilt.
//! No time, no randomness.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use http::{Request, Version};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::Receiver;

use crate::counts::{Complaint, Link, Place};
use crate::fault::{Fault, Layer};
use crate::frames::{
    self, ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, GOAWAY, HEADERS,
    INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, NO_ERROR, PING, REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW,
    WINDOW_UPDATE,
};
use crate::hpack::{Decoder, Field};
use crate::peer::FLOOD;
use crate::scripted2::Scripted2;
use crate::wrong::{self, Flood, Script};

/// Streams that a connection may have open at once, unless a script says otherwise.
const STREAMS: u32 = 100;

/// The last stream of a GOAWAY that leaves none out yet.
const ANY: u32 = i32::MAX as u32;

/// One request's stream, until its answer has been sent.
struct Stream {
    script: Option<Fault>,
    /// What the client lets us send.
    window: i64,
    /// The part of the answer's body that is not sent yet, once there is an answer.
    body: Option<Vec<u8>>,
    /// GOAWAY follows its answer.
    farewell: bool,
}

/// A field block that is not complete yet.
struct Block {
    stream: u32,
    ends: bool,
    bytes: Vec<u8>,
}

/// One connection.
pub(crate) struct Talk<'a, W> {
    peer: &'a Scripted2,
    link: Arc<Link>,
    to: W,
    out: Vec<u8>,
    decoder: Decoder,
    block: Option<Block>,
    streams: BTreeMap<u32, Stream>,
    /// What the client lets us send on the connection, and on a new stream.
    window: i64,
    initial: i64,
    /// Whether request bodies are read, and get new windows.
    generous: bool,
    most: u32,
    requests: u32,
    highest: u32,
    /// A script that lasts as long as the connection.
    spoilt: Option<Fault>,
    flood: Option<Flood>,
    flooded: usize,
    /// The last stream that is served; those above get nothing.
    last: Option<u32>,
    /// GOAWAY has been said: the connection ends with its last stream.
    leaving: bool,
    /// The client has given the connection up.
    left: bool,
    deaf: bool,
}

impl<'a, W: AsyncWrite + Unpin> Talk<'a, W> {
    pub(crate) fn new(peer: &'a Scripted2, link: Link, to: W) -> Self {
        Talk {
            peer,
            link: Arc::new(link),
            to,
            out: Vec::new(),
            decoder: Decoder::new(),
            block: None,
            streams: BTreeMap::new(),
            window: WINDOW,
            initial: WINDOW,
            generous: true,
            most: STREAMS,
            requests: 0,
            highest: 0,
            spoilt: None,
            flood: None,
            flooded: 0,
            last: None,
            leaving: false,
            left: false,
            deaf: false,
        }
    }

    pub(crate) async fn greet(&mut self) -> io::Result<()> {
        let starts = |fault: &Fault| matches!(fault, Fault::WindowClosed | Fault::MaxStreams(_)).then(|| fault.clone());
        let mut settings = Vec::new();
        match self.peer.faults.hit(Layer::Http2, None, starts) {
            Some(Fault::MaxStreams(n)) => self.most = n,
            Some(_) => {
                self.generous = false;
                settings.push((INITIAL_WINDOW_SIZE, 0));
            }
            None => {}
        }
        settings.push((MAX_CONCURRENT_STREAMS, self.most));
        self.out.extend(frames::settings(&settings));
        self.flush().await
    }

    pub(crate) async fn run(&mut self, mut incoming: Receiver<Frame>) -> io::Result<()> {
        loop {
            if self.leaving && self.streams.is_empty() || self.left || self.flooded > FLOOD {
                return self.close(incoming).await;
            }
            tokio::select! {
                frame = incoming.recv() => match frame {
                    Some(frame) => self.hear(&frame)?,
                    None => return Ok(()),
                },
                () = std::future::ready(()), if self.floods() => self.pour(),
            }
            self.flush().await?;
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.to.write_all(&self.out).await?;
        self.out.clear();
        self.to.flush().await
    }

    /// FIN, then reads on until the client closes: unread bytes would turn the FIN into a RST, and requests that come
    /// too late are seen all the same.
    async fn close(&mut self, mut incoming: Receiver<Frame>) -> io::Result<()> {
        self.to.shutdown().await?;
        self.deaf |= self.last.is_none();
        while let Some(frame) = incoming.recv().await {
            self.hear(&frame)?;
            self.out.clear();
        }
        Ok(())
    }

    /// Remembers what a client says about its errors.
    fn note(&self, frame: &Frame) {
        let code = match frame.kind {
            RST_STREAM => frame.number(0),
            GOAWAY => frame.number(4),
            _ => None,
        };
        if let Some(code) = code {
            self.peer.book.complain(Complaint { stream: frame.stream, code });
        }
    }

    fn hear(&mut self, frame: &Frame) -> io::Result<()> {
        self.note(frame);
        let silent = |fault: &Fault| matches!(fault, Fault::SilentPeer).then_some(());
        let deaf = self.deaf || self.peer.faults.on(Layer::Http2) && self.peer.faults.look(None, silent).is_some();
        match frame.kind {
            HEADERS => {
                let block =
                    Block { stream: frame.stream, ends: frame.has(END_STREAM), bytes: frame.content().to_vec() };
                self.piece(block, frame.has(END_HEADERS))?;
            }
            CONTINUATION => {
                if let Some(mut block) = self.block.take() {
                    block.bytes.extend(&frame.payload);
                    self.piece(block, frame.has(END_HEADERS))?;
                }
            }
            DATA => self.data(frame),
            GOAWAY => self.left = !deaf && frame.number(4) != Some(NO_ERROR),
            RST_STREAM => self.dropped(frame.stream),
            SETTINGS if !frame.has(ACK) => {
                self.adjust(frame);
                if !deaf {
                    self.out.extend(frames::frame(SETTINGS, ACK, 0, &[]));
                }
            }
            PING if !frame.has(ACK) && !deaf => self.out.extend(frames::frame(PING, ACK, 0, &frame.payload)),
            WINDOW_UPDATE => {
                let increment = i64::from(frame.number(0).unwrap_or(0));
                if frame.stream == 0 {
                    self.window += increment;
                } else if let Some(stream) = self.streams.get_mut(&frame.stream) {
                    stream.window += increment;
                }
                self.send();
            }
            _ => {}
        }
        Ok(())
    }

    fn piece(&mut self, block: Block, whole: bool) -> io::Result<()> {
        if !whole {
            self.block = Some(block);
            return Ok(());
        }
        // What cannot be decoded leaves the table wrong for all that follows.
        let fields = self.decoder.decode(&block.bytes).ok_or(io::ErrorKind::InvalidData)?;
        if block.stream > self.highest {
            self.request(block.stream, &fields);
        }
        if block.ends && self.streams.contains_key(&block.stream) {
            self.answer(block.stream);
        }
        Ok(())
    }

    /// A new request: what is decided before its body comes.
    fn request(&mut self, id: u32, fields: &[Field]) {
        let late = self.last.is_some_and(|last| id > last);
        let refused = self.streams.len() >= self.most as usize;
        let script = if late || refused || self.deaf { None } else { self.script() };
        let unprocessed = matches!(script, Some(Fault::GoAwayUnprocessed | Fault::GoAwayAfter(0)));
        let refused = refused || script == Some(Fault::RefusedStream);
        let place = Place { stream: id, turned_away: !self.deaf && (late || refused || unprocessed) };
        self.peer.book.request(&Arc::new(parts(fields, place)), &self.link);
        let before = std::mem::replace(&mut self.highest, id);
        self.requests += 1;
        if late || self.deaf {
            return;
        }
        if refused {
            return self.out.extend(frames::reset(id, REFUSED_STREAM));
        }
        let mut stream = Stream { script, window: self.initial, body: None, farewell: false };
        match stream.script {
            Some(Fault::GoAwayUnprocessed | Fault::GoAwayAfter(0)) => return self.leave(before, NO_ERROR),
            Some(Fault::GoAwayError) => {
                self.streams.clear();
                return self.leave(id, ENHANCE_YOUR_CALM);
            }
            Some(Fault::GoAwayAfter(n)) if self.requests >= n => {
                self.last = Some(id);
                stream.farewell = true;
            }
            Some(Fault::GoAwayGraceful(n)) if self.requests >= n && self.last.is_none() => {
                self.out.extend(frames::go_away(ANY, NO_ERROR));
                self.last = Some(ANY);
                stream.farewell = true;
            }
            Some(Fault::SilentPeer) => {
                self.deaf = true;
                return;
            }
            _ => {}
        }
        self.streams.insert(id, stream);
    }

    /// The script for a new request.
    fn script(&mut self) -> Option<Fault> {
        if self.spoilt.is_some() {
            return self.spoilt.clone();
        }
        let pick = |fault: &Fault| {
            let starts = matches!(fault, Fault::WindowClosed | Fault::MaxStreams(_));
            (fault.row().layer == Layer::Http2 && !starts).then(|| fault.clone())
        };
        let script = self.peer.faults.hit(Layer::Http2, None, pick);
        if let Some(Fault::GoAwayAfter(_) | Fault::GoAwayGraceful(_)) = script {
            self.spoilt.clone_from(&script);
        }
        script
    }

    fn data(&mut self, frame: &Frame) {
        // A client that did not wait for our settings may have sent some: that counts for nothing either.
        if !self.generous {
            return;
        }
        let length = frame.payload.len() as u32;
        if length > 0 {
            self.out.extend(frames::window_update(0, length));
            if self.streams.contains_key(&frame.stream) && !frame.has(END_STREAM) {
                self.out.extend(frames::window_update(frame.stream, length));
            }
        }
        if frame.has(END_STREAM) && self.streams.contains_key(&frame.stream) {
            self.answer(frame.stream);
        }
    }

    /// The request has been read.
    fn answer(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Script { bytes, body, flood } = wrong::script(stream.script.as_ref(), id);
        self.out.extend(bytes);
        stream.body = body;
        // Nothing else may come between the frames of one head.
        self.deaf |= stream.script == Some(Fault::ContinuationFlood);
        if let Some(flood) = flood {
            self.flood = Some(flood);
        }
        self.send();
        // What neither has a body nor floods has been said.
        let done = self.streams.get(&id).is_some_and(|stream| stream.body.is_none());
        if done && self.flood.as_ref().is_none_or(|flood| flood.stream() != id) {
            self.done(id);
        }
    }

    /// Sends what the windows allow of all bodies.
    fn send(&mut self) {
        let mut done = Vec::new();
        for (id, stream) in &mut self.streams {
            let Some(body) = &mut stream.body else { continue };
            let room = self.window.min(stream.window).clamp(0, body.len() as i64) as usize;
            if room == 0 && !body.is_empty() {
                continue;
            }
            let piece: Vec<u8> = body.drain(..room).collect();
            self.window -= room as i64;
            stream.window -= room as i64;
            let ends = body.is_empty();
            self.out.extend(frames::frame(DATA, if ends { END_STREAM } else { 0 }, *id, &piece));
            if ends {
                done.push(*id);
            }
        }
        for id in done {
            self.done(id);
        }
    }

    /// A stream has ended: what follows its answer.
    fn done(&mut self, id: u32) {
        let Some(stream) = self.streams.remove(&id) else { return };
        if let Some(Fault::MaxStreamsLowered(n)) = stream.script
            && self.most != n
        {
            self.most = n;
            self.out.extend(frames::settings(&[(MAX_CONCURRENT_STREAMS, n)]));
        }
        if stream.farewell {
            self.leave(self.last.unwrap_or(ANY).min(self.highest), NO_ERROR);
        }
    }

    fn dropped(&mut self, id: u32) {
        if self.flood.as_ref().is_some_and(|flood| flood.stream() == id) {
            self.flood = None;
        }
        self.done(id);
    }

    fn leave(&mut self, last: u32, code: u32) {
        self.out.extend(frames::go_away(last, code));
        self.last = Some(last);
        self.leaving = true;
    }

    fn adjust(&mut self, frame: &Frame) {
        let initial = frame.settings().filter(|(name, _)| *name == INITIAL_WINDOW_SIZE).last();
        if let Some((_, initial)) = initial {
            let more = i64::from(initial) - self.initial;
            self.initial += more;
            self.streams.values_mut().for_each(|stream| stream.window += more);
            self.send();
        }
    }

    /// Whether there is more of a flood to pour out now.
    fn floods(&self) -> bool {
        match &self.flood {
            Some(Flood::Tiny(id)) => self.window > 0 && self.streams.get(id).is_some_and(|stream| stream.window > 0),
            Some(Flood::Block(_) | Flood::Stream(..)) => true,
            None => false,
        }
    }

    fn pour(&mut self) {
        let before = self.out.len();
        match &self.flood {
            Some(Flood::Block(block) | Flood::Stream(_, block)) => self.out.extend(block),
            Some(Flood::Tiny(id)) => {
                if let Some(stream) = self.streams.get_mut(id) {
                    let room = self.window.min(stream.window).clamp(0, wrong::TINY);
                    self.window -= room;
                    stream.window -= room;
                    self.out.extend(frames::frame(DATA, 0, *id, b"x").repeat(room as usize));
                }
            }
            None => {}
        }
        self.flooded += self.out.len() - before;
    }
}

fn parts(fields: &[Field], place: Place) -> http::request::Parts {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pseudo = |name: &str| {
        let found = fields.iter().find(|field| field.0 == name.as_bytes());
        found.map(|field| text(&field.1)).unwrap_or_default()
    };
    let uri = format!("{}://{}{}", pseudo(":scheme"), pseudo(":authority"), pseudo(":path"));
    let mut request = Request::builder().method(pseudo(":method").as_str()).uri(uri).version(Version::HTTP_2);
    for (name, value) in fields {
        let known = (http::HeaderName::try_from(name.as_slice()), http::HeaderValue::from_bytes(value));
        if let (Ok(name), Ok(value)) = known {
            request = request.header(name, value);
        }
    }
    let mut parts = request.body(()).unwrap_or_default().into_parts().0;
    parts.extensions.insert(place);
    parts
}
