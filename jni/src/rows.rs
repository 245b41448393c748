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

/// No block is above this, unless by one row alone: a heap in pieces has room for it, and who keeps a row keeps its
/// block.
const BLOCK: usize = 256 << 10;

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

/// Hands over the first block of these outcomes as `offer` can: the slot in which the others wait (0 for none), how
/// many rows, and each behind its length. What there is no room for is halved, down to one row, of which then only the
/// head is told: no row takes another one's outcome with it.
pub(crate) fn deal<A>(mut rows: VecDeque<Answer>, mut offer: impl FnMut(Answer) -> Option<A>) -> Option<A> {
    rows = rows.into_iter().map(Answer::within_an_array).collect();
    let mut most = usize::MAX;
    loop {
        let (block, count) = block(&rows, most);
        let left = rows.split_off(count);
        let slot = if left.is_empty() { 0 } else { LEFT.insert(left) };
        let mut packet = Vec::with_capacity(block.len() + 16);
        packet.put_long(slot);
        packet.put_length(count);
        packet.put(&block);
        drop(block);
        if let Some(offered) = offer(Answer::Value(packet)) {
            return Some(offered);
        }
        rows.extend(LEFT.take(slot).unwrap_or_default());
        most = count / 2;
        if most == 0 {
            let first = rows.pop_front().filter(|first| !first.is_without_body())?;
            rows.push_front(first.without_body());
            most = 1;
        }
    }
}

/// As many of the first rows as make a block, and how many they are.
fn block(rows: &VecDeque<Answer>, most: usize) -> (Vec<u8>, usize) {
    let mut block = Vec::new();
    let mut count = 0;
    for row in rows.iter().take(most) {
        if count > 0 && block.len() + row.body().len() > BLOCK {
            break;
        }
        let start = block.len();
        block.put_length(0);
        row.pack_head(&mut block);
        block.put(row.body());
        let length = u32::try_from(block.len() - start - size_of::<u32>()).unwrap_or(u32::MAX);
        block[start..start + size_of::<u32>()].copy_from_slice(&length.to_ne_bytes());
        count += 1;
    }
    (block, count)
}

/// What waits in a slot.
pub(crate) fn take(slot: i64) -> VecDeque<Answer> {
    LEFT.take(slot).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long each row is that came over, by blocks of so many bytes at most; 0 stands for one that failed.
    fn dealt(rows: &[usize], most: usize) -> Option<Vec<usize>> {
        let mut waiting = rows.iter().map(|length| Answer::Value(vec![7; *length])).collect();
        let mut seen = Vec::new();
        loop {
            let block = deal(waiting, |block| Some(block.body().to_vec()).filter(|block| block.len() <= most))?;
            let mut fields = Unpacking::new(&block);
            let (slot, count) = (fields.long().unwrap(), fields.count().unwrap());
            for _ in 0..count {
                let row = fields.bytes().unwrap();
                seen.push(if row[0] == 1 { 0 } else { row.len() - 1 });
            }
            if slot == 0 {
                return Some(seen);
            }
            waiting = take(slot);
        }
    }

    #[test]
    fn every_row_comes_over_in_its_order_however_small_the_blocks_are() {
        let rows = [10, BLOCK, 300, 20, BLOCK / 2, 4 * BLOCK, 1];
        for most in [usize::MAX, 5 * BLOCK, BLOCK + 1000] {
            let told = rows.map(|length| if length > most { 0 } else { length });
            assert_eq!(dealt(&rows, most), Some(told.to_vec()), "{most}");
        }
        assert_eq!(dealt(&rows, 400), Some(vec![10, 0, 300, 20, 0, 0, 1]));
        assert_eq!(dealt(&[], 400), Some(vec![]));
    }

    #[test]
    fn where_there_is_no_room_at_all_nothing_is_handed_over() {
        assert_eq!(dealt(&[10, 20], 15), None);
    }
}
