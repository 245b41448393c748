//! HTTP/1.1 as bytes (RFC 9112): what a head means, how its body is framed, what chunks hold.
//!
//! Pure: bytes go in, meanings come out; `connection` does the reading. It is strict where leniency has
//! been used to smuggle one answer into another: bare line feeds in chunks, folded fields, doubled or
//! decorated lengths, a length beside a transfer coding. Heads are tokenised by httparse.

use std::mem::MaybeUninit;
use std::time::Duration;

use http::{StatusCode, header};

use crate::config::KEEP_ALIVE_MARGIN;
use crate::error::Reason;
use crate::response::{Headers, Packing};

/// What is wrong with the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) Reason, pub(crate) &'static str);

/// Where a body ends (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Nothing,
    /// After this many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// The head of a final answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) fields: Packing,
    pub(crate) framing: Framing,
    /// Whether the far side keeps the connection (RFC 9112 9.3).
    pub(crate) keeps: bool,
    /// How long it may be idle, as announced, less a margin for the way.
    pub(crate) max_idle: Option<Duration>,
}

/// What the bytes so far are.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// The beginning of a head.
    Partial,
    /// An interim (1xx) answer of this many bytes.
    Interim { length: usize, is_continue: bool },
    /// A head of this many bytes.
    Final(Box<Head>, usize),
}

/// Room for a body behind the fields: the answers of most services to a row's call fit.
const SMALL_BODY: usize = 256;
/// Fields that httparse notes without memory of its own; more are noted on the heap.
const USUAL_FIELDS: usize = 100;

/// Reads a head. `to_head` says that the request was a `HEAD`, whose answer has no body whatever it announces.
pub(crate) fn parse_head(bytes: &[u8], max_bytes: usize, max_fields: usize, to_head: bool) -> Result<Parsed, Fault> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    let mut many = Vec::new();
    let slots = if max_fields <= USUAL_FIELDS {
        &mut usual[..max_fields]
    } else {
        many.resize_with(max_fields, MaybeUninit::uninit);
        &mut many[..]
    };
    let over = Fault(Reason::LimitHeaders, "the answer's header section is over its limit");
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, slots);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() <= max_bytes => return Ok(Parsed::Partial),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Err(over),
        Err(_) => return Err(Fault(Reason::ProtocolHead, "the answer's head is malformed")),
    };
    if length > max_bytes {
        return Err(over);
    }
    let code = response.code.unwrap_or_default();
    let status = StatusCode::from_u16(code).map_err(|_| Fault(Reason::ProtocolHead, "the status is no status"))?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Fault(Reason::ProtocolUnexpected, "the answer switches protocols, which nobody asked for"));
    }
    if status.is_informational() {
        return Ok(Parsed::Interim { length, is_continue: status == StatusCode::CONTINUE });
    }
    let is_http_10 = response.version == Some(0);
    let head = Box::new(understand(status, response.headers, &bytes[..length], is_http_10, to_head)?);
    Ok(Parsed::Final(head, length))
}

/// Packs the fields and finds out what those say that concern the connection.
fn understand(
    status: StatusCode,
    headers: &[httparse::Header<'_>],
    bytes: &[u8],
    is_http_10: bool,
    to_head: bool,
) -> Result<Head, Fault> {
    let mut fields = Packing::of_head(bytes, headers.len(), SMALL_BODY);
    // Names and values are parts of these bytes; an empty one is anywhere.
    let place = |part: &[u8]| {
        let start = if part.is_empty() { 0 } else { part.as_ptr().addr() - bytes.as_ptr().addr() };
        start..start + part.len()
    };
    let mut length = None;
    let mut chunked = false;
    let mut keeps = !is_http_10;
    let mut max_idle = None;
    for header in headers {
        fields.note(place(header.name.as_bytes()), place(header.value));
        // By their length first: few fields have one of these.
        match header.name.len() {
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                let value = parse_length(header.value)?;
                if length.replace(value).is_some_and(|earlier| earlier != value) {
                    return Err(Fault(Reason::ProtocolHead, "the answer has two lengths"));
                }
            }
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                if chunked || is_http_10 || !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault(Reason::ProtocolFraming, "the answer's transfer coding is not just chunked"));
                }
                chunked = true;
            }
            10 if header.name.eq_ignore_ascii_case("connection") => {
                for option in header.value.split(|&b| b == b',') {
                    match option.trim_ascii() {
                        close if close.eq_ignore_ascii_case(b"close") => keeps = false,
                        keep if is_http_10 && keep.eq_ignore_ascii_case(b"keep-alive") => keeps = true,
                        _ => {}
                    }
                }
            }
            10 if header.name.eq_ignore_ascii_case("keep-alive") => max_idle = announced_idle(header.value),
            _ => {}
        }
    }
    if chunked && length.is_some() {
        // What one side takes for the end the other takes for the next answer.
        return Err(Fault(Reason::ProtocolFraming, "the answer has Content-Length and Transfer-Encoding"));
    }
    let has_no_body = to_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match length {
        _ if has_no_body => Framing::Nothing,
        _ if chunked => Framing::Chunked,
        Some(0) => Framing::Nothing,
        Some(length) => Framing::Length(length),
        None => Framing::Close,
    };
    Ok(Head { status, fields, framing, keeps, max_idle })
}

fn parse_length(value: &[u8]) -> Result<u64, Fault> {
    let text = std::str::from_utf8(value.trim_ascii()).unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let length = if digits { text.parse().ok() } else { None };
    length.ok_or(Fault(Reason::ProtocolHead, "the answer's length is no number"))
}

/// `Keep-Alive: timeout=5` and the like.
fn announced_idle(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?;
    let seconds = text.split(',').find_map(|part| {
        let (name, seconds) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| seconds.trim().parse::<u32>().ok())?
    })?;
    let announced = Duration::from_secs(seconds.into());
    Some(announced - (announced / 2).min(KEEP_ALIVE_MARGIN))
}

/// The longest line with a chunk's size, and the most that all extensions and trailers of a body may take.
const MAX_CHUNK_LINE: usize = 16 * 1024;

/// Takes chunked coding apart (RFC 9112 7.1).
#[derive(Debug)]
pub(crate) struct Chunks {
    next: Next,
    /// Bytes of extensions and trailers so far.
    extras: usize,
    trailers: Packing,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Size,
    Data(u64),
    /// The line end after a chunk's data.
    LineEnd,
    Trailer,
    Nothing,
}

/// What became of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// So many bytes are used up; more are needed.
    More(usize),
    /// So many bytes are used up, and with them the body has ended.
    End(usize),
}

impl Chunks {
    pub(crate) fn new() -> Chunks {
        Chunks { next: Next::Size, extras: 0, trailers: Packing::default() }
    }

    /// How much of a chunk's data must still come.
    pub(crate) fn data_left(&self) -> u64 {
        if let Next::Data(left) = self.next { left } else { 0 }
    }

    /// So much of it has been taken without being looked at.
    pub(crate) fn took(&mut self, bytes: u64) {
        self.next = Next::Data(self.data_left() - bytes);
    }

    /// The trailer section (RFC 9112 7.1.2), once the body has ended.
    pub(crate) fn into_trailers(self) -> Headers {
        self.trailers.finish(Vec::new()).0
    }

    /// Decodes what it can to the end of `body`, at most `room` bytes.
    pub(crate) fn decode(&mut self, bytes: &[u8], body: &mut Vec<u8>, room: usize) -> Result<Decoded, Fault> {
        const MALFORMED: Fault = Fault(Reason::ProtocolChunk, "the body's chunked coding is malformed");
        let mut used = 0;
        let full = body.len() + room;
        loop {
            let rest = &bytes[used..];
            if self.extras > MAX_CHUNK_LINE {
                return Err(MALFORMED);
            }
            match self.next {
                Next::Size => {
                    let Some(line) = line(rest)? else { return Ok(Decoded::More(used)) };
                    used += line.len() + 2;
                    let (size, extension) = chunk_size(line).ok_or(MALFORMED)?;
                    self.extras += extension;
                    self.next = if size == 0 { Next::Trailer } else { Next::Data(size) };
                }
                Next::Data(0) => self.next = Next::LineEnd,
                Next::Data(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len()).min(full - body.len());
                    if take == 0 {
                        return Ok(Decoded::More(used));
                    }
                    body.extend_from_slice(&rest[..take]);
                    used += take;
                    self.next = Next::Data(left - take as u64);
                }
                Next::LineEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        used += 2;
                        self.next = Next::Size;
                    }
                    [] | [b'\r'] => return Ok(Decoded::More(used)),
                    _ => return Err(MALFORMED),
                },
                Next::Trailer => {
                    let Some(line) = line(rest)? else { return Ok(Decoded::More(used)) };
                    used += line.len() + 2;
                    self.extras += line.len() + 2;
                    if line.is_empty() {
                        self.next = Next::Nothing;
                    } else {
                        let (name, value) = trailer(line).ok_or(MALFORMED)?;
                        self.trailers.push(name, value);
                    }
                }
                Next::Nothing => return Ok(Decoded::End(used)),
            }
        }
    }
}

/// A field of the trailer section; nothing where it is none, or would say again how the body was framed.
fn trailer(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|&b| b == b':')?;
    let name = http::HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = line[colon + 1..].trim_ascii();
    let is_framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(&name);
    let is_text = value.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f));
    (!is_framing && is_text).then(|| (std::str::from_utf8(&line[..colon]).unwrap_or_default(), value))
}

/// The bytes before the first CRLF; nothing where it has not come yet. A line feed alone ends no line.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Fault> {
    const MALFORMED: Fault = Fault(Reason::ProtocolChunk, "a line of the body's chunked coding is malformed");
    match bytes.iter().position(|&b| b == b'\n') {
        Some(end) if end > 0 && bytes[end - 1] == b'\r' && end <= MAX_CHUNK_LINE => {
            let line = &bytes[..end - 1];
            if line.contains(&b'\r') { Err(MALFORMED) } else { Ok(Some(line)) }
        }
        Some(_) => Err(MALFORMED),
        None if bytes.len() > MAX_CHUNK_LINE => Err(MALFORMED),
        None => Ok(None),
    }
}

/// The size, and the length of the extension. Hexadecimal digits, then nothing or an extension; no sign, no blanks but
/// before an extension, no more than 64 bits.
fn chunk_size(line: &[u8]) -> Option<(u64, usize)> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let extension = rest.trim_ascii_start();
    if digits.is_empty() || !(rest.is_empty() || extension.starts_with(b";")) {
        return None;
    }
    let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some((size, rest.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(text: &str) -> Result<Head, Fault> {
        match parse_head(text.as_bytes(), 4096, 100, false)? {
            Parsed::Final(head, length) => {
                assert_eq!(length, text.len());
                Ok(*head)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_body_is_framed_as_rfc_9112_says() {
        let framing = |fields: &str| head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).map(|head| head.framing);
        assert_eq!(framing("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framing("Content-Length: 5\r\ncontent-length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        assert_eq!(framing(""), Ok(Framing::Close));
        for bad in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length:\r\n",
        ] {
            assert!(framing(bad).is_err(), "{bad:?}");
        }
        let nothing = head("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").unwrap();
        assert_eq!(nothing.framing, Framing::Nothing);
    }

    #[test]
    fn who_keeps_the_connection_says_so() {
        let keeps = |text: &str| head(text).unwrap().keeps;
        assert!(keeps("HTTP/1.1 200 OK\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: foo, Close\r\n\r\n"));
        assert!(!keeps("HTTP/1.0 200 OK\r\n\r\n"));
        assert!(keeps("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n"));
        let idle = |value: &str| head(&format!("HTTP/1.1 200 OK\r\nKeep-Alive: {value}\r\n\r\n")).unwrap().max_idle;
        assert_eq!(idle("timeout=5, max=100"), Some(Duration::from_secs(4)));
        assert_eq!(idle("timeout=1"), Some(Duration::from_millis(500)));
        assert_eq!(idle("max=100"), None);
    }

    #[test]
    fn heads_over_a_limit_are_over_the_limit_and_interim_ones_are_no_answer() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
        assert_eq!(parse_head(many.as_bytes(), 4096, 100, false).unwrap_err().0, Reason::LimitHeaders);
        assert!(parse_head(many.as_bytes(), 4096, 101, false).is_ok());
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(5000));
        assert_eq!(parse_head(long.as_bytes(), 4096, 100, false).unwrap_err().0, Reason::LimitHeaders);
        let interim = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        assert!(matches!(
            parse_head(interim, 4096, 100, false),
            Ok(Parsed::Interim { length: 28, is_continue: false })
        ));
    }

    #[test]
    fn chunks_are_hexadecimal_lengths_with_line_ends_and_nothing_else() {
        let decode = |text: &str| {
            let mut body = Vec::new();
            Chunks::new().decode(text.as_bytes(), &mut body, 100).map(|decoded| (decoded, body))
        };
        let whole = "5;x=y\r\nhello\r\n A".replace(" A", "0\r\nt: u\r\n\r\nnext");
        assert_eq!(decode(&whole), Ok((Decoded::End(whole.len() - 4), b"hello".to_vec())));
        for bad in [
            "-5\r\n",
            "+5\r\n",
            "0x5\r\n",
            "5 \r\n",
            " 5\r\n",
            "\r\n",
            "5\nhello",
            "g\r\n",
            "5\r\nhelloX\r\n",
            "10000000000000000\r\n",
        ] {
            assert_eq!(decode(bad).unwrap_err().0, Reason::ProtocolChunk, "{bad:?}");
        }
        let extended = format!("1;{}\r\na\r\n", "x".repeat(10_000)).repeat(2);
        assert_eq!(decode(&extended).unwrap_err().0, Reason::ProtocolChunk);
        assert_eq!(decode("65\r\nhello").unwrap().0, Decoded::More(9));
        // No more than there is room for is taken.
        assert_eq!(decode(&format!("65\r\n{}", "a".repeat(101))).unwrap().0, Decoded::More(104));
    }

    #[test]
    fn trailers_are_fields_and_say_nothing_about_framing() {
        let trailers = |section: &str| {
            let mut chunks = Chunks::new();
            chunks.decode(format!("0\r\n{section}\r\n").as_bytes(), &mut Vec::new(), 100).map(|decoded| {
                assert!(matches!(decoded, Decoded::End(_)));
                chunks.into_trailers()
            })
        };
        let found = trailers("X-Sum: 7\r\nempty:\r\n").unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), [("x-sum", &b"7"[..]), ("empty", b"")]);
        assert!(trailers("").unwrap().is_empty());
        for bad in ["nothing\r\n", ": 1\r\n", "a b: 1\r\n", "a: \x01\r\n", "Content-Length: 1\r\n"] {
            assert_eq!(trailers(bad).unwrap_err().0, Reason::ProtocolChunk, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn chunks_mean_the_same_however_they_are_cut(chunks in prop::collection::vec("[a-z]{1,40}", 0..8), cut in 1..20_usize) {
            let coded: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
            let coded = format!("{coded}0\r\n\r\n");
            let (mut decoder, mut body, mut pending) = (Chunks::new(), Vec::new(), Vec::new());
            let mut ended = false;
            for piece in coded.as_bytes().chunks(cut) {
                pending.extend_from_slice(piece);
                match decoder.decode(&pending, &mut body, 1000).unwrap() {
                    Decoded::More(used) => drop(pending.drain(..used)),
                    Decoded::End(used) => {
                        prop_assert_eq!(used, pending.len());
                        ended = true;
                    }
                }
            }
            prop_assert!(ended);
            prop_assert_eq!(body, chunks.concat().into_bytes());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_head(&bytes, 100, 4, false);
            let _ = Chunks::new().decode(&bytes, &mut Vec::new(), 50);
        }
    }
}
