//! Content codings (RFC 9110 8.4): bytes of a body go in, decoded bytes come out, never more at once than the caller
//! takes.
//!
//! Pure and push style, so that every way of calling and every version of HTTP shares it; whoever reads the body owns
//! the loop and the limit on its length. What is owned here: which codings there are, that there is one layer, how far
//! a body may expand, and that nothing is missing from it or follows it. Memory is the coding's window, half as much
//! again while that grows, and at most one block. No I/O, no clock. zstd comes late by up to its window, all others come
//! as they are read.

use std::io::Read;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::error::{Delivery, Error, Phase, Reason, Result};

/// Decoded bytes that each coded byte pays for. Text shrinks to a tenth or a twentieth, and a bomb to a thousandth.
const MAX_RATIO: u64 = 100;
/// What may come out before the ratio counts: a small body of zeros is no danger, and its coded form is mostly header.
const FREE: u64 = 1 << 20;
/// The window RFC 9659 grants zstd as a content coding. A brotli window ends at 16 MiB by its format, and that of gzip
/// and deflate at 32 KiB.
const MAX_ZSTD_WINDOW: u64 = 8 << 20;
/// How far the caller's buffer grows in one step: what is short stays short.
const STEP: usize = 16 * 1024;
/// A window of 2^15, the greatest there is.
const WINDOW_BITS: u8 = 15;

fn failure(reason: Reason, detail: &'static str) -> Error {
    Error::new(reason, Phase::Receive, detail).with_delivery(Delivery::Answered)
}

fn malformed() -> Error {
    failure(Reason::ProtocolDecode, "the body's content coding is malformed, or its checksum is wrong")
}

fn followed() -> Error {
    failure(Reason::ProtocolDecode, "bytes follow the end of the coded body")
}

/// Why [`Decoder::decode`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// As much was appended as the caller takes; there may be more without further input.
    Full,
    /// Everything that could be decoded was; all input is used.
    Hungry,
}

/// Decodes one body.
pub(crate) struct Decoder {
    /// None after an error.
    codec: Option<Codec>,
    taken: u64,
    given: u64,
}

enum Codec {
    Gzip(Inflate),
    Deflate(Deflate),
    Brotli(Box<Brotli>),
    Zstd(Box<Zstd>),
}

impl Decoder {
    /// The decoder for a `Content-Encoding`, several fields of that name joined by commas. None where there is nothing
    /// to decode, or where the coding is unknown: such a body is handed over as it is, with its header.
    ///
    /// # Errors
    /// [`Reason::LimitDecode`] where there is more than one layer: each multiplies what a body may expand to, and no
    /// server has a use for it.
    pub(crate) fn of(content_encoding: &[u8]) -> Result<Option<Decoder>> {
        let mut layers = content_encoding
            .split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
        let Some(coding) = layers.next() else { return Ok(None) };
        if layers.next().is_some() {
            return Err(failure(Reason::LimitDecode, "the body has more than one layer of content coding"));
        }
        let codec = match coding.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Codec::Gzip(Inflate::new(Decompress::new_gzip(WINDOW_BITS))),
            b"deflate" => Codec::Deflate(Deflate::Unknown(None)),
            b"br" => Codec::Brotli(Box::new(Brotli::new())),
            b"zstd" => Codec::Zstd(Box::new(Zstd::new())),
            _ => return Ok(None),
        };
        Ok(Some(Decoder { codec: Some(codec), taken: 0, given: 0 }))
    }

    /// Decodes `input` and appends at most `most` bytes to `into`; says how much of the input was used, and why it
    /// stopped. After [`State::Full`] it is to be called again with the rest of the input, be it empty.
    ///
    /// # Errors
    /// [`Reason::ProtocolDecode`] and [`Reason::LimitDecode`]; then the body is lost, and every further call fails.
    pub(crate) fn decode(&mut self, input: &[u8], into: &mut Vec<u8>, most: usize) -> Result<(usize, State)> {
        let mut codec = self.codec.take().ok_or_else(malformed)?;
        let (mut used, begin) = (0, into.len());
        let state = loop {
            let space = STEP.min(most - (into.len() - begin));
            if space == 0 {
                break State::Full;
            }
            let at = into.len();
            into.resize(at + space, 0);
            let step = codec.step(&input[used..], &mut into[at..]);
            let (consumed, written) = step.inspect_err(|_| into.truncate(at))?;
            into.truncate(at + written);
            used += consumed;
            self.taken += consumed as u64;
            self.given += written as u64;
            if self.given > FREE + MAX_RATIO * self.taken {
                return Err(failure(Reason::LimitDecode, "the coded body expands more than a hundredfold"));
            }
            if used == input.len() && written < space {
                break State::Hungry;
            }
            if consumed == 0 && written == 0 {
                return Err(malformed());
            }
        };
        self.codec = Some(codec);
        Ok((used, state))
    }

    /// To be called at the end of the body, after [`State::Hungry`]. An empty body is whole in every coding, since
    /// servers name a coding where there is no body.
    ///
    /// # Errors
    /// [`Reason::ProtocolDecode`] where the coded body is cut off.
    pub(crate) fn finish(&self) -> Result<()> {
        let codec = self.codec.as_ref().ok_or_else(malformed)?;
        if self.taken == 0 || codec.has_ended() {
            Ok(())
        } else {
            Err(failure(Reason::ProtocolDecode, "the coded body is cut off"))
        }
    }
}

impl Codec {
    /// Decodes as much as there is input and space for; says how much was used of each.
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize)> {
        match self {
            Codec::Gzip(inflate) => {
                match input.first() {
                    // Another member (RFC 1952 2.2).
                    Some(0x1f) if inflate.has_ended => *inflate = Inflate::new(Decompress::new_gzip(WINDOW_BITS)),
                    _ => {}
                }
                inflate.step(input, out)
            }
            Codec::Deflate(deflate) => deflate.step(input, out),
            Codec::Brotli(brotli) => brotli.step(input, out),
            Codec::Zstd(zstd) => zstd.step(input, out),
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            Codec::Gzip(inflate) | Codec::Deflate(Deflate::Known(inflate)) => inflate.has_ended,
            Codec::Deflate(Deflate::Unknown(_)) => false,
            Codec::Brotli(brotli) => brotli.has_ended,
            Codec::Zstd(zstd) => matches!(zstd.part, Part::Header) && zstd.held.is_empty(),
        }
    }
}

/// Deflated data in whichever wrapping; zlib checks the checksum of its own.
struct Inflate {
    stream: Decompress,
    has_ended: bool,
}

impl Inflate {
    fn new(stream: Decompress) -> Inflate {
        Inflate { stream, has_ended: false }
    }

    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize)> {
        if self.has_ended {
            return if input.is_empty() { Ok((0, 0)) } else { Err(followed()) };
        }
        let (taken, given) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(input, out, FlushDecompress::None).map_err(|_| malformed())?;
        self.has_ended = status == Status::StreamEnd;
        Ok(((self.stream.total_in() - taken) as usize, (self.stream.total_out() - given) as usize))
    }
}

/// `deflate` means zlib (RFC 1950), and some servers send bare deflate (RFC 1951): the first two bytes tell. What looks
/// like zlib's header is no beginning of bare deflate that an encoder writes: a stored block with bits set that pad.
enum Deflate {
    Unknown(Option<u8>),
    Known(Inflate),
}

impl Deflate {
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize)> {
        match (&mut *self, input) {
            (Deflate::Known(inflate), _) => inflate.step(input, out),
            (Deflate::Unknown(_), []) => Ok((0, 0)),
            (Deflate::Unknown(first @ None), [byte, ..]) => {
                *first = Some(*byte);
                Ok((1, 0))
            }
            (Deflate::Unknown(Some(first)), [second, ..]) => {
                let first = *first;
                let is_zlib = first & 0x0f == 8
                    && first >> 4 <= WINDOW_BITS - 8
                    && u16::from_be_bytes([first, *second]).is_multiple_of(31);
                let mut inflate = Inflate::new(Decompress::new(is_zlib));
                // One byte holds neither a header nor a block, so nothing comes out of it.
                inflate.step(&[first], out)?;
                let step = inflate.step(input, out);
                *self = Deflate::Known(inflate);
                step
            }
        }
    }
}

struct Brotli {
    stream: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    has_ended: bool,
}

impl Brotli {
    fn new() -> Brotli {
        let alloc = StandardAlloc::default;
        // Strict: without the windows up to 1 GiB of "large window brotli", which is no content coding.
        Brotli { stream: BrotliState::new_strict(alloc(), alloc(), alloc()), has_ended: false }
    }

    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize)> {
        if self.has_ended {
            return if input.is_empty() { Ok((0, 0)) } else { Err(followed()) };
        }
        let (mut available_in, mut consumed) = (input.len(), 0);
        let (mut available_out, mut written) = (out.len(), 0);
        let mut total = 0;
        match BrotliDecompressStream(
            &mut available_in,
            &mut consumed,
            input,
            &mut available_out,
            &mut written,
            out,
            &mut total,
            &mut self.stream,
        ) {
            BrotliResult::ResultSuccess => self.has_ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(malformed()),
        }
        Ok((consumed, written))
    }
}

/// Frames one after the other (RFC 8878 3.1), skippable ones too.
///
/// The library decodes whole blocks from a reader, so that headers are read here as far as it takes to know where a
/// block ends, and one block is decoded when it is there and the one before is handed out.
struct Zstd {
    frames: FrameDecoder,
    /// The beginning of a header or block.
    held: Vec<u8>,
    part: Part,
    /// The frame's content as announced, less what came out.
    missing: Option<u64>,
    has_checksum: bool,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Part {
    /// A frame, or the end.
    Header,
    /// A block of the frame.
    Block,
    /// The rest of what the last block decoded to.
    Rest,
    /// So many bytes of a skippable frame.
    Skip(u64),
}

/// Bytes of a block's header.
const BLOCK_HEADER: usize = 3;
/// Block_Maximum_Size.
const MAX_BLOCK: usize = 128 * 1024;

impl Zstd {
    fn new() -> Zstd {
        let mut frames = FrameDecoder::new();
        frames.set_max_window_size(MAX_ZSTD_WINDOW);
        Zstd { frames, held: Vec::new(), part: Part::Header, missing: None, has_checksum: false }
    }

    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize)> {
        let (mut rest, mut written) = (input, 0);
        loop {
            match self.part {
                Part::Header => {
                    if !self.hold(&mut rest, zstd_header)? {
                        break;
                    }
                    self.begin_frame()?;
                }
                Part::Skip(0) => self.part = Part::Header,
                Part::Skip(left) => {
                    let count = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    if count == 0 {
                        break;
                    }
                    rest = &rest[count..];
                    self.part = Part::Skip(left - count as u64);
                }
                Part::Block => {
                    written += self.hand_out(&mut out[written..])?;
                    // What is left is handed out first: so no more than a window and a block is ever kept.
                    if written == out.len() {
                        break;
                    }
                    let has_checksum = self.has_checksum;
                    if !self.hold(&mut rest, |held| zstd_block(held, has_checksum))? {
                        break;
                    }
                    let one = BlockDecodingStrategy::UptoBlocks(1);
                    let is_last = self.frames.decode_blocks(&self.held[..], one).map_err(|_| malformed())?;
                    self.held.clear();
                    self.part = if is_last { Part::Rest } else { Part::Block };
                }
                Part::Rest => {
                    written += self.hand_out(&mut out[written..])?;
                    if self.frames.can_collect() > 0 {
                        break;
                    }
                    let is_wrong = self.has_checksum
                        && self.frames.get_checksum_from_data() != self.frames.get_calculated_checksum();
                    if is_wrong || self.missing.is_some_and(|missing| missing > 0) {
                        return Err(malformed());
                    }
                    self.part = Part::Header;
                }
            }
        }
        Ok((input.len() - rest.len(), written))
    }

    /// Moves bytes from the input to the held ones until `wanted` asks for no more than there are.
    fn hold(&mut self, rest: &mut &[u8], wanted: impl Fn(&[u8]) -> Result<usize>) -> Result<bool> {
        loop {
            let missing = wanted(&self.held)?.saturating_sub(self.held.len());
            if missing == 0 {
                return Ok(true);
            }
            if rest.is_empty() {
                return Ok(false);
            }
            let (piece, after) = rest.split_at(missing.min(rest.len()));
            self.held.extend_from_slice(piece);
            *rest = after;
        }
    }

    fn begin_frame(&mut self) -> Result<()> {
        if let Some(length) = skippable(&self.held) {
            self.part = Part::Skip(length.into());
        } else {
            self.frames.reset(&self.held[..]).map_err(|error| match error {
                FrameDecoderError::WindowSizeTooBig { .. } => {
                    failure(Reason::LimitDecode, "the coded body asks for a window of more than 8 MiB")
                }
                _ => malformed(),
            })?;
            let descriptor = Descriptor(self.held[4]);
            self.has_checksum = descriptor.has_checksum();
            self.missing = (descriptor.content_size_bytes() > 0).then(|| self.frames.content_size());
            self.part = Part::Block;
        }
        self.held.clear();
        Ok(())
    }

    fn hand_out(&mut self, out: &mut [u8]) -> Result<usize> {
        let count = self.frames.read(out).map_err(|_| malformed())?;
        if let Some(missing) = &mut self.missing {
            *missing = missing.checked_sub(count as u64).ok_or_else(malformed)?;
        }
        Ok(count)
    }
}

const FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Its first byte ends in any four bits.
const SKIPPABLE_FRAME: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

/// How long the header of a frame is, as far as that is known from its beginning.
fn zstd_header(held: &[u8]) -> Result<usize> {
    let begins = |magic: [u8; 4], mask: u8| {
        held.iter()
            .zip(magic)
            .enumerate()
            .all(|(at, (&byte, wanted))| if at == 0 { byte & mask } else { byte } == wanted)
    };
    match held.get(4) {
        _ if held.is_empty() => Ok(1),
        _ if begins(SKIPPABLE_FRAME, 0xf0) => Ok(8),
        _ if !begins(FRAME, 0xff) => Err(malformed()),
        None => Ok(5),
        Some(&descriptor) => Descriptor(descriptor).header_bytes(),
    }
}

/// The length of a skippable frame, from its whole header.
fn skippable(header: &[u8]) -> Option<u32> {
    match header {
        [first, rest @ ..] if first & 0xf0 == SKIPPABLE_FRAME[0] => {
            rest.get(3..)?.first_chunk().map(|length| u32::from_le_bytes(*length))
        }
        _ => None,
    }
}

/// Frame_Header_Descriptor (RFC 8878 3.1.1.1.1).
#[derive(Clone, Copy)]
struct Descriptor(u8);

impl Descriptor {
    fn is_single_segment(self) -> bool {
        self.0 & 0x20 != 0
    }

    fn has_checksum(self) -> bool {
        self.0 & 0x04 != 0
    }

    fn content_size_bytes(self) -> usize {
        match self.0 >> 6 {
            0 => usize::from(self.is_single_segment()),
            flag => 1 << flag,
        }
    }

    /// Magic number, descriptor, window, dictionary and content size.
    fn header_bytes(self) -> Result<usize> {
        if self.0 & 0x08 != 0 {
            return Err(malformed());
        }
        let window = usize::from(!self.is_single_segment());
        let dictionary = [0, 1, 2, 4][usize::from(self.0 & 0x03)];
        Ok(FRAME.len() + 1 + window + dictionary + self.content_size_bytes())
    }
}

/// How long a block is, as far as that is known from its beginning; with the checksum that follows the last one.
fn zstd_block(held: &[u8], has_checksum: bool) -> Result<usize> {
    let Some(&[a, b, c]) = held.first_chunk::<BLOCK_HEADER>() else { return Ok(BLOCK_HEADER) };
    let header = u32::from_le_bytes([a, b, c, 0]);
    let size = (header >> 3) as usize;
    if size > MAX_BLOCK {
        return Err(malformed());
    }
    let content = match header >> 1 & 0x03 {
        // One byte that is repeated.
        1 => 1,
        0 | 2 => size,
        _ => return Err(malformed()),
    };
    let checksum = if has_checksum && header & 1 == 1 { 4 } else { 0 };
    Ok(BLOCK_HEADER + content + checksum)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    const MIB: usize = 1 << 20;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Coding {
        Gzip,
        Zlib,
        Deflate,
        Brotli,
        Zstd,
    }

    const ALL: [Coding; 5] = [Coding::Gzip, Coding::Zlib, Coding::Deflate, Coding::Brotli, Coding::Zstd];

    impl Coding {
        fn name(self) -> &'static str {
            match self {
                Coding::Gzip => "gzip",
                Coding::Zlib | Coding::Deflate => "deflate",
                Coding::Brotli => "br",
                Coding::Zstd => "zstd",
            }
        }

        fn decoder(self) -> Decoder {
            Decoder::of(self.name().as_bytes()).unwrap().unwrap()
        }

        fn encode(self, data: &[u8]) -> Vec<u8> {
            match self {
                Coding::Gzip => {
                    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                    encoder.write_all(data).unwrap();
                    encoder.finish().unwrap()
                }
                Coding::Zlib => {
                    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                    encoder.write_all(data).unwrap();
                    encoder.finish().unwrap()
                }
                Coding::Deflate => {
                    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                    encoder.write_all(data).unwrap();
                    encoder.finish().unwrap()
                }
                Coding::Brotli => brotli(data, 5, 22),
                Coding::Zstd => zstd(data, 3, None),
            }
        }
    }

    fn brotli(data: &[u8], quality: u32, window: u32) -> Vec<u8> {
        let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, quality, window);
        encoder.write_all(data).unwrap();
        encoder.into_inner()
    }

    /// As a server does it that doesn't know the length: with a checksum, and without the content's size.
    fn zstd(data: &[u8], level: i32, window_log: Option<u32>) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
        encoder.include_checksum(true).unwrap();
        if let Some(window_log) = window_log {
            encoder.window_log(window_log).unwrap();
        }
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// Feeds the pieces as a reader of a body does, and holds the decoder to its promises on the way.
    fn fed(mut decoder: Decoder, pieces: &[&[u8]], most: usize, body: &mut Vec<u8>) -> Result<()> {
        for piece in pieces {
            let mut rest = *piece;
            loop {
                let before = body.len();
                let (used, state) = decoder.decode(rest, body, most)?;
                let appended = body.len() - before;
                assert!(appended <= most, "{appended} of {most}");
                rest = &rest[used..];
                match state {
                    State::Full => assert_eq!(appended, most, "stopped early"),
                    State::Hungry => {
                        assert!(rest.is_empty(), "input is left");
                        break;
                    }
                }
            }
        }
        decoder.finish()
    }

    fn decoded(coding: Coding, pieces: &[&[u8]], most: usize) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        fed(coding.decoder(), pieces, most, &mut body).map(|()| body)
    }

    #[track_caller]
    fn refused(coding: Coding, bytes: &[u8], reason: Reason, words: &str) {
        let error = decoded(coding, &[bytes], 4096).expect_err(words);
        assert_eq!((error.reason(), error.phase(), error.delivery()), (reason, Phase::Receive, Delivery::Answered));
        assert!(error.to_string().contains(words), "{coding:?}: {error}");
        let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decoded(coding, &one_by_one, 1).expect_err(words).reason(), reason);
    }

    /// Text with repetitions, then noise, so that every kind of block occurs.
    fn mixed(size: usize) -> Vec<u8> {
        let mut seed = 7u32;
        let mut noise = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        (0..size).map(|at| if at % 3000 < 2000 { b"the row of a table, "[at % 20] } else { noise() }).collect()
    }

    #[test]
    fn codings_are_known_by_name_in_any_case_and_unknown_ones_are_left_alone() {
        for name in
            ["gzip", "GZip", "x-gzip", "deflate", "br", "zstd", " gzip ", "identity, gzip", "gzip,identity,", "\tBR,"]
        {
            assert!(Decoder::of(name.as_bytes()).unwrap().is_some(), "{name}");
        }
        for name in
            ["", " ", ",", "identity", "Identity , identity", "compress", "gzipx", "aws-chunked", "gz\u{e9}p", "dcz"]
        {
            assert!(Decoder::of(name.as_bytes()).unwrap().is_none(), "{name}");
        }
        for name in ["gzip, gzip", "gzip,br", "br, identity, gzip", "aws-chunked,gzip", "gzip,gzip,gzip,gzip,gzip"] {
            let error = Decoder::of(name.as_bytes()).err().unwrap();
            assert_eq!((error.reason(), error.delivery()), (Reason::LimitDecode, Delivery::Answered), "{name}");
        }
    }

    #[test]
    fn a_decoder_can_wait_on_any_thread() {
        fn sendable<T: Send>() {}
        sendable::<Decoder>();
    }

    #[test]
    fn an_empty_body_is_whole_coded_or_not() {
        for coding in ALL {
            assert_eq!(decoded(coding, &[], 1).unwrap(), b"", "{coding:?}");
            assert_eq!(decoded(coding, &[b"", b""], 1).unwrap(), b"", "{coding:?}");
            assert_eq!(decoded(coding, &[&coding.encode(b"")], 1).unwrap(), b"", "{coding:?}");
        }
    }

    #[test]
    fn a_caller_that_takes_nothing_gets_nothing_and_loses_nothing() {
        for coding in ALL {
            let (mut decoder, mut body, bytes) = (coding.decoder(), Vec::new(), coding.encode(b"body"));
            assert_eq!(decoder.decode(&bytes, &mut body, 0).unwrap(), (0, State::Full));
            assert_eq!(decoder.decode(&bytes, &mut body, 5).unwrap(), (bytes.len(), State::Hungry));
            assert_eq!((body, decoder.finish().is_ok()), (b"body".to_vec(), true), "{coding:?}");
        }
    }

    #[test]
    fn what_is_decoded_is_appended_to_what_is_there() {
        for coding in ALL {
            let mut body = b"before ".to_vec();
            fed(coding.decoder(), &[&coding.encode(b"after")], 3, &mut body).unwrap();
            assert_eq!(body, b"before after", "{coding:?}");
        }
    }

    #[test]
    fn large_bodies_of_every_level_come_out_as_they_were() {
        let data = mixed(MIB + MIB / 3);
        for coding in ALL {
            assert!(decoded(coding, &[&coding.encode(&data)], 50_000).unwrap() == data, "{coding:?}");
        }
        for (level, window) in [(-5, None), (1, Some(10)), (9, Some(17)), (15, Some(23))] {
            let bytes = zstd(&data, level, window);
            assert!(decoded(Coding::Zstd, &[&bytes], 70_000).unwrap() == data, "zstd {level} {window:?}");
        }
        for (quality, window) in [(0, 10), (1, 16), (4, 24)] {
            let bytes = brotli(&data, quality, window);
            assert!(decoded(Coding::Brotli, &[&bytes], 70_000).unwrap() == data, "br {quality} {window}");
        }
        // With the content's size and without a checksum.
        let bulk = zstd::bulk::compress(&data, 3).unwrap();
        assert!(decoded(Coding::Zstd, &[&bulk], usize::MAX).unwrap() == data);
    }

    #[test]
    fn gzip_members_and_zstd_frames_follow_each_other() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let bytes =
                [coding.encode(b"one "), coding.encode(b""), coding.encode(b"two "), coding.encode(b"three")].concat();
            for at in 0..=bytes.len() {
                let (left, right) = bytes.split_at(at);
                assert_eq!(decoded(coding, &[left, right], 2).unwrap(), b"one two three", "{coding:?} at {at}");
            }
        }
        // A member with every optional part of the header (RFC 1952 2.3): extra, name, comment, its checksum.
        let head = [&[0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3, 2, 0][..], b"xxname\0comment\0"].concat();
        let mut checksum = flate2::Crc::new();
        checksum.update(&head);
        let body = &Coding::Gzip.encode(b"body")[10..];
        let member = [&head, &(checksum.sum() as u16).to_le_bytes()[..], body].concat();
        let one_by_one: Vec<&[u8]> = member.chunks(1).collect();
        assert_eq!(decoded(Coding::Gzip, &one_by_one, 1).unwrap(), b"body");
    }

    #[test]
    fn skippable_zstd_frames_are_skipped() {
        let skipped =
            |length: u32| [&[0x5a, 0x2a, 0x4d, 0x18][..], &length.to_le_bytes(), &vec![7; length as usize]].concat();
        let bytes =
            [skipped(0), Coding::Zstd.encode(b"one "), skipped(300), Coding::Zstd.encode(b"two"), skipped(1)].concat();
        for size in [1, 7, bytes.len()] {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(decoded(Coding::Zstd, &pieces, 3).unwrap(), b"one two");
        }
        refused(Coding::Zstd, &bytes[..bytes.len() - 1], Reason::ProtocolDecode, "cut off");
    }

    #[test]
    fn a_body_cut_off_at_any_byte_is_known() {
        let data = mixed(4000);
        for coding in ALL {
            let bytes = coding.encode(&data);
            for at in 1..bytes.len() {
                let error = decoded(coding, &[&bytes[..at]], 1000).expect_err("cut off");
                assert_eq!(error.reason(), Reason::ProtocolDecode, "{coding:?} at {at}");
                assert!(error.to_string().contains("cut off"), "{coding:?} at {at}: {error}");
            }
        }
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        for coding in ALL {
            let bytes = coding.encode(b"body");
            for garbage in [&b"\0"[..], b"x", b"\0\0\0\0\0\0\0\0", b"HTTP/1.1 200 OK\r\n\r\n"] {
                refused(coding, &[&bytes, garbage].concat(), Reason::ProtocolDecode, "");
            }
        }
        refused(
            Coding::Gzip,
            &[&Coding::Gzip.encode(b"body")[..], &[0x1f]].concat(),
            Reason::ProtocolDecode,
            "cut off",
        );
        refused(
            Coding::Gzip,
            &[&Coding::Gzip.encode(b"body")[..], &[0x1f, 0x8c]].concat(),
            Reason::ProtocolDecode,
            "malformed",
        );
        refused(
            Coding::Brotli,
            &[&Coding::Brotli.encode(b"body")[..], b"x"].concat(),
            Reason::ProtocolDecode,
            "follow the end",
        );
    }

    #[test]
    fn a_wrong_checksum_or_length_is_refused() {
        for (coding, last) in [(Coding::Gzip, 8), (Coding::Zlib, 4), (Coding::Zstd, 4)] {
            let good = coding.encode(b"a body with a checksum");
            for at in good.len() - last..good.len() {
                let mut bytes = good.clone();
                bytes[at] ^= 1;
                refused(coding, &bytes, Reason::ProtocolDecode, "checksum");
            }
        }
        // A zstd frame that announces 5 bytes and holds 4, or 3.
        for size in [3, 5] {
            let bytes = [&FRAME[..], &[0x20, size, 0x21, 0, 0], b"body"].concat();
            refused(Coding::Zstd, &bytes, Reason::ProtocolDecode, "malformed");
        }
        assert_eq!(
            decoded(Coding::Zstd, &[&[&FRAME[..], &[0x20, 4, 0x21, 0, 0], b"body"].concat()], 9).unwrap(),
            b"body"
        );
    }

    #[test]
    fn garbage_is_refused() {
        for coding in ALL {
            for bytes in [&b"<html>not coded at all</html>"[..], b"\xff\xff\xff\xff\xff\xff\xff\xff", &[0; 40]] {
                // A stored block of brotli or deflate may begin with anything; then it ends too early or goes on.
                let error = decoded(coding, &[bytes], 100).expect_err("garbage");
                assert_eq!(error.reason(), Reason::ProtocolDecode, "{coding:?} {bytes:?}");
            }
        }
        for bytes in [
            // Reserved bit; dictionary; reserved kind of block; block over 128 KiB.
            [0x28, 0xb5, 0x2f, 0xfd, 0x28, 1, 0x09, 0, 0, 7],
            [0x28, 0xb5, 0x2f, 0xfd, 0x21, 9, 1, 0x09, 0, 0],
            [0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 0x0f, 0, 0, 7],
            [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x0a, 0, 0x10, 7],
        ] {
            refused(Coding::Zstd, &bytes, Reason::ProtocolDecode, "malformed");
        }
        // zlib with a preset dictionary.
        refused(Coding::Zlib, &[0x78, 0xbb, 0, 0, 0, 1, 3, 0], Reason::ProtocolDecode, "malformed");
    }

    #[test]
    fn after_an_error_every_call_fails() {
        for coding in ALL {
            let mut decoder = coding.decoder();
            let garbage = [0xff; 64];
            assert!(decoder.decode(&garbage, &mut Vec::new(), 100).is_err() || coding == Coding::Deflate);
            let mut decoder = coding.decoder();
            let bytes = coding.encode(b"body");
            let broken = [&bytes[..], b"garbage"].concat();
            decoder.decode(&broken, &mut Vec::new(), 100).unwrap_err();
            let mut body = Vec::new();
            assert_eq!(decoder.decode(&bytes, &mut body, 100).unwrap_err().reason(), Reason::ProtocolDecode);
            assert!(body.is_empty() && decoder.finish().is_err());
        }
    }

    /// A gibibyte of zeros, coded. Deflate's are made of one piece that ends at a byte, again and again.
    fn bomb(coding: Coding) -> Vec<u8> {
        let deflated = || {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&vec![0; MIB]).unwrap();
            encoder.flush().unwrap();
            encoder.get_ref().repeat(1024)
        };
        match coding {
            Coding::Gzip => [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], &deflated()].concat(),
            Coding::Zlib => [&[0x78, 0xda][..], &deflated()].concat(),
            Coding::Deflate => deflated(),
            Coding::Brotli => brotli(&vec![0; 16 * MIB], 1, 24),
            // Window of 8 MiB, blocks of 128 KiB of one byte.
            Coding::Zstd => [&FRAME[..], &[0x00, 0x68], &[0x02, 0, 0x10, 0].repeat(8192)].concat(),
        }
    }

    #[test]
    fn a_bomb_never_grows_beyond_two_mebibytes() {
        for coding in ALL {
            let bytes = bomb(coding);
            for (size, most) in [(bytes.len(), 64 * 1024), (bytes.len(), usize::MAX), (1, 1000), (8192, 64 * 1024)] {
                let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
                let mut body = Vec::new();
                let error = fed(coding.decoder(), &pieces, most, &mut body).expect_err("a bomb");
                assert_eq!(error.reason(), Reason::LimitDecode, "{coding:?}");
                assert!(body.len() <= 2 * MIB, "{coding:?} in pieces of {size}: {}", body.len());
            }
        }
        // Many small bombs in a row are one.
        for coding in [Coding::Gzip, Coding::Zstd] {
            let bytes = coding.encode(&vec![0; MIB]).repeat(20);
            let mut body = Vec::new();
            let error = fed(coding.decoder(), &[&bytes], 64 * 1024, &mut body).expect_err("a bomb");
            assert_eq!((error.reason(), body.len() <= 2 * MIB), (Reason::LimitDecode, true));
        }
    }

    #[test]
    fn what_expands_far_and_is_small_is_no_bomb() {
        for coding in ALL {
            let data = vec![b' '; MIB];
            assert!(decoded(coding, &[&coding.encode(&data)], 10_000).unwrap() == data, "{coding:?}");
        }
    }

    #[test]
    fn a_zstd_window_over_eight_mebibytes_is_over_the_limit() {
        let data = mixed(100_000);
        refused(Coding::Zstd, &zstd(&data, 3, Some(24)), Reason::LimitDecode, "window");
        // A single segment is its own window.
        let bytes = [&FRAME[..], &[0xa0, 1, 0, 0x80, 0]].concat();
        refused(Coding::Zstd, &bytes, Reason::LimitDecode, "window");
        // Large window brotli says so in its first byte.
        refused(Coding::Brotli, &[0x11, 0x1e, 0, 0, 0, 0], Reason::ProtocolDecode, "malformed");
    }

    #[test]
    fn endless_empty_members_and_frames_end_with_their_input() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let bytes = coding.encode(b"").repeat(10_000);
            assert_eq!(decoded(coding, &[&bytes], 1).unwrap(), b"");
        }
    }

    /// Runs, text and noise in any order.
    fn data() -> impl Strategy<Value = Vec<u8>> {
        let run = (any::<u8>(), 1..5000usize).prop_map(|(byte, count)| vec![byte; count]);
        let text =
            (prop::collection::vec(b'a'..=b'z', 1..50), 1..100usize).prop_map(|(word, count)| word.repeat(count));
        let noise = prop::collection::vec(any::<u8>(), 1..3000);
        prop::collection::vec(prop_oneof![run, text, noise], 0..8).prop_map(|parts| parts.concat())
    }

    fn coding() -> impl Strategy<Value = Coding> {
        prop::sample::select(ALL.to_vec())
    }

    fn split<'a>(bytes: &'a [u8], at: &[Index]) -> Vec<&'a [u8]> {
        let mut at: Vec<usize> = at.iter().map(|index| index.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
        at.sort_unstable();
        at.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
    }

    proptest! {
        #[test]
        fn every_coding_gives_back_what_went_in_however_it_is_split(
            coding in coding(),
            data in data(),
            at in prop::collection::vec(any::<Index>(), 0..20),
            most in prop_oneof![1..50usize, 1000..100_000usize],
        ) {
            let bytes = coding.encode(&data);
            prop_assert!(decoded(coding, &split(&bytes, &at), most).unwrap() == data);
        }

        #[test]
        fn a_changed_body_never_panics_and_always_ends(
            coding in coding(),
            data in data(),
            changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8),
            at in prop::collection::vec(any::<Index>(), 0..5),
            most in 100..100_000usize,
        ) {
            let mut bytes = coding.encode(&data);
            for (index, byte) in changes {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            if let Err(error) = decoded(coding, &split(&bytes, &at), most) {
                prop_assert!(matches!(error.reason(), Reason::ProtocolDecode | Reason::LimitDecode));
            }
        }

        #[test]
        fn no_bytes_make_it_panic_and_it_always_ends(
            coding in coding(),
            begin in any::<Index>(),
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
            most in 1..100_000usize,
        ) {
            let head = coding.encode(&mixed(500));
            let bytes = [&head[..begin.index(40.min(head.len()))], &bytes].concat();
            if let Err(error) = decoded(coding, &[&bytes], most) {
                prop_assert!(matches!(error.reason(), Reason::ProtocolDecode | Reason::LimitDecode));
            }
        }
    }
}
