//! How values cross: fields one behind the other, in the machine's byte order, each of a length that stands before it.
//!
//! It owns reading ([`Unpacking`]) and writing ([`Packing`], [`Room`]) and knows nothing of what the fields mean. A
//! packet is made by the Java side of this very version; what does not fit is an error all the same, never a panic.
//! No I/O, no clock.

/// A packet that is not what its sender says it is: the two sides are not of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A packet that is being read.
#[derive(Clone, Copy)]
pub(crate) struct Unpacking<'a>(&'a [u8]);

impl<'a> Unpacking<'a> {
    pub(crate) fn new(packet: &'a [u8]) -> Unpacking<'a> {
        Unpacking(packet)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (field, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(field)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.fixed::<1>()?[0])
    }

    pub(crate) fn count(&mut self) -> Result<usize, Malformed> {
        usize::try_from(i32::from_ne_bytes(self.fixed()?)).map_err(|_| Malformed)
    }

    pub(crate) fn long(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_ne_bytes(self.fixed()?))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.count()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }
}

/// Where a packet is written to.
pub(crate) trait Packing {
    fn put(&mut self, bytes: &[u8]);

    fn put_byte(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_short(&mut self, value: u16) {
        self.put(&value.to_ne_bytes());
    }

    fn put_int(&mut self, value: u32) {
        self.put(&value.to_ne_bytes());
    }

    fn put_long(&mut self, value: i64) {
        self.put(&value.to_ne_bytes());
    }

    /// A length, which Java reads as an `int`: what is longer is refused before it is packed.
    fn put_length(&mut self, length: usize) {
        self.put_int(u32::try_from(length).unwrap_or(u32::MAX));
    }

    /// A length that is nearly always short, in as few bytes as it takes: seven bits in each, the last of which has the
    /// eighth bit off.
    fn put_short_length(&mut self, length: usize) {
        let mut left = u32::try_from(length).unwrap_or(u32::MAX);
        while left >= 0x80 {
            self.put_byte(left.to_le_bytes()[0] | 0x80);
            left >>= 7;
        }
        self.put_byte(left.to_le_bytes()[0]);
    }

    fn put_text(&mut self, text: &str) {
        self.put_length(text.len());
        self.put(text.as_bytes());
    }
}

impl Packing for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Memory of the caller's. What does not fit is only counted, so that the caller learns how much there is.
pub(crate) struct Room<'a> {
    memory: &'a mut [u8],
    written: usize,
}

impl<'a> Room<'a> {
    pub(crate) fn new(memory: &'a mut [u8]) -> Room<'a> {
        Room { memory, written: 0 }
    }

    /// How long the packet is, where all of it fitted.
    pub(crate) fn length(&self) -> Option<usize> {
        (self.written <= self.memory.len()).then_some(self.written)
    }
}

impl Packing for Room<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.written.saturating_add(bytes.len());
        if let Some(room) = self.memory.get_mut(self.written..end) {
            room.copy_from_slice(bytes);
        }
        self.written = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_what_is_unpacked() {
        let mut packet = Vec::new();
        packet.put_byte(7);
        packet.put_long(-8);
        packet.put_text("caf\u{e9}");
        packet.put_length(3);
        let mut fields = Unpacking::new(&packet);
        assert_eq!(fields.byte(), Ok(7));
        assert_eq!(fields.long(), Ok(-8));
        assert_eq!(fields.text(), Ok("caf\u{e9}"));
        assert_eq!(fields.count(), Ok(3));
        assert_eq!(fields.byte(), Err(Malformed));
    }

    #[test]
    fn a_short_length_takes_a_byte_for_seven_bits() {
        let packed = |length| {
            let mut packet = Vec::new();
            packet.put_short_length(length);
            packet
        };
        assert_eq!([packed(0), packed(127)], [[0], [127]]);
        assert_eq!([packed(128), packed(0x3fff)], [[0x80, 1], [0xff, 0x7f]]);
        assert_eq!(packed(1 << 20), [0x80, 0x80, 0x40]);
        assert_eq!(packed(usize::MAX), [0xff, 0xff, 0xff, 0xff, 0x0f]);
    }

    #[test]
    fn a_length_beyond_the_packet_and_a_negative_one_are_malformed() {
        assert_eq!(Unpacking::new(&5_u32.to_ne_bytes()).bytes(), Err(Malformed));
        assert_eq!(Unpacking::new(&(-1_i32).to_ne_bytes()).bytes(), Err(Malformed));
        assert_eq!(Unpacking::new(&[1, 2]).count(), Err(Malformed));
        let mut packet = Vec::new();
        packet.put_length(1);
        packet.put_byte(0xff);
        assert_eq!(Unpacking::new(&packet).text(), Err(Malformed));
    }

    #[test]
    fn what_does_not_fit_leaves_the_memory_behind_it_alone() {
        let mut memory = [9_u8; 8];
        let mut room = Room::new(&mut memory[..4]);
        room.put(&[1, 2, 3]);
        assert_eq!(room.length(), Some(3));
        room.put(&[4, 5]);
        assert_eq!(room.length(), None);
        assert_eq!(memory, [1, 2, 3, 9, 9, 9, 9, 9]);
    }
}
