//! Whether what comes in on an HTTP/2 connection is worth its cost: [`Flood`].
//!
//! It walks over the frame headers (RFC 9113 4.1), skips every payload and counts: frames that carry nothing,
//! windows opened for nothing, header blocks without an end or without a question. It never decodes a field and
//! keeps no state of the protocol: what is malformed or misordered, and data in pieces too small, is h2's
//! affair. Pure: time comes in as `now`; it uses no randomness.

use std::time::{Duration, Instant};

use crate::error::Reason;
use crate::wire::Fault;

/// The watch over one connection, fed with its bytes in any pieces.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    /// The frame header under way, and the pad length behind it where a frame of data has one.
    header: [u8; PADDED_HEADER],
    read: usize,
    payload_left: usize,
    max_block: usize,
    largest_block: usize,
    /// The bytes and CONTINUATION frames of the header block that has no end yet.
    block: Option<(usize, usize)>,
    overhead: Rate,
    windows: Rate,
    /// Window updates that were earned by sending, and the bytes on the way to the next one.
    earned: u64,
    sent: u64,
    /// Heads and trailers of answers that are due; what comes beyond them (interim answers) is overhead.
    due: u64,
    /// The verdict is final: the bytes behind a fault mean nothing.
    fault: Option<(Reason, &'static str)>,
}

/// The default of SETTINGS_MAX_FRAME_SIZE (RFC 9113 6.5.2), which is never raised.
const MAX_FRAME: usize = 16 * 1024;
const HEADER: usize = 9;
const PADDED_HEADER: usize = HEADER + 1;
/// Padding, priorities and field encodings that come on top of what `max_headers` counts.
const BLOCK_SLACK: usize = MAX_FRAME;
/// Servers fill a frame before they begin another: 64 KiB need four.
const MAX_CONTINUATIONS: usize = 16;
/// What a `max_headers` too great for those is cut into, at the smallest.
const SMALL_CONTINUATION: usize = 8 * 1024;
/// A healthy server sends a handful of control frames in a second; thousands cost the reader more than the sender.
const BURST: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(1);
/// A server that opens its window for less spends more on the update than it took.
const BYTES_PER_UPDATE: u64 = 256;
/// The updates for 16 MiB in flight. What was sent long ago earns nothing any more.
const MAX_EARNED: u64 = 64 * 1024;
/// An answer has a head and perhaps trailers.
const HEADERS_PER_ANSWER: u64 = 2;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

impl Flood {
    pub(crate) fn new(max_headers: usize) -> Flood {
        Flood { max_block: max_headers.saturating_add(BLOCK_SLACK), ..Flood::default() }
    }

    /// Looks at bytes as they come in, in any pieces. After a fault it never says anything else.
    pub(crate) fn see(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Fault> {
        while self.fault.is_none() && !bytes.is_empty() {
            if self.payload_left > 0 {
                let skipped = self.payload_left.min(bytes.len());
                self.payload_left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (self.wanted() - self.read).min(bytes.len());
            self.header[self.read..self.read + taken].copy_from_slice(&bytes[..taken]);
            self.read += taken;
            bytes = &bytes[taken..];
            if self.read == self.wanted() {
                let length = self.length();
                self.payload_left = length - (self.read - HEADER).min(length);
                self.read = 0;
                if let Err(Fault(reason, detail)) = self.judge(length, now) {
                    self.fault = Some((reason, detail));
                }
            }
        }
        self.fault.map_or(Ok(()), |(reason, detail)| Err(Fault(reason, detail)))
    }

    /// Bytes that went out, which the far side has to open its windows for.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_add(bytes);
        self.earned = self.earned.saturating_add(self.sent / BYTES_PER_UPDATE).min(MAX_EARNED);
        self.sent %= BYTES_PER_UPDATE;
    }

    /// Requests that went out, each of which is answered once.
    pub(crate) fn opened(&mut self, requests: u64) {
        self.due = self.due.saturating_add(requests.saturating_mul(HEADERS_PER_ANSWER));
    }

    /// The greatest header block so far, as it was on the wire.
    pub(crate) fn largest_block(&self) -> usize {
        self.largest_block
    }

    fn length(&self) -> usize {
        usize::from(self.header[0]) << 16 | usize::from(self.header[1]) << 8 | usize::from(self.header[2])
    }

    /// How much of the frame must be seen to judge it: whether padded data is empty stands behind the header.
    fn wanted(&self) -> usize {
        let padded = self.read >= HEADER && self.header[3] == DATA && self.header[4] & PADDED != 0 && self.length() > 0;
        if padded { PADDED_HEADER } else { HEADER }
    }

    fn judge(&mut self, length: usize, now: Instant) -> Result<(), Fault> {
        let [_, _, _, kind, flags, .., pad] = self.header;
        if length > MAX_FRAME {
            return Err(Fault(Reason::ProtocolUnexpected, "a frame is longer than was allowed (RFC 9113 4.2)"));
        }
        match kind {
            DATA => {
                let padding = if flags & PADDED != 0 { 1 + usize::from(pad) } else { 0 };
                match length > padding {
                    true => Ok(()),
                    false if flags & END_STREAM != 0 => Ok(()),
                    false => self.overhead.spend(now),
                }
            }
            HEADERS => {
                match self.due.checked_sub(1) {
                    Some(due) => self.due = due,
                    None => self.overhead.spend(now)?,
                }
                self.grow(length, 0, flags)
            }
            CONTINUATION => match self.block {
                Some((bytes, continuations)) => self.grow(bytes + length, continuations + 1, flags),
                None => self.overhead.spend(now),
            },
            WINDOW_UPDATE if self.earned > 0 => {
                self.earned -= 1;
                Ok(())
            }
            WINDOW_UPDATE => self.windows.spend(now),
            // PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY and what nobody knows are housekeeping; pushes are not asked
            // for.
            _ => self.overhead.spend(now),
        }
    }

    fn grow(&mut self, bytes: usize, continuations: usize, flags: u8) -> Result<(), Fault> {
        self.largest_block = self.largest_block.max(bytes);
        if bytes > self.max_block || continuations > MAX_CONTINUATIONS.max(self.max_block / SMALL_CONTINUATION) {
            return Err(Fault(Reason::LimitHeaders, "the answer's header section is over its limit"));
        }
        self.block = (flags & END_HEADERS == 0).then_some((bytes, continuations));
        Ok(())
    }
}

/// A thousand at once and a thousand a second, told by when the frames so far are paid for.
#[derive(Debug, Default)]
struct Rate(Option<Instant>);

impl Rate {
    fn spend(&mut self, now: Instant) -> Result<(), Fault> {
        let paid = self.0.map_or(now, |paid| paid.max(now)) + INTERVAL;
        self.0 = Some(paid);
        if paid.duration_since(now) > BURST {
            return Err(Fault(Reason::LimitFlood, "frames come that carry nothing, over 1000 in a second"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PING: u8 = 6;
    const MAX_HEADERS: usize = 64 * 1024;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// What is said to this many equal frames at once.
    fn verdict(frames: usize, frame: &[u8]) -> Result<(), Reason> {
        let mut flood = Flood::new(MAX_HEADERS);
        flood.opened(1);
        flood.see(&frame.repeat(frames), Instant::now()).map_err(|fault| fault.0)
    }

    #[test]
    fn frames_that_carry_nothing_are_a_flood_from_the_thousand_and_first() {
        let empty = [frame(DATA, 0, 1, &[]), frame(DATA, PADDED, 1, &[3, 0, 0, 0])];
        let others = [2, 3, 4, 5, PING, 7, WINDOW_UPDATE, CONTINUATION, 0xbe].map(|kind| frame(kind, 0, 1, &[0; 8]));
        for frame in empty.iter().chain(&others) {
            assert_eq!(verdict(1000, frame), Ok(()), "{frame:?}");
            assert_eq!(verdict(1001, frame), Err(Reason::LimitFlood), "{frame:?}");
        }
        assert_eq!(verdict(1001, &frame(DATA, END_STREAM, 1, &[])), Ok(()));
    }

    #[test]
    fn a_thousand_in_every_second_may_go_on_for_ever() {
        let (mut flood, base) = (Flood::new(MAX_HEADERS), Instant::now());
        let pings = frame(PING, 0, 0, &[0; 8]).repeat(100);
        for tenth in 0..1000 {
            flood.see(&pings, base + Duration::from_millis(100) * tenth).unwrap();
        }
        assert!((0..11).any(|_| flood.see(&pings, base + Duration::from_secs(100)).is_err()));
        assert!(flood.see(&[], base + Duration::from_secs(999)).is_err(), "a fault is final");
    }

    #[test]
    fn a_header_block_has_an_end() {
        let block = |first: usize, others: &[usize]| {
            let mut bytes = frame(HEADERS, 0, 1, &vec![0; first]);
            others.iter().for_each(|&length| bytes.extend(frame(CONTINUATION, 0, 1, &vec![0; length])));
            verdict(1, &bytes)
        };
        assert_eq!(block(100, &[0; 16]), Ok(()));
        assert_eq!(block(100, &[0; 17]), Err(Reason::LimitHeaders));
        assert_eq!(block(MAX_FRAME, &[MAX_FRAME; 4]), Ok(()));
        assert_eq!(block(MAX_FRAME, &[MAX_FRAME, MAX_FRAME, MAX_FRAME, MAX_FRAME, 1]), Err(Reason::LimitHeaders));
        let answers = frame(HEADERS, END_HEADERS, 1, &[0; 9000]);
        assert_eq!(verdict(100, &answers), Ok(()), "each has its own limit");

        let greatest = frame(CONTINUATION, 0, 1, &[0; MAX_FRAME]).repeat(63);
        let greatest = [frame(HEADERS, 0, 1, &[0; MAX_FRAME]), greatest].concat();
        Flood::new(1 << 20).see(&greatest, Instant::now()).expect("as many as a user may allow");
    }

    #[test]
    fn a_frame_is_no_longer_than_was_announced() {
        assert_eq!(verdict(1, &frame(DATA, 0, 1, &vec![0; MAX_FRAME])), Ok(()));
        assert_eq!(verdict(1, &frame(DATA, 0, 1, &vec![0; MAX_FRAME + 1])), Err(Reason::ProtocolUnexpected));
        assert_eq!(verdict(1, b"HTTP/1.1 400 Bad Request\r\n\r\n"), Err(Reason::ProtocolUnexpected));
    }

    #[test]
    fn answers_that_nobody_asked_for_are_a_flood() {
        let (mut flood, now) = (Flood::new(MAX_HEADERS), Instant::now());
        let answer = frame(HEADERS, END_HEADERS, 1, &[0; 20]);
        for _ in 0..10_000 {
            flood.opened(1);
            flood.see(&answer.repeat(2), now).unwrap();
        }
        assert_eq!(flood.see(&answer.repeat(1000), now), Ok(()));
        assert_eq!(flood.see(&answer, now).unwrap_err().0, Reason::LimitFlood);
    }

    #[test]
    fn a_long_upload_streams_of_tokens_and_pings_are_no_flood() {
        let (mut flood, base) = (Flood::new(MAX_HEADERS), Instant::now());
        let both = [frame(WINDOW_UPDATE, 0, 0, &[0, 0, 64, 0]), frame(WINDOW_UPDATE, 0, 201, &[0, 0, 64, 0])].concat();
        flood.see(&frame(4, 0, 0, &[0; 36]), base).unwrap();
        let streams = || (1..200).step_by(2);
        for stream in streams() {
            flood.opened(1);
            flood.see(&frame(HEADERS, END_HEADERS, stream, &[0; 300]), base).unwrap();
        }
        // 1 GiB in ten seconds, its windows opened frame by frame but told only once in a millisecond.
        for millis in 0..10_000 {
            let now = base + Duration::from_millis(millis);
            flood.sent(107_375);
            flood.see(&both.repeat(7), now).unwrap();
            for stream in streams().filter(|_| millis % 10 == 0) {
                let tokens = [frame(DATA, 0, stream, b"t"), frame(DATA, 0, stream, &[0; MAX_FRAME])].concat();
                flood.see(&tokens, now).unwrap();
            }
            let ping = if millis % 1000 == 0 { frame(PING, 0, 0, &[0; 8]) } else { Vec::new() };
            flood.see(&ping, now).unwrap();
        }
    }

    proptest! {
        #[test]
        fn the_verdict_is_the_same_however_the_bytes_are_split(
            frames in prop::collection::vec((0..11_u8, any::<u8>(), 0..4_u32, prop::collection::vec(any::<u8>(), 0..40)), 0..60),
            repeat in 1..400_usize, cuts in prop::collection::vec(1..50_usize, 1..30),
        ) {
            let now = Instant::now();
            let bytes: Vec<u8> = frames.iter().flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload))
                .collect::<Vec<_>>().repeat(repeat);
            let [mut whole, mut cut] = [Flood::new(2000), Flood::new(2000)];
            whole.opened(1);
            cut.opened(1);
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let length = rest.len().min(*cuts.next().unwrap());
                let _ = cut.see(rest.split_off(..length).unwrap(), now);
            }
            prop_assert_eq!(cut.see(&[], now), whole.see(&bytes, now));
        }
    }
}
