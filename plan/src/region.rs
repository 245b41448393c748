//! Regions by any name that people have for them, and zones.
//!
//! It owns which spellings count as one (letters and digits, whatever stands between them) and which names are near.

use crate::facts::{Facts, Region};

/// How many near names are told.
const NEAREST: usize = 3;

/// Letters and digits in lower case: `China (Hangzhou)`, `china hangzhou` and `CHINA（HANGZHOU）` are one.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A region by id or name.
pub(crate) fn find<'f>(facts: &'f Facts, name: &str) -> Result<&'f Region, String> {
    let wanted = plain(name);
    let spellings = |region: &'f Region| std::iter::once(&region.id).chain(&region.names);
    if let Some(region) = facts.regions.iter().find(|region| spellings(region).any(|known| plain(known) == wanted)) {
        return Ok(region);
    }
    let mut near: Vec<_> = facts
        .regions
        .iter()
        .map(|region| {
            let likeness =
                spellings(region).map(|known| strsim::normalized_damerau_levenshtein(&plain(known), &wanted));
            (likeness.fold(0.0, f64::max), region)
        })
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let near: Vec<_> = near.iter().take(NEAREST).map(|(_, it)| format!("{} ({})", it.id, it.name())).collect();
    Err(format!("{name:?} is no region that is known here; the nearest are {}", near.join(", ")))
}

/// A zone by its letter or id: `H`, `zone h`, `cn-hangzhou-h`, `ゾーン H`, `可用区 H`. The region is that of the id, if it is one.
pub(crate) fn zone<'f>(facts: &'f Facts, text: &str) -> Result<(char, Option<&'f Region>), String> {
    let bare = text.trim();
    let malformed = || format!("{text:?} is no zone: write its letter (H) or its id (cn-hangzhou-h)");
    let letter = bare.chars().last().filter(char::is_ascii_alphabetic).ok_or_else(malformed)?.to_ascii_uppercase();
    let before = bare[..bare.len() - 1].trim();
    let word = before.to_lowercase();
    if ["", "zone", "ゾーン", "可用区"].contains(&word.as_str()) {
        return Ok((letter, None));
    }
    let id = word.strip_suffix('-').unwrap_or(&word);
    match facts.regions.iter().find(|region| region.id == id) {
        Some(region) => Ok((letter, Some(region))),
        None => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_is_found_by_its_id_and_by_each_of_its_names() {
        let facts = Facts::published();
        for region in &facts.regions {
            for name in std::iter::once(&region.id).chain(&region.names) {
                for spelling in [name.clone(), name.to_uppercase(), name.replace(" (", "（").replace(')', "）")] {
                    assert_eq!(find(facts, &spelling).expect(name).id, region.id, "{spelling}");
                }
            }
        }
    }

    #[test]
    fn an_unknown_region_is_told_the_nearest_names() {
        let facts = Facts::published();
        for (name, nearest) in [
            ("cn-hangzou", "cn-hangzhou"),
            ("ap-northeast-11", "ap-northeast-1"),
            ("Frankfort", "eu-central-1"),
            ("クアラルンプル", "ap-southeast-3"),
            ("中国 (杭洲)", "cn-hangzhou"),
        ] {
            let fault = find(facts, name).expect_err(name);
            assert!(fault.contains(&format!("the nearest are {nearest} ")), "{fault}");
        }
    }

    #[test]
    fn a_zone_is_a_letter_or_an_id() {
        let facts = Facts::published();
        for (text, letter, region) in [
            ("H", 'H', None),
            ("h", 'H', None),
            ("Zone h", 'H', None),
            ("ゾーン H", 'H', None),
            ("可用区H", 'H', None),
            ("cn-hangzhou-h", 'H', Some("cn-hangzhou")),
            ("ap-southeast-1a", 'A', Some("ap-southeast-1")),
        ] {
            let (found, of) = zone(facts, text).expect(text);
            assert_eq!((found, of.map(|region| region.id.as_str())), (letter, region), "{text}");
        }
        for bad in ["", "7", "cn-nowhere-h", "HH", "ゾーン"] {
            assert!(zone(facts, bad).is_err(), "{bad}");
        }
    }
}
