//! The lines that a worker reads and answers, and what a turn is.
//!
//! `warm COUNT` makes turns until they get no faster; `COUNT MILLISECONDS` is a turn. Each is answered with a line of
//! JSON. Times are the monotonic clock's; CPU time is counted by whoever asked.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::asked::Result;

/// Warming ends here at the latest.
const WARM: Duration = Duration::from_secs(10);
/// It ends earlier when so many turns in a row were no faster than the best one by more than a fiftieth.
const STALE: usize = 4;

/// What is said of a turn.
#[derive(Serialize)]
pub(crate) struct Figures {
    pub(crate) requests: usize,
    pub(crate) seconds: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) latencies_ns: Vec<u64>,
    /// By the driver's names.
    #[serde(flatten)]
    pub(crate) more: BTreeMap<&'static str, f64>,
}

impl Figures {
    pub(crate) fn new(requests: usize, begun: Instant) -> Figures {
        let seconds = begun.elapsed().as_secs_f64();
        Figures { requests, seconds, latencies_ns: Vec::new(), more: BTreeMap::new() }
    }
}

/// One exchange, its answer checked.
pub(crate) type Call = Box<dyn FnMut() -> Result<()>>;
/// So many exchanges, each answer checked.
pub(crate) type Batch = Box<dyn FnMut(usize) -> Result<()>>;
/// So many calls, or batches of so many until so much time has passed.
pub(crate) type Turn = Box<dyn FnMut(usize, Duration) -> Result<Figures>>;

/// Turns of single calls, each with its time.
pub(crate) fn one_by_one(mut call: Call) -> Turn {
    Box::new(move |count, _at_least| {
        let mut latencies_ns = Vec::with_capacity(count);
        let begun = Instant::now();
        for _ in 0..count {
            let sent = Instant::now();
            call()?;
            latencies_ns.push(sent.elapsed().as_nanos() as u64);
        }
        Ok(Figures { latencies_ns, ..Figures::new(count, begun) })
    })
}

/// Turns of batches.
pub(crate) fn at_once(mut batch: Batch) -> Turn {
    Box::new(move |count, at_least| {
        let (begun, mut requests) = (Instant::now(), 0);
        while requests == 0 || begun.elapsed() < at_least {
            batch(count)?;
            requests += count;
        }
        Ok(Figures::new(requests, begun))
    })
}

/// Turns until they get no faster: connections are there, caches are warm, what adapts has adapted.
fn warm(turn: &mut Turn, count: usize) -> Result<()> {
    let (begun, mut best, mut stale) = (Instant::now(), f64::INFINITY, 0);
    while stale < STALE && begun.elapsed() < WARM {
        let Figures { requests, seconds, .. } = turn(count, Duration::ZERO)?;
        let each = seconds / requests as f64;
        stale = if each < best * 0.98 { 0 } else { stale + 1 };
        best = best.min(each);
    }
    Ok(())
}

/// Makes the peer when the first line comes, and takes turns until the input ends.
pub(crate) fn serve(make: impl Fn() -> Result<Turn>) -> Result<()> {
    let mut made = None;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let mut answer = || -> Result<String> {
            let turn = match &mut made {
                Some(turn) => turn,
                None => made.insert(make()?),
            };
            let (first, second) = line.split_once(' ').ok_or("a line has two words")?;
            if first == "warm" {
                warm(turn, second.parse()?)?;
                return Ok("{}".to_owned());
            }
            let figures = turn(first.parse()?, Duration::from_millis(second.parse()?))?;
            Ok(serde_json::to_string(&figures)?)
        };
        let answer = answer().unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }).to_string());
        let mut output = io::stdout().lock();
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_of_a_turn_has_its_time() {
        let mut turn = one_by_one(Box::new(|| Ok(())));
        let figures = turn(3, Duration::ZERO).unwrap();
        assert_eq!((figures.requests, figures.latencies_ns.len()), (3, 3));
        let said = serde_json::to_value(&figures).unwrap();
        assert_eq!(said["requests"], 3);
    }

    #[test]
    fn a_turn_is_at_least_one_whole_batch() {
        let mut turn = at_once(Box::new(|count| if count == 7 { Ok(()) } else { Err("another size".into()) }));
        assert_eq!(turn(7, Duration::ZERO).unwrap().requests, 7);
        assert!(turn(8, Duration::ZERO).is_err());
    }

    #[test]
    fn warming_ends_when_turns_get_no_faster() {
        let mut turns = 0_usize;
        let mut turn: Turn = Box::new(move |requests, _| {
            turns += 1;
            assert!(turns <= 3 + STALE);
            let seconds = if turns < 4 { 4.0 - turns as f64 } else { 1.0 };
            Ok(Figures { requests, seconds, latencies_ns: Vec::new(), more: BTreeMap::new() })
        });
        warm(&mut turn, 10).unwrap();
    }
}
