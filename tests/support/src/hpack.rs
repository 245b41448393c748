//! HPACK (RFC 7541): all of it to read a client's request heads, and single pieces to write heads with, right or not.
//!
//! Owns: the static table, the Huffman code (it is canonical, so its lengths say all), a connection's dynamic table,
//! and prefixed integers. Written by hand because a right library refuses to write what is wrong. No time, no randomness.

use std::collections::VecDeque;

/// A field's name and value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// What a decoder's dynamic table may hold unless told otherwise, and what every entry costs besides its bytes.
const TABLE: usize = 4096;
const ENTRY: usize = 32;

/// RFC 7541, appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// RFC 7541, appendix B: the code lengths of the 256 bytes and of the end.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// One connection's dynamic table, newest entry first.
#[derive(Debug)]
pub(crate) struct Decoder {
    entries: VecDeque<Field>,
    size: usize,
    limit: usize,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Decoder { entries: VecDeque::new(), size: 0, limit: TABLE }
    }

    /// The fields of one whole block; `None` when it is no HPACK.
    pub(crate) fn decode(&mut self, mut block: &[u8]) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        while let Some(first) = block.first() {
            match first {
                0x80.. => fields.push(self.entry(read_integer(&mut block, 7)?)?),
                0x40.. => {
                    let field = self.literal(&mut block, 6)?;
                    self.insert(field.clone());
                    fields.push(field);
                }
                0x20.. => {
                    self.limit = read_integer(&mut block, 5)?;
                    self.evict();
                }
                _ => fields.push(self.literal(&mut block, 4)?),
            }
        }
        Some(fields)
    }

    fn entry(&self, index: usize) -> Option<Field> {
        let at = index.checked_sub(1)?;
        match STATIC.get(at) {
            Some((name, value)) => Some((name.as_bytes().to_vec(), value.as_bytes().to_vec())),
            None => self.entries.get(at - STATIC.len()).cloned(),
        }
    }

    fn literal(&self, block: &mut &[u8], prefix: u32) -> Option<Field> {
        let name = match read_integer(block, prefix)? {
            0 => read_string(block)?,
            index => self.entry(index)?.0,
        };
        Some((name, read_string(block)?))
    }

    fn insert(&mut self, field: Field) {
        self.size += field.0.len() + field.1.len() + ENTRY;
        self.entries.push_front(field);
        self.evict();
    }

    fn evict(&mut self) {
        while self.size > self.limit {
            let Some((name, value)) = self.entries.pop_back() else {
                return;
            };
            self.size -= name.len() + value.len() + ENTRY;
        }
    }
}

fn read_integer(block: &mut &[u8], prefix: u32) -> Option<usize> {
    let (first, mut rest) = block.split_first()?;
    let most = (1 << prefix) - 1;
    let mut value = usize::from(*first) & most;
    if value == most {
        for shift in (0..).step_by(7).take(4) {
            let (byte, tail) = rest.split_first()?;
            rest = tail;
            value += usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                *block = rest;
                return Some(value);
            }
        }
        return None;
    }
    *block = rest;
    Some(value)
}

fn read_string(block: &mut &[u8]) -> Option<Vec<u8>> {
    let coded = block.first()? & 0x80 != 0;
    let length = read_integer(block, 7)?;
    let (text, rest) = block.split_at_checked(length)?;
    *block = rest;
    if coded { unhuffman(text) } else { Some(text.to_vec()) }
}

/// Canonical: codes of one length are consecutive, in the order of their symbols, and follow the shorter ones.
fn unhuffman(coded: &[u8]) -> Option<Vec<u8>> {
    let mut symbols: Vec<usize> = (0..LENGTHS.len()).collect();
    symbols.sort_by_key(|symbol| LENGTHS[*symbol]);
    let mut text = Vec::new();
    // The code so far, its length, the first code of that length, and where that code's symbol is.
    let (mut code, mut length, mut first, mut at) = (0_u32, 0_u8, 0_u32, 0_usize);
    let bits = coded.iter().flat_map(|byte| (0..8).rev().map(move |bit| u32::from(byte >> bit & 1)));
    for bit in bits {
        code = code << 1 | bit;
        first <<= 1;
        length += 1;
        let here = symbols[at..].iter().take_while(|symbol| LENGTHS[**symbol] == length).count();
        if ((code - first) as usize) < here {
            let symbol = symbols[at + (code - first) as usize];
            text.push(u8::try_from(symbol).ok()?);
            (code, length, first, at) = (0, 0, 0, 0);
        } else {
            first += here as u32;
            at += here;
        }
    }
    // What is left is padding: fewer than eight ones.
    (length < 8 && code == (1 << length) - 1).then_some(text)
}

/// An integer behind the flags in the first byte's upper bits.
fn integer(flags: u8, prefix: u32, value: usize) -> Vec<u8> {
    let most = (1 << prefix) - 1;
    if value < most {
        return vec![flags | value as u8];
    }
    let mut bytes = vec![flags | most as u8];
    let mut rest = value - most;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn text(text: &[u8]) -> Vec<u8> {
    [integer(0, 7, text.len()), text.to_vec()].concat()
}

/// A field that no table remembers.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0], text(name.as_bytes()), text(value.as_bytes())].concat()
}

/// A field that becomes the newest entry of the reader's dynamic table.
pub(crate) fn remembered(name: &str, value: &str) -> Vec<u8> {
    [vec![0x40], text(name.as_bytes()), text(value.as_bytes())].concat()
}

/// A reference into the tables.
pub(crate) fn indexed(index: usize) -> Vec<u8> {
    integer(0x80, 7, index)
}

/// A new size of the reader's dynamic table.
pub(crate) fn table_size(size: usize) -> Vec<u8> {
    integer(0x20, 5, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(expected: &[(&str, &str)]) -> Option<Vec<Field>> {
        Some(expected.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect())
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
        digits.chunks(2).map(|two| u8::from_str_radix(&String::from_iter(two), 16).expect("hex")).collect()
    }

    #[test]
    fn the_examples_of_the_rfc_decode() {
        let mut decoder = Decoder::new();
        let first = bytes("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff");
        let common = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        assert_eq!(decoder.decode(&first), fields(&common));
        let second = bytes("8286 84be 5886 a8eb 1064 9cbf");
        assert_eq!(decoder.decode(&second), fields(&[&common[..], &[("cache-control", "no-cache")]].concat()));
        let third = bytes("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf");
        let last = [(":method", "GET"), (":scheme", "https"), (":path", "/index.html"), common[3]];
        assert_eq!(decoder.decode(&third), fields(&[&last[..], &[("custom-key", "custom-value")]].concat()));
        assert_eq!(decoder.size, 164);
    }

    #[test]
    fn what_is_written_is_read() {
        let long = "v".repeat(5000);
        let block = [field("x-a", "1"), remembered("x-b", "2"), indexed(62), table_size(0), field("x-c", &long)];
        let expected = fields(&[("x-a", "1"), ("x-b", "2"), ("x-b", "2"), ("x-c", &long)]);
        assert_eq!(Decoder::new().decode(&block.concat()), expected);
        assert_eq!(Decoder::new().decode(&indexed(62)), None);
    }
}
