//! [`PinSet`]: addresses by host as an artefact that outlives a process.
//!
//! It owns the file format (versioned JSON), merging, expiry, suffix rules and the import of hosts files.
//! A first stage or a Spark driver resolves once inside the job's network, saves, ships the file, and
//! every worker imports it without one query. Time comes in as an argument; the only I/O is `load` and
//! `save`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Phase, Reason, Result};
use crate::origin::canonical_host;

/// The version of the file format that this library writes, and the only one it reads.
const VERSION: u32 = 1;

/// How long a pin set may be used after it was resolved, where nobody says otherwise: a day, which is as
/// long as the platform lets a job run.
pub const DEFAULT_VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);

/// A file with more than this is not a pin set: 10,000 hosts take about 2 MiB.
const MAX_FILE: u64 = 64 << 20;

/// The addresses of one host, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The addresses in the order of the answer; never empty.
    pub addresses: Vec<IpAddr>,
    /// The least time to live of the answer, in seconds; absent where nothing was looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// When the name was resolved.
    pub resolved_at: Timestamp,
    /// When this pin may no longer be imported; absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Who answered: a name server's address, `hosts file`, `getaddrinfo` or `by hand`.
    pub resolver: String,
}

impl Pin {
    /// A pin made by hand, which never expires.
    pub fn by_hand(addresses: Vec<IpAddr>, now: Timestamp) -> Pin {
        Pin { addresses, ttl: None, resolved_at: now, expires_at: None, resolver: "by hand".to_owned() }
    }

    /// Whether it may no longer be imported at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// Addresses by host, and by suffix (`*.suffix`) for names that nobody can list ahead.
///
/// ```
/// use pinlink::{Pin, PinSet};
/// let mut pins = PinSet::default();
/// pins.insert("kms.example", Pin::by_hand(vec!["10.0.0.7".parse()?], PinSet::now()))?;
/// let copy = PinSet::from_json(&pins.to_json())?;
/// assert_eq!(copy.find("KMS.example").unwrap().addresses.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinSet {
    pins: BTreeMap<Box<str>, Pin>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    pins: BTreeMap<Box<str>, Pin>,
}

impl PinSet {
    /// The wall clock, for the functions here that take a time.
    pub fn now() -> Timestamp {
        Timestamp::now()
    }

    /// Adds the pin of a host or of a suffix (`*.suffix`), replacing an earlier one.
    ///
    /// # Errors
    /// [`Reason::ConfigInput`] for a malformed host or a pin without addresses.
    pub fn insert(&mut self, host: &str, pin: Pin) -> Result<()> {
        if pin.addresses.is_empty() {
            return Err(Error::input(format!("the pin of {host} has no address")));
        }
        self.pins.insert(canonical_host(host)?, pin);
        Ok(())
    }

    /// The pin of a host: its own, else the one of the longest suffix above it.
    pub fn find(&self, host: &str) -> Option<&Pin> {
        let host = canonical_host(host).ok()?;
        self.find_canonical(&host)
    }

    pub(crate) fn find_canonical(&self, host: &str) -> Option<&Pin> {
        self.pins.get(host).or_else(|| {
            host.match_indices('.').find_map(|(dot, _)| self.pins.get(format!("*{}", &host[dot..]).as_str()))
        })
    }

    /// All hosts and suffixes with their pins, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Pin)> {
        self.pins.iter().map(|(host, pin)| (&**host, pin))
    }

    /// How many hosts and suffixes there are.
    pub fn len(&self) -> usize {
        self.pins.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty()
    }

    /// Takes over every pin of `other`; where both have one, the one resolved later stays.
    pub fn merge(&mut self, other: PinSet) {
        for (host, pin) in other.pins {
            match self.pins.get(&host) {
                Some(ours) if ours.resolved_at > pin.resolved_at => {}
                _ => {
                    self.pins.insert(host, pin);
                }
            }
        }
    }

    /// Drops what has expired at `now` and says how many pins that were.
    pub fn expire(&mut self, now: Timestamp) -> usize {
        let before = self.pins.len();
        self.pins.retain(|_, pin| !pin.is_expired(now));
        before - self.pins.len()
    }

    /// Sets how long after its resolution each pin may be imported.
    pub fn valid_for(&mut self, validity: Duration) {
        let validity = SignedDuration::try_from(validity).unwrap_or(SignedDuration::MAX);
        for pin in self.pins.values_mut() {
            pin.expires_at = pin.resolved_at.checked_add(validity).ok();
        }
    }

    /// Reads a file in the form of /etc/hosts: an address, then its names.
    ///
    /// # Errors
    /// [`Reason::ConfigPinSet`] with the number of the first malformed line.
    pub fn from_hosts_file(text: &str, now: Timestamp) -> Result<PinSet> {
        let mut set = PinSet::default();
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let Some(first) = words.next() else { continue };
            let malformed = || broken(format!("hosts file, line {}: not an address and its names", index + 1));
            let address: IpAddr = first.parse().map_err(|_| malformed())?;
            for name in words {
                let host = canonical_host(name).map_err(|_| malformed())?;
                let pin = set
                    .pins
                    .entry(host)
                    .or_insert_with(|| Pin { resolver: "hosts file".to_owned(), ..Pin::by_hand(Vec::new(), now) });
                if !pin.addresses.contains(&address) {
                    pin.addresses.push(address);
                }
            }
        }
        Ok(set)
    }

    /// The artefact as text: JSON with a version.
    pub fn to_json(&self) -> String {
        let file = File { version: VERSION, pins: self.pins.clone() };
        let mut text = serde_json::to_string_pretty(&file).expect("a pin set is plain data");
        text.push('\n');
        text
    }

    /// Reads the artefact.
    ///
    /// # Errors
    /// [`Reason::ConfigPinSet`] where it is no pin set, or one of another version.
    pub fn from_json(text: &str) -> Result<PinSet> {
        let file: File = serde_json::from_str(text).map_err(|error| broken(format!("not a pin set: {error}")))?;
        if file.version != VERSION {
            return Err(broken(format!("a pin set of version {}; this library reads version {VERSION}", file.version)));
        }
        let mut set = PinSet::default();
        for (host, pin) in file.pins {
            set.insert(&host, pin).map_err(|error| broken(error.detail().to_owned()))?;
        }
        Ok(set)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`PinSet::from_json`], and where the file can't be read.
    pub fn load(path: impl AsRef<Path>) -> Result<PinSet> {
        PinSet::from_json(&read_bounded(path.as_ref())?)
    }

    /// Writes a file, whole or not at all: a reader never sees half of it.
    ///
    /// # Errors
    /// [`Reason::ConfigPinSet`] where the file can't be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        std::fs::write(&temporary, self.to_json())
            .and_then(|()| std::fs::rename(&temporary, path))
            .map_err(|error| broken(format!("{} can't be written: {error}", path.display())).with_source(error))
    }
}

/// Reads a configuration file, refusing one that is too large to be meant.
pub(crate) fn read_bounded(path: &Path) -> Result<String> {
    let failed =
        |error: std::io::Error| broken(format!("{} can't be read: {error}", path.display())).with_source(error);
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE {
        return Err(broken(format!("{} has {size} bytes; {MAX_FILE} are allowed", path.display())));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn broken(detail: String) -> Error {
    Error::new(Reason::ConfigPinSet, Phase::Configure, detail)
}

impl fmt::Display for PinSet {
    /// A line per host: name, addresses, time to live, when and by whom it was resolved, until when it is good.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (host, pin) in &self.pins {
            let addresses = pin.addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ");
            write!(f, "{host}\t{addresses}\tresolved {:.0} by {}", pin.resolved_at, pin.resolver)?;
            if let Some(ttl) = pin.ttl {
                write!(f, ", ttl {ttl} s")?;
            }
            if let Some(end) = pin.expires_at {
                write!(f, ", good until {end:.0}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(address: &str, at: i64) -> Pin {
        Pin::by_hand(vec![address.parse().unwrap()], Timestamp::from_second(at).unwrap())
    }

    #[test]
    fn a_saved_set_loads_as_it_was() {
        let mut set = PinSet::default();
        set.insert("A.Example", pin("10.0.0.1", 100)).unwrap();
        set.insert("*.nodes.example", pin("10.0.0.2", 100)).unwrap();
        set.valid_for(Duration::from_secs(60));
        assert_eq!(PinSet::from_json(&set.to_json()).unwrap(), set);
    }

    #[test]
    fn corrupt_sets_and_other_versions_are_refused() {
        let good = PinSet::default().to_json();
        for bad in [
            "",
            "[]",
            &good[..good.len() - 4],
            &good.replace('1', "2"),
            r#"{"version":1,"pins":{"a":{"addresses":[],"resolved_at":"2026-01-01T00:00:00Z","resolver":"x"}}}"#,
            r#"{"version":1,"pins":{"a b":{"addresses":["1.2.3.4"],"resolved_at":"2026-01-01T00:00:00Z","resolver":"x"}}}"#,
            r#"{"version":1,"pins":{},"more":1}"#,
        ] {
            assert_eq!(PinSet::from_json(bad).unwrap_err().reason(), Reason::ConfigPinSet, "{bad}");
        }
    }

    #[test]
    fn the_longest_suffix_wins_and_the_exact_name_before_it() {
        let mut set = PinSet::default();
        for (host, address) in [("*.example", "1.0.0.1"), ("*.b.example", "1.0.0.2"), ("a.b.example", "1.0.0.3")] {
            set.insert(host, pin(address, 0)).unwrap();
        }
        let found = |host| set.find(host).map(|pin| pin.addresses[0].to_string());
        assert_eq!(found("a.b.example").as_deref(), Some("1.0.0.3"));
        assert_eq!(found("c.b.example").as_deref(), Some("1.0.0.2"));
        assert_eq!(found("c.example").as_deref(), Some("1.0.0.1"));
        assert_eq!(found("example"), None);
    }

    #[test]
    fn merging_keeps_what_was_resolved_later() {
        let mut ours = PinSet::default();
        ours.insert("a", pin("1.0.0.1", 200)).unwrap();
        let mut theirs = PinSet::default();
        theirs.insert("a", pin("1.0.0.2", 100)).unwrap();
        theirs.insert("b", pin("1.0.0.3", 100)).unwrap();
        ours.merge(theirs);
        assert_eq!(ours.find("a").unwrap().addresses[0].to_string(), "1.0.0.1");
        assert_eq!(ours.len(), 2);
    }

    #[test]
    fn expiry_is_counted_from_the_resolution() {
        let mut set = PinSet::default();
        set.insert("a", pin("1.0.0.1", 100)).unwrap();
        set.valid_for(Duration::from_secs(10));
        assert_eq!(set.expire(Timestamp::from_second(109).unwrap()), 0);
        assert_eq!(set.expire(Timestamp::from_second(110).unwrap()), 1);
    }

    #[test]
    fn hosts_files_are_read_as_they_are_written() {
        let text = "# cluster\n10.0.0.1 nn.example nn\n10.0.0.2\tdn1.example # first\n10.0.0.3 nn.example\n";
        let set = PinSet::from_hosts_file(text, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(set.find("nn.example").unwrap().addresses.len(), 2);
        assert_eq!(set.len(), 3);
        let error = PinSet::from_hosts_file("10.0.0.1 a\nnonsense b\n", Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
