//! Many requests at once, and their outcomes: one crossing for all, unless the answers are more than one array holds.
//!
//! It owns how outcomes are dealt out in blocks.

use std::collections::VecDeque;

use pinlink::Request;

use crate::answer::Answer;
use crate::attachments::Attachments;
use crate::handles::Slots;
use crate::packet::{Malformed, Packing, Unpacking};
use crate::request;

/// A block ends after the row that goes beyond this: few rows fill one, and no block is far above the largest row.
const BLOCK: usize = 16 << 20;

/// Outcomes that have not been fetched.
static LEFT: Slots<VecDeque<Answer>> = Slots::new();

pub(crate) fn unpack(fields: &mut Unpacking<'_>, attachments: &Attachments) -> Result<Vec<Request>, Malformed> {
    let count = fields.count()?;
    // No more than the packet has bytes, whatever it says.
    let mut requests = Vec::with_capacity(count.min(1 << 16));
    for _ in 0..count {
        requests.push(request::unpack(fields, None, attachments)?);
    }
    Ok(requests)
}

/// The first block of these outcomes: the slot in which the others wait (0 for none), how many rows, and each behind
/// its length.
pub(crate) fn pack(mut rows: VecDeque<Answer>) -> Vec<u8> {
    let mut block = Vec::new();
    let mut count = 0_usize;
    while let Some(row) = rows.pop_front() {
        let row = row.within_an_array();
        let start = block.len();
        block.put_length(0);
        row.pack_head(&mut block);
        block.put(row.body());
        let length = u32::try_from(block.len() - start - size_of::<u32>()).unwrap_or(u32::MAX);
        block[start..start + size_of::<u32>()].copy_from_slice(&length.to_ne_bytes());
        count += 1;
        // The next one may be too large to stand behind this.
        if block.len() >= BLOCK || rows.front().is_some_and(|next| block.len() + next.body().len() >= 4 * BLOCK) {
            break;
        }
    }
    let mut packet = Vec::with_capacity(block.len() + 16);
    packet.put_long(if rows.is_empty() { 0 } else { LEFT.insert(rows) });
    packet.put_length(count);
    packet.put(&block);
    packet
}

/// The next block of what waits in a slot.
pub(crate) fn more(slot: i64) -> Vec<u8> {
    pack(LEFT.take(slot).unwrap_or_default())
}
