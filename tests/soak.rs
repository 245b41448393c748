//! What takes too long for every day: run by `make soak-writes`.

use std::collections::BTreeSet;

use pinlink::{Part, Record, Scope};

/// How many keys, and over how many scopes, operations and shapes of records they are spread.
const KEYS: u64 = 10_000_000;
const SCOPES: u64 = 10;

/// The first 128 bits: what the shortest form of a key has.
fn half(key: pinlink::Key) -> u128 {
    u128::from_str_radix(&key.hex()[..32], 16).expect("hexadecimal digits")
}

/// A key for each number, no two made of the same input.
fn key(scopes: &[Scope], number: u64) -> u128 {
    let scope = &scopes[(number % SCOPES) as usize];
    let record = number / SCOPES;
    half(match record % 5 {
        0 => scope.key("insert", record),
        1 => scope.key("insert", Record::content(&record.to_be_bytes())),
        2 => scope.key("insert", Record::chunk((record % 1000) as u32, record / 1000)),
        // The same digits, cut at different places.
        3 => scope.key("insert", [(record / 1000).to_string(), format!("{:03}", record % 1000)]),
        _ => scope.key("delete", [Part::from(record), Part::Null]),
    })
}

#[test]
#[ignore = "a soak: a minute and 160 MB (make soak-writes)"]
fn ten_million_keys_do_not_collide() {
    let scopes: Vec<Scope> =
        (0..SCOPES).map(|scope| Scope::job(&format!("job {scope}")).expect("a job's key")).collect();
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let mut keys: Vec<u128> = std::thread::scope(|scope| {
        let part = |thread| {
            let scopes = &scopes;
            scope.spawn(move || (thread..KEYS).step_by(threads as usize).map(|number| key(scopes, number)).collect())
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        parts.into_iter().flat_map(|part| -> Vec<u128> { part.join().expect("it ends") }).collect()
    });
    assert_eq!(keys.len() as u64, KEYS);
    keys.sort_unstable();
    let collisions: BTreeSet<u128> = keys.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(collisions.is_empty(), "{collisions:x?}");
}
