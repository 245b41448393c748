//! How much memory this process has: what is resident, and what is allocated.
//!
//! Resident is what counts, in whole pages and with what the allocator keeps; allocated is exact, with its headers. They
//! don't know the kernel's own buffers of a socket.

/// Bytes, at one moment or between two.
pub(crate) struct Taken {
    pub(crate) resident: i64,
    pub(crate) allocated: i64,
}

impl Taken {
    /// What is there now, after free pages were given back.
    pub(crate) fn now() -> Taken {
        // SAFETY: takes no pointer, and may be called at any time.
        unsafe { libc::malloc_trim(0) };
        // SAFETY: takes nothing and returns plain numbers.
        let heap = unsafe { libc::mallinfo2() };
        Taken { resident: resident(), allocated: (heap.uordblks + heap.hblkhd) as i64 }
    }

    /// What has been taken since then.
    pub(crate) fn since(&self) -> Taken {
        let now = Taken::now();
        Taken { resident: now.resident - self.resident, allocated: now.allocated - self.allocated }
    }
}

/// By `smaps_rollup`, which counts pages exactly where `statm` may lag behind (proc(5)).
fn resident() -> i64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<i64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_seen() {
        let before = Taken::now();
        let held = vec![1_u8; 64 << 20];
        let taken = before.since();
        assert!(held.iter().all(|&byte| byte == 1));
        for seen in [taken.resident, taken.allocated] {
            assert!((60 << 20..80 << 20).contains(&seen), "{seen}");
        }
    }
}
