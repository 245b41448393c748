//! The faults the box can play: one enum and one table.
//!
//! Owns: the vocabulary ([`Fault`], named as in FAULTS.md) and how far a fault reaches ([`Injection`]). Which faults are
//! on is the switchboard's business; the layers ([`Layer`]) play them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What happens to a connection above the proxy's cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverCap {
    /// Accepted and closed at once (FIN). A true `ECONNREFUSED` for one connection of many is not in user space's
    /// gift: the kernel completes the handshake before `accept` sees it. [`Fault::RefuseAll`] gives the real thing.
    #[default]
    Refuse,
    /// Accepted and reset at once (`SO_LINGER` 0).
    Reset,
    /// Accepted, but served only when a place is free, first come first served.
    Queue,
}

/// How a DNS message is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Malformation {
    /// The right answer under another message id.
    WrongId,
    /// A well-formed answer to another question, with an address nobody should dial.
    WrongQuestion,
    /// A name that is a compression pointer to itself.
    CompressionLoop,
    /// The right id, then bytes that are no DNS message.
    Garbage,
}

/// What comes after a malformed DNS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Followed {
    /// Silence.
    Nothing,
    /// The right answer, at once.
    RightAnswer,
}

/// How a chunk size is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChunkSize {
    /// Seventeen hexadecimal digits: more than 2⁶⁴.
    Overflow,
    /// `+5`.
    Sign,
    /// `-5`.
    Negative,
    /// A space in front of the digits.
    Space,
    /// `0x5`.
    Prefix,
    /// LF without CR after the size.
    BareLf,
    /// A chunk extension of 1 MiB.
    LongExtension,
    /// No digit at all.
    Empty,
}

/// How a response head is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatusLine {
    /// HTTP/0.9: a body and no head.
    Http09,
    /// Status 99.
    Status99,
    /// Status 1000.
    Status1000,
    /// A bare CR inside a field value.
    BareCr,
    /// A NUL inside a field value.
    Nul,
    /// A field value folded over two lines.
    ObsFold,
    /// `HTTP/3.0 200 OK`.
    Http30,
    /// Bytes above 127 in a field *name*.
    NonAsciiField,
    /// Not HTTP at all.
    Garbage,
}

/// Which HTTP/2 frame is malformed or out of order. Those that are no answer are followed by a right one, so that a
/// client that overlooks them gets its `200`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadFrame {
    /// DATA on a stream that nobody opened.
    DataOnIdle,
    /// HEADERS on stream 0.
    HeadersOnZero,
    /// WINDOW_UPDATE of 0 for the connection.
    WindowZero,
    /// SETTINGS whose length is no multiple of six.
    SettingsLength,
    /// SETTINGS with ACK and a payload.
    SettingsAckPayload,
    /// PING of seven bytes.
    PingLength,
    /// RST_STREAM on a stream that nobody opened.
    ResetOnIdle,
    /// CONTINUATION without HEADERS.
    ContinuationAlone,
    /// The answer's HEADERS with more padding than frame.
    HeadersPadding,
    /// DATA above the largest frame size.
    FrameTooLarge,
    /// GOAWAY of four bytes.
    GoAwayShort,
    /// The answer's head refers to an entry that no table has.
    HpackIndex,
    /// An answer without `:status`.
    NoStatus,
    /// The answer's body before its head.
    DataBeforeHeaders,
}

impl BadFrame {
    /// Every kind.
    pub const ALL: [BadFrame; 14] = [
        BadFrame::DataOnIdle,
        BadFrame::HeadersOnZero,
        BadFrame::WindowZero,
        BadFrame::SettingsLength,
        BadFrame::SettingsAckPayload,
        BadFrame::PingLength,
        BadFrame::ResetOnIdle,
        BadFrame::ContinuationAlone,
        BadFrame::HeadersPadding,
        BadFrame::FrameTooLarge,
        BadFrame::GoAwayShort,
        BadFrame::HpackIndex,
        BadFrame::NoStatus,
        BadFrame::DataBeforeHeaders,
    ];
}

/// Which part of the box plays a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The DNS server.
    Dns,
    /// The proxy in front of every origin.
    Proxy,
    /// The HTTPS origins, before HTTP starts.
    Tls,
    /// The scripted peer.
    Scripted,
    /// The sink at the HTTP and HTTPS origins.
    Sink,
    /// The scripted HTTP/2 peers.
    Http2,
    /// The explicit proxies (CONNECT and SOCKS5).
    Tunnel,
}

/// One line of [`Fault::ALL`].
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// The fault's name on the wire and on the command line.
    pub name: &'static str,
    /// Its ids in FAULTS.md.
    pub ids: &'static str,
    /// Who plays it.
    pub layer: Layer,
    /// What it does.
    pub about: &'static str,
}

/// Builds the enum and [`Fault::ALL`] from one table, so that neither can drift from the other.
macro_rules! faults {
    ($( $layer:ident $ids:literal $name:literal $about:literal $variant:ident $( ( $($field:ty),+ ) )?; )+) => {
        /// Everything that can be made to go wrong. In JSON a fault is its name (`"silent"`) or an object with its
        /// name and value (`{"serv-fail": 100}`, `{"cap": [4, "reset"]}`).
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Fault {
            $(
                #[doc = concat!($about, " (FAULTS ", $ids, ")")]
                #[serde(rename = $name)]
                $variant $( ( $($field),+ ) )?,
            )+
        }

        impl Fault {
            /// Every fault: name, FAULTS ids, layer, and what it does. For `--help` and for tests that walk them all.
            pub const ALL: &'static [Row] = &[
                $( Row { name: $name, ids: $ids, layer: Layer::$layer, about: $about }, )+
            ];

            /// The row of [`Fault::ALL`] that describes this fault.
            #[must_use]
            pub fn row(&self) -> Row {
                match self {
                    $( Fault::$variant { .. } => {
                        Row { name: $name, ids: $ids, layer: Layer::$layer, about: $about }
                    } )+
                }
            }
        }
    };
}

faults! {
    Dns "D1" "silent" "never answers" Silent;
    Dns "D2, D3" "serv-fail" "SERVFAIL for this percentage of queries, spread evenly" ServFail(u8);
    Dns "D5" "refused" "answers REFUSED" Refused;
    Dns "D5" "not-imp" "answers NOTIMP" NotImp;
    Dns "D5" "form-err" "answers FORMERR" FormErr;
    Dns "D6" "nx-domain" "answers NXDOMAIN" NxDomain;
    Dns "D7" "no-data" "answers NOERROR without a record" NoData;
    Dns "D8" "truncate" "UDP answers are truncated and carry half the set, TCP answers are right" Truncate;
    Dns "D8" "truncate-no-tcp" "UDP answers are truncated, TCP is silent" TruncateNoTcp;
    Dns "D9" "alias-loop" "two aliases that point at each other" AliasLoop;
    Dns "D9" "alias-chain" "a chain of this many aliases that ends in the right answer" AliasChain(u32);
    Dns "D10, D11, D13, D18" "answer" "answers these addresses instead" Answer(Vec<IpAddr>);
    Dns "D14" "many-addresses" "the right addresses followed by filler up to this many (at most 4000)" ManyAddresses(u32);
    Dns "D15" "malformed" "a broken message, then nothing or the right answer" Malformed(Malformation, Followed);
    Dns "D17" "ttl" "answers carry this TTL (s)" Ttl(u32);
    Dns "D20" "slow-answer" "every answer takes this long (ms)" SlowAnswer(u64);
    Dns "D4" "rate-limit" "drops what exceeds this many queries per second" RateLimit(u32);

    Proxy "T1" "refuse-all" "closes the proxied ports: connections are refused; lasts until heal" RefuseAll;
    Proxy "T2, T22" "blackhole" "drops SYNs on the proxied ports (backlog full); lasts until heal" Blackhole;
    Proxy "T3" "reset-on-accept" "RST right after accept" ResetOnAccept;
    Proxy "T5" "reset-after-request" "forwards this many bytes to the origin, then RST" ResetAfterRequest(u64);
    Proxy "T5" "reset-mid-answer" "forwards this many bytes of the answer, then RST" ResetMidAnswer(u64);
    Proxy "T5" "close-mid-answer" "forwards this many bytes of the answer, then FIN" CloseMidAnswer(u64);
    Proxy "T4" "ack-lost" "waits for the next byte from the origin, then FIN instead of it (TLS, HTTP/2: warm the connection first)" AckLost;
    Proxy "T4" "ack-lost-reset" "waits for the next byte from the origin, then RST instead of it (TLS, HTTP/2: warm the connection first)" AckLostReset;
    Proxy "T6" "half-open" "stops forwarding, keeps the connections open" HalfOpen;
    Proxy "T7, T8" "idle-cut" "closes connections idle for this long (ms)" IdleCut(u64);
    Proxy "T7" "idle-drop" "forgets connections idle for this long (ms): forwards nothing more, closes nothing" IdleDrop(u64);
    Proxy "T21" "flap" "forwards for this long (ms), then holds everything for as long, by turns" Flap(u64);
    Proxy "T10" "drip" "answers trickle at this many bytes per second, per connection" Drip(u64);
    Proxy "T11" "stall-upload" "stops reading from the client" StallUpload;
    Proxy "T20" "latency" "adds this delay (ms) in each direction" Latency(u64);
    Proxy "T19" "bandwidth" "all connections together share this many bytes per second" Bandwidth(u64);
    Proxy "T14, T15" "cap" "at most this many live connections, and what happens above" Cap(usize, OverCap);

    Tls "L8" "handshake-stall" "never answers the ClientHello" HandshakeStall;
    Tls "L8" "handshake-close" "closes after the ClientHello" HandshakeClose;
    Tls "L16" "not-tls" "answers the ClientHello with plain HTTP" NotTls;
    Tls "L15" "alert-mid-stream" "a fatal alert in the middle of an answer" AlertMidStream;
    Tls "L15" "garbage-record" "a record with a bad MAC in the middle of an answer" GarbageRecord;
    Tls "L7" "truncated-close" "FIN without close_notify in a close-delimited body" TruncatedClose;
    Tls "L6" "tls12-only" "speaks TLS 1.2 only" Tls12Only;
    Tls "L6" "tls13-only" "speaks TLS 1.3 only" Tls13Only;
    Tls "L14" "alpn-none" "ignores ALPN, speaks HTTP/1.1" AlpnNone;
    Tls "L14" "alpn-lies" "selects h2 where it is offered, speaks HTTP/1.1" AlpnLies;
    Tls "L11" "rotate-tickets" "forgets all sessions before the handshake" RotateTickets;

    Scripted "H7" "interim-flood" "103 after 103, without end" InterimFlood;
    Scripted "H7" "interim" "this many 103s, then 200" Interim(u32);
    Scripted "H7" "unasked-switch" "101 that nobody asked for" UnaskedSwitch;
    Scripted "H6" "header-flood" "header fields without end" HeaderFlood;
    Scripted "H6" "header-count" "a 200 with this many fields" HeaderCount(u32);
    Scripted "H6" "big-header" "a 200 with one field of this many bytes" BigHeader(u64);
    Scripted "H18" "endless-body" "a chunked body without end" EndlessBody;
    Scripted "H18" "endless-body-no-length" "a close-delimited body without end" EndlessBodyNoLength;
    Scripted "H2" "length-and-chunked" "Content-Length together with Transfer-Encoding" LengthAndChunked;
    Scripted "H3" "two-lengths" "two Content-Length fields that differ" TwoLengths;
    Scripted "H3" "negative-length" "a negative Content-Length" NegativeLength;
    Scripted "H4" "short-body" "fewer bytes than Content-Length, then FIN" ShortBody;
    Scripted "H4" "chunked-no-end" "a chunked body without its last chunk, then FIN" ChunkedNoEnd;
    Scripted "H1" "bad-chunk-size" "a broken chunk size" BadChunkSize(ChunkSize);
    Scripted "H5" "extra-bytes" "a second response appended to the first" ExtraBytes;
    Scripted "H11" "garbage-status" "a broken response head" GarbageStatus(StatusLine);
    Scripted "H8" "early-final" "413 and close before the request's body is read" EarlyFinal;
    Scripted "H10" "close-after-answer" "answers with Connection: close, then closes" CloseAfterAnswer;
    Scripted "H10" "http10" "answers as HTTP/1.0, then closes" Http10;
    Scripted "H10" "keep-alive-timeout" "announces Keep-Alive: timeout (s), and closes after it" KeepAliveTimeout(u64);
    Scripted "T7, T8" "silent-close" "answers as if the connection stayed, then closes it" SilentClose;
    Scripted "H15" "request-timeout-408" "answers; 50 ms later an unasked 408 and FIN" RequestTimeout408;
    Scripted "H16" "no-content-with-body" "204, followed by bytes" NoContentWithBody;
    Scripted "T4" "early-close" "reads the request, closes without a byte" EarlyClose;
    Scripted "T5" "write-then-reset" "half an answer, then RST" WriteThenReset;
    Scripted "H8" "early-final-keep" "413 with keep-alive before the request's body is read, then reads it" EarlyFinalKeep;
    Scripted "H9" "expect-ignored" "never sends 100, but reads the body if it comes, then 200" ExpectIgnored;
    Scripted "H9" "expect-late" "sends 100 only after so long (ms), then 200" ExpectLate(u64);
    Scripted "H9" "expect-failed" "417 and keep-alive to what expects (its body is not read), 200 to the rest" ExpectFailed;
    Scripted "H9" "expect-final" "this status instead of 100, then closes; 200 to what does not expect" ExpectFinal(u16);
    Scripted "H21" "hidden-state" "Set-Cookie, Alt-Svc, Strict-Transport-Security, Refresh and Link in a 200" HiddenState;
    Scripted "H22" "big-error" "a 500 with a body of this many bytes" BigError(u64);
    Scripted "H6" "trailer-flood" "a chunked body whose trailers have no end" TrailerFlood;
    Scripted "T10" "slow-body" "a 200 whose thousand bytes come one by one, this long (ms) apart" SlowBody(u64);

    Http2 "P1" "go-away-after" "serves this many requests of a connection, then GOAWAY; ignores what comes later" GoAwayAfter(u32);
    Http2 "P1" "go-away-unprocessed" "GOAWAY that leaves this request out, then FIN" GoAwayUnprocessed;
    Http2 "P1" "go-away-graceful" "at this many requests GOAWAY in two steps: no last stream, then the real one" GoAwayGraceful(u32);
    Http2 "P1" "go-away-error" "GOAWAY ENHANCE_YOUR_CALM that takes this request in, no answer, then FIN" GoAwayError;
    Http2 "P2" "refused-stream" "RST_STREAM REFUSED_STREAM at once" RefusedStream;
    Http2 "P2" "reset-stream" "reads the request, then RST_STREAM with this code instead of an answer" ResetStream(u32);
    Http2 "P2" "reset-mid-body" "RST_STREAM with this code in the middle of the body" ResetMidBody(u32);
    Http2 "P3" "continuation-flood" "a head of CONTINUATION frames without end" ContinuationFlood;
    Http2 "P4" "header-bomb" "a head of 16 KiB that decodes to 48 MB" HeaderBomb;
    Http2 "P4" "header-list" "a right answer whose head decodes to this many bytes" HeaderList(u64);
    Http2 "P4" "table-size-game" "a dynamic table size above what the client allowed" TableSizeGame;
    Http2 "P5" "window-closed" "new connections: no window for request bodies, ever; what comes all the same is not read" WindowClosed;
    Http2 "P5" "window-zero-increment" "WINDOW_UPDATE of 0 on the request's stream, no answer" WindowZeroIncrement;
    Http2 "P6" "empty-data-flood" "empty DATA frames without end" EmptyDataFlood;
    Http2 "P6" "tiny-data-flood" "DATA frames of one byte without end, as far as the client's window goes" TinyDataFlood;
    Http2 "P7" "settings-flood" "SETTINGS without end instead of an answer" SettingsFlood;
    Http2 "P7" "ping-flood" "PING without end instead of an answer" PingFlood;
    Http2 "P7" "priority-flood" "PRIORITY without end instead of an answer" PriorityFlood;
    Http2 "P7" "max-streams" "new connections: at most this many streams at once, the others are refused" MaxStreams(u32);
    Http2 "P7" "max-streams-lowered" "at most this many streams at once after the first answer" MaxStreamsLowered(u32);
    Http2 "P8" "push-promise" "pushes what nobody asked for, then answers" PushPromise;
    Http2 "P9" "malformed-frame" "a frame that is malformed or out of order" MalformedFrame(BadFrame);
    Http2 "P10" "silent-peer" "reads requests and PINGs, answers neither" SilentPeer;

    Tunnel "T16" "connect-status" "answers CONNECT with this status and a page in HTML" ConnectStatus(u16);
    Tunnel "T16" "connect-garbage" "answers CONNECT with what is no HTTP" ConnectGarbage;
    Tunnel "T16" "connect-endless" "answers CONNECT with a head without end" ConnectEndless;
    Tunnel "T16" "connect-silent" "never answers CONNECT (HTTP or SOCKS)" ConnectSilent;
    Tunnel "T16" "connect-then-silent" "lets CONNECT (HTTP or SOCKS) succeed, then forwards nothing" ConnectThenSilent;
    Tunnel "T16" "socks-refused" "answers SOCKS with this reply code" SocksRefused(u8);
    Tunnel "T16" "socks-garbage" "answers SOCKS with what is no SOCKS" SocksGarbage;
    Tunnel "T16" "tunnel-close" "closes after reading the request (HTTP or SOCKS)" TunnelClose;

    Sink "W1, T4" "sink-reset-before-body" "RST when the head has come (h2: RST_STREAM, as for all resets here)" SinkResetBeforeBody;
    Sink "W1, T4" "sink-reset-in-body" "RST after half of the body, or after its first part" SinkResetInBody;
    Sink "W1, T4" "sink-reset-after-body" "RST after the whole body, without applying the write" SinkResetAfterBody;
    Sink "W1, T4" "apply-then-die" "applies the write, closes without an answer (h2: RST_STREAM)" ApplyThenDie;
    Sink "W1, T4" "apply-then-reset" "applies the write, then RST" ApplyThenReset;
    Sink "W1, T6" "apply-then-silence" "applies the write, never answers, keeps the connection open" ApplyThenSilence;
    Sink "W10" "apply-then-500" "applies the write, answers 500 (a retry under the key gets the stored answer)" ApplyThen500;
    Sink "W10" "fail-500" "answers 500 without applying the write; a retry under the key applies it" Fail500;
    Sink "W10" "stored-500" "answers a new key with 500 for good, never applies (without keys: as fail-500)" Stored500;
    Sink "W1" "refuse-503" "reads the write, answers 503 without applying it" Refuse503;
    Sink "W4" "slow-sink" "takes this long (ms) before it applies a write" SlowSink(u64);
    Sink "W11" "bulk-partial" "answers 429 for this percentage of a bulk's items, spread evenly" BulkPartial(u8);
    Sink "W1, W4, W10" "chaos" "seed, percentage: that share of attempts meets one of the above (but stored-500)" WriteChaos(u64, u8);
}

impl Fault {
    /// The fault's name, as in [`Fault::ALL`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.row().name
    }
}

/// A fault and how far it reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Injection {
    /// What goes wrong.
    pub fault: Fault,
    /// How many hits until it switches itself off; without it, it stays until healed. A hit is one query, one
    /// connection that first feels it, or one request, whichever the fault acts on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// DNS faults: only this name. Proxy faults: only connections to this address (`127.0.0.2`). Sink faults: only this
    /// record. Otherwise all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl From<Fault> for Injection {
    fn from(fault: Fault) -> Self {
        Injection { fault, times: None, name: None }
    }
}

impl Injection {
    /// Reads a fault alone (`"silent"`, `{"serv-fail": 50}`) or one with its reach (`{"fault": …, "times": 3}`).
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn from_json(value: serde_json::Value) -> Result<Self, String> {
        let reaching = value.as_object().is_some_and(|object| object.contains_key("fault"));
        let read = if reaching {
            serde_json::from_value(value)
        } else {
            serde_json::from_value::<Fault>(value).map(Injection::from)
        };
        read.map_err(|error| error.to_string())
    }
}
