//! The figures by their names in the results: how each is said, and which way is better.
//!
//! A figure that is not known here is shown under its own name, less being better, and not drawn.

/// What is known of a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) key: &'static str,
    pub(crate) label: &'static str,
    /// What a chart of it is called.
    pub(crate) title: &'static str,
    pub(crate) more_is_better: bool,
    /// Whether it is drawn; the others are in the tables.
    pub(crate) drawn: bool,
}

const fn less(key: &'static str, label: &'static str, title: &'static str, drawn: bool) -> Figure {
    Figure { key, label, title, more_is_better: false, drawn }
}

const fn more(key: &'static str, label: &'static str, title: &'static str) -> Figure {
    Figure { key, label, title, more_is_better: true, drawn: true }
}

/// All of them, in the order of tables and charts.
pub(crate) const FIGURES: [Figure; 15] = [
    less("p50_us", "p50 µs", "Latency, median, µs", true),
    less("p99_us", "p99 µs", "Latency, 99th percentile, µs", true),
    less("p999_us", "p99.9 µs", "Latency, 99.9th percentile, µs", false),
    more("per_second", "requests/s", "Requests per second"),
    more("mib_per_second", "MiB/s", "MiB per second"),
    less("cpu_us", "CPU µs/request", "CPU per request, µs", true),
    less("cpu_ms", "CPU ms", "CPU of the whole process, ms", true),
    less("wall_ms", "wall ms", "From start to end, ms", true),
    less("ns_per_call", "ns/call", "A call, ns", true),
    less("bytes_each", "bytes each", "Memory of each, bytes", true),
    less("heap_each", "heap bytes each", "Heap of each, bytes", true),
    less("syscalls_per_req", "system calls/request", "System calls per request", false),
    less("heap_bytes", "heap bytes/request", "Allocated per request, bytes", false),
    less("peak_mib", "peak RSS MiB", "Peak memory, MiB", false),
    less("connections", "connections", "Connections opened", false),
];

impl Figure {
    /// Whether its ratio to the limit says something: not where it comes once in a run, as a count or a peak.
    pub(crate) fn has_ratio(self) -> bool {
        self.drawn || self.key == "heap_bytes"
    }
}

/// The figure of this name, if it is known.
pub(crate) fn known(key: &str) -> Option<Figure> {
    FIGURES.into_iter().find(|figure| figure.key == key)
}

/// How a figure of this name is said.
pub(crate) fn label(key: &str) -> String {
    known(key).map_or_else(|| key.replace('_', " "), |figure| figure.label.to_owned())
}

/// These names in the order of tables; what is not known comes last.
pub(crate) fn in_order<'a>(keys: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let place = |key: &str| FIGURES.iter().position(|figure| figure.key == key).unwrap_or(FIGURES.len());
    let mut keys: Vec<&str> = keys.into_iter().collect();
    keys.sort_by_key(|key| (place(key), *key));
    keys.dedup();
    keys
}

/// A number for people: three digits that matter, thousands apart.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if value.fract() == 0.0 => 0,
        0.0..0.995 => 3,
        0.995..9.995 => 2,
        9.995..99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match rest {
        Some(rest) => format!("{sign}{grouped}.{rest}"),
        None => format!("{sign}{grouped}"),
    }
}

/// A ratio: two decimals, fewer where they say nothing.
pub(crate) fn ratio(value: f64) -> String {
    let decimals = if value.abs() < 9.995 { 2 } else { usize::from(value.abs() < 99.95) };
    format!("{value:.decimals$}")
}

/// A point on a curve as people say it: 10 M.
pub(crate) fn count(value: f64) -> String {
    if value >= 1e6 { format!("{} M", number(value / 1e6)) } else { number(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_digits_that_matter() {
        assert_eq!([0.0834, 1.234, 12.34, 123.4, 1234.5].map(number), ["0.083", "1.23", "12.3", "123", "1,234"]);
        assert_eq!([0.0, 7.0, -1500.0, 9.999, 1e6].map(number), ["0", "7", "-1,500", "10.0", "1,000,000"]);
        assert_eq!([1.158, 28.25, 197.6].map(ratio), ["1.16", "28.2", "198"]);
        assert_eq!([1.0, 1e4, 1e7].map(count), ["1", "10,000", "10 M"]);
    }

    #[test]
    fn what_is_not_known_comes_last_under_its_own_name() {
        assert_eq!(in_order(["new_thing", "cpu_us", "p50_us"]), ["p50_us", "cpu_us", "new_thing"]);
        assert_eq!(label("new_thing"), "new thing");
    }
}
