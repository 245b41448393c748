//! Counters as they cross: each under its name, so that a counter that is added needs nothing here.

use pinlink::Stats;

use crate::packet::Packing;

/// The summary line, then names and numbers.
pub(crate) fn pack(stats: &Stats) -> Vec<u8> {
    let mut counters = Vec::new();
    if let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(&stats.to_json()) {
        for (name, value) in fields {
            match value {
                serde_json::Value::Object(latency) => {
                    counters.extend(latency.into_iter().map(|(part, value)| (format!("{name}_{part}"), value)));
                }
                value => counters.push((name, value)),
            }
        }
    }
    let mut packet = Vec::new();
    packet.put_text(&stats.to_string());
    packet.put_length(counters.len());
    for (name, value) in counters {
        packet.put_text(&name);
        packet.put_long(value.as_i64().unwrap_or(i64::MAX));
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Unpacking;

    #[test]
    fn every_counter_crosses_under_its_name() {
        let stats = Stats::default();
        let packet = pack(&stats);
        let mut fields = Unpacking::new(&packet);
        assert_eq!(fields.text(), Ok(&*stats.to_string()));
        let names: Vec<_> = (0..fields.count().unwrap())
            .map(|_| {
                let name = fields.text().unwrap();
                assert_eq!(fields.long(), Ok(0));
                name
            })
            .collect();
        for name in ["requests", "connections_peak", "latency_p50_us"] {
            assert!(names.contains(&name), "{names:?}");
        }
    }
}
