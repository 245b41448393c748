//! Encoded bodies, right and treacherous: cut off, with garbage at the end, encoded many times over, or bombs.
//!
//! Owns: `/encoded/{coding}/{n}` (`?members=k` gzip members, `?cut=m` bytes missing at the end, `?garbage=m` bytes
//! appended, `?times=k` encoded so often) and `/bomb/{coding}/{mib}`, for gzip, deflate, br and zstd. Every body is
//! sent without its length, so that the framing is always right. No time, no randomness.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compression, Crc};
use http::request::Parts;
use http::{HeaderValue, Response, header};

use crate::content::{Content, Made, pattern};
use crate::routes::{number, parameter};

/// The largest body that is encoded, and the largest bomb, in MiB.
const LARGEST: u64 = 64 << 20;
const LARGEST_BOMB: u64 = 16 << 10;

/// How often at most.
const TIMES: u64 = 16;

const MIB: usize = 1 << 20;

/// A content coding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    fn named(name: &str) -> Option<Coding> {
        Some(match name {
            "gzip" => Coding::Gzip,
            "deflate" => Coding::Deflate,
            "br" => Coding::Brotli,
            "zstd" => Coding::Zstd,
            _ => return None,
        })
    }

    fn encode(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            // RFC 9110 8.4.1.2: "deflate" is the zlib format.
            Coding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Coding::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 4, 18);
                encoder.write_all(bytes)?;
                Ok(encoder.into_inner())
            }
            Coding::Zstd => zstd::bulk::compress(bytes, 1),
        }
    }

    /// So many MiB of zeros, put together from one encoded MiB, or a bomb would take as long to make as to explode.
    fn bomb(self, mib: usize) -> io::Result<Vec<u8>> {
        let zeros = vec![0; MIB];
        match self {
            Coding::Gzip => {
                let mut sum = Crc::new();
                let mut one = Crc::new();
                one.update(&zeros);
                for _ in 0..mib {
                    sum.combine(&one);
                }
                let mut bomb = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];
                bomb.extend(deflated(&zeros, mib)?);
                bomb.extend(sum.sum().to_le_bytes());
                bomb.extend(((mib * MIB) as u32).to_le_bytes());
                Ok(bomb)
            }
            Coding::Deflate => {
                let mut bomb = vec![0x78, 0x9C];
                bomb.extend(deflated(&zeros, mib)?);
                // Adler-32 of zeros: the first sum stays 1, the second counts them.
                bomb.extend((((mib * MIB % 65521) as u32) << 16 | 1).to_be_bytes());
                Ok(bomb)
            }
            Coding::Brotli => {
                // From the second MiB on, what the encoder says is always the same.
                let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 1, 22);
                let mut ends = [0; 2];
                for end in ends.iter_mut().take(mib) {
                    encoder.write_all(&zeros)?;
                    encoder.flush()?;
                    *end = encoder.get_ref().len();
                }
                let [first, second] = ends;
                let whole = encoder.into_inner();
                if mib < 2 {
                    return Ok(whole);
                }
                let more = whole[first..second].repeat(mib - 1);
                Ok([&whole[..first], &more, &whole[second..]].concat())
            }
            Coding::Zstd => {
                // Magic number, no content size, a window of 128 KiB; then blocks of 128 KiB, each one repeated byte.
                let mut bomb = vec![0x28, 0xB5, 0x2F, 0xFD, 0, 7 << 3];
                let block = (1_u32 << 17) << 3 | 1 << 1;
                for _ in 0..mib * 8 {
                    bomb.extend(&block.to_le_bytes()[..3]);
                    bomb.push(0);
                }
                // The last block: raw, empty.
                bomb.extend([1, 0, 0]);
                Ok(bomb)
            }
        }
    }
}

/// The same bytes again and again as one raw deflate stream: after a full flush nothing refers back, and the next block
/// starts with a byte.
fn deflated(bytes: &[u8], times: usize) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::Compress::new(Compression::best(), false);
    let mut block = Vec::with_capacity(bytes.len());
    encoder.compress_vec(bytes, &mut block, flate2::FlushCompress::Full).map_err(io::Error::other)?;
    let mut stream = block.repeat(times);
    // An empty last block with fixed codes.
    stream.extend([3, 0]);
    Ok(stream)
}

fn said(body: Vec<u8>, coding: &str, times: usize) -> Option<Response<Content>> {
    let mut response = Response::new(Content::Made(Made::kept(Bytes::from(body))));
    let codings = vec![coding; times].join(", ");
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::try_from(codings).ok()?);
    Some(response)
}

pub(crate) fn encoded(parts: &Parts, name: &str, length: u64) -> Option<Response<Content>> {
    let coding = Coding::named(name)?;
    let asked = |what: &str| parameter(parts.uri.query(), what).as_deref().and_then(number);
    if length > LARGEST {
        return None;
    }
    let times = asked("times").unwrap_or(1).clamp(1, TIMES) as usize;
    let members = asked("members").filter(|_| coding == Coding::Gzip).unwrap_or(1).max(1);
    let mut body = pattern(length as usize).to_vec();
    for turn in 0..times {
        let size = if turn == 0 { body.len().div_ceil(members as usize).max(1) } else { body.len() };
        let mut coded = Vec::new();
        for member in body.chunks(size) {
            coded.extend(coding.encode(member).ok()?);
        }
        if body.is_empty() {
            coded = coding.encode(&[]).ok()?;
        }
        body = coded;
    }
    let cut = asked("cut").unwrap_or(0) as usize;
    body.truncate(body.len().saturating_sub(cut));
    // Neither text nor the start of anything encoded.
    body.resize(body.len() + asked("garbage").unwrap_or(0).min(LARGEST) as usize, 0xA5);
    said(body, name, times)
}

pub(crate) fn bomb(name: &str, mib: u64) -> Option<Response<Content>> {
    let coding = Coding::named(name)?;
    if mib > LARGEST_BOMB {
        return None;
    }
    said(coding.bomb(mib as usize).ok()?, name, 1)
}
