//! Flame graphs: where a row's processor time goes, drawn from its folded stacks.
//!
//! Width is time, a frame stands on its caller, and neighbours are in the order of their names: nothing says what came
//! first. What is too thin to be seen is one box with its likes, so that no time is lost from sight. The driver records
//! (`benches/peers`); here the same stacks always become the same file, which loads nothing and runs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::chart::{Result, escaped};
use crate::figure::number;
use crate::page::brief;

/// The folder of the drawings, beside the page.
const FOLDER: &str = "flames";
/// What the driver has written for each of them.
const FOLDED: &str = "folded";

/// The width of a drawing, what is left free on each side, and the height of a frame.
const WIDTH: f64 = 1200.0;
const EDGE: f64 = 14.0;
const ROW: f64 = 17.0;
/// What stands above the frames.
const HEAD: f64 = 62.0;
/// About what a letter takes, and what a frame needs to have any.
const LETTER: f64 = 6.1;
const LEAST_LETTERS: usize = 3;

/// A frame is drawn from this share of all samples on, or from the first larger one at which the file is small enough.
const SHARES: [f64; 7] = [0.005, 0.007, 0.01, 0.014, 0.02, 0.03, 0.05];
const LARGEST: usize = 60_000;

/// What the driver marks a frame of the kernel with.
const KERNEL: &str = "_[k]";
/// What a stack begins with.
const THREAD: &str = "thread ";

/// What was recorded of a row, as the first line of its file says.
#[derive(Deserialize)]
struct Told {
    language: String,
    workload: String,
    row: String,
    version: String,
    commit: String,
    hertz: u64,
    cpu_us: f64,
    per: String,
}

/// A frame with what it has called.
#[derive(Default)]
struct Frame {
    /// Samples in it and in what it has called.
    samples: u64,
    called: BTreeMap<String, Frame>,
}

/// A box of the drawing: frames that are too thin have one together.
#[derive(Debug, PartialEq)]
struct Drawn {
    name: String,
    kind: &'static str,
    samples: u64,
    /// Samples to the left of it, and callers below it.
    from: u64,
    depth: usize,
}

/// The drawings that there are, for who links to them.
#[derive(Default)]
pub(crate) struct Flames(BTreeSet<String>);

impl Flames {
    /// Draws what was recorded anew; what was drawn before and not recorded again stays.
    pub(crate) fn draw(fresh: &Path, kept: &Path) -> Result<Flames> {
        let kept = kept.join(FOLDER);
        for (name, path) in files(&fresh.join(FOLDER), FOLDED)? {
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let drawing = drawing(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            fs::create_dir_all(&kept)?;
            fs::write(kept.join(name + ".svg"), drawing)?;
        }
        Ok(Flames(files(&kept, "svg")?.into_keys().collect()))
    }

    /// Where the drawing of a row is, as seen from the page.
    pub(crate) fn of(&self, language: &str, workload: &str, row: &str) -> Option<String> {
        let name = name(language, workload, row);
        self.0.contains(&name).then(|| format!("{FOLDER}/{name}.svg"))
    }
}

/// What the files of a row are called; the driver says the same.
fn name(language: &str, workload: &str, row: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' };
    let words: String = row.chars().map(plain).collect();
    format!("{language}-{workload}-{}", words.split_whitespace().collect::<Vec<_>>().join("-"))
}

/// The files of a kind in a folder, by their names; none where there is no folder.
fn files(folder: &Path, kind: &str) -> Result<BTreeMap<String, std::path::PathBuf>> {
    let mut found = BTreeMap::new();
    if folder.is_dir() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
            if let Some(name) = name.filter(|_| path.extension().is_some_and(|its| its == kind)) {
                found.insert(name, path);
            }
        }
    }
    Ok(found)
}

/// A file of folded stacks as a drawing of its own.
fn drawing(text: &str) -> Result<String> {
    let (first, stacks) = text.split_once('\n').ok_or("no line of stacks")?;
    let told: Told = serde_json::from_str(first.strip_prefix('#').ok_or("the first line does not say what it is")?)?;
    let root = tree(stacks)?;
    let mut drawing = String::new();
    for share in SHARES {
        drawing = drawn(&told, &root, share);
        if drawing.len() <= LARGEST {
            break;
        }
    }
    Ok(drawing)
}

/// The callers and what they have called.
fn tree(stacks: &str) -> Result<Frame> {
    let mut root = Frame::default();
    for line in stacks.lines() {
        let (stack, count) = line.rsplit_once(' ').ok_or("a line without a count")?;
        let count: u64 = count.parse()?;
        root.samples += count;
        let mut frame = &mut root;
        for name in stack.split(';') {
            frame = frame.called.entry(name.to_owned()).or_default();
            frame.samples += count;
        }
    }
    if root.samples == 0 { Err("no samples".into()) } else { Ok(root) }
}

/// The boxes above a frame; those of fewer samples than these are told together, unless even together they are too few.
fn boxes(frame: &Frame, least: f64, (mut from, depth): (u64, usize), into: &mut Vec<Drawn>) {
    let (mut others, mut samples) = (0_usize, 0);
    for (name, called) in &frame.called {
        if (called.samples as f64) < least {
            (others, samples) = (others + 1, samples + called.samples);
            continue;
        }
        let (kind, name) = (kind(name), name.strip_suffix(KERNEL).unwrap_or(name).to_owned());
        into.push(Drawn { name, kind, samples: called.samples, from, depth });
        boxes(called, least, (from, depth + 1), into);
        from += called.samples;
    }
    if samples as f64 >= least {
        let name = format!("{others} others");
        into.push(Drawn { name, kind: "r", samples, from, depth });
    }
}

/// Whose a frame is, by the names of the style sheet.
fn kind(name: &str) -> &'static str {
    let ours = ["pinlink::", "pinlink_jni::", "_pinlink::", "pinlink_python::", "io.github.pinlink."];
    let benches = ["pinlink.bench.", "pinlink_bench"];
    match name {
        _ if name.starts_with(THREAD) => "t",
        _ if name.ends_with(KERNEL) => "k",
        _ if benches.iter().any(|part| name.contains(part)) => "c",
        _ if ours.iter().any(|part| name.contains(part)) => "o",
        _ => "c",
    }
}

fn drawn(told: &Told, root: &Frame, share: f64) -> String {
    let mut all = Vec::new();
    boxes(root, share * root.samples as f64, (0, 0), &mut all);
    let rows = all.iter().map(|one| one.depth + 1).max().unwrap_or(0);
    let height = HEAD + rows as f64 * ROW + EDGE;
    let whole = WIDTH - 2.0 * EDGE;
    let place = |samples: u64| samples as f64 / root.samples as f64 * whole;
    let cpu = match told.per.as_str() {
        "start" => format!("{} ms of CPU a start", number(told.cpu_us / 1000.0)),
        per => format!("{} µs of CPU a {per}", number(told.cpu_us)),
    };
    let head = format!("{}, {}: {}", brief(&told.language), told.workload, told.row);
    let said = format!(
        "{cpu}; {} samples, {} a second of CPU; {}, commit {}",
        number(root.samples as f64),
        told.hertz,
        told.version,
        told.commit.chars().take(10).collect::<String>(),
    );
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\">\n\
         <title>{}</title>\n<desc>{}</desc>\n<style>{}</style>\n\
         <rect class=\"ground\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n\
         <text class=\"head\" x=\"{EDGE}\" y=\"24\">{}</text>\n<text class=\"soft\" x=\"{EDGE}\" y=\"43\">{}</text>\n\
         <text class=\"soft\" x=\"{}\" y=\"24\" text-anchor=\"end\">{}</text>\n",
        escaped(&head),
        escaped(&said),
        include_str!("flame.css").lines().map(str::trim).collect::<String>(),
        WIDTH - 1.0,
        height - 1.0,
        escaped(&head),
        escaped(&said),
        WIDTH - EDGE,
        "width: CPU time; each frame on its caller; blue: pinlink; grey: kernel; sand: other code",
    );
    for one in &all {
        let (x, width) = (EDGE + place(one.from), place(one.samples));
        let y = height - EDGE - (one.depth + 1) as f64 * ROW;
        let part = one.samples as f64 / root.samples as f64;
        let _ = write!(
            text,
            "<g><title>{}\n{:.1} %, {}</title><rect class=\"{}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{ROW}\"/>",
            escaped(&one.name),
            part * 100.0,
            cost(part * told.cpu_us),
            one.kind,
        );
        if let Some(label) = fitting(&one.name, width) {
            let _ = write!(text, "<text x=\"{:.1}\" y=\"{}\">{}</text>", x + 3.0, y + 12.5, escaped(&label));
        }
        text.push_str("</g>\n");
    }
    text + "</svg>\n"
}

/// A frame's part of the processor time.
fn cost(us: f64) -> String {
    if us < 0.995 { format!("{} ns", number((us * 1000.0).round())) } else { format!("{} µs", number(us)) }
}

/// As much of a name's end as a box has room for: its last words say most.
fn fitting(name: &str, width: f64) -> Option<String> {
    let room = ((width - 6.0) / LETTER) as usize;
    let length = name.chars().count();
    if room < LEAST_LETTERS.min(length) {
        return None;
    }
    if length <= room {
        return Some(name.to_owned());
    }
    let mut rest = name;
    while let Some((_, end)) = rest.split_once("::") {
        rest = end;
        if rest.chars().count() <= room {
            return Some(rest.to_owned());
        }
    }
    Some(rest.chars().take(room - 1).chain(['…']).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACKS: &str = "thread a;pinlink::send;__send;tcp_sendmsg_[k] 60\nthread a;pinlink::send;<ring::A as B>::\"seal\" 30\n\
        thread a;pinlink::send 6\nthread b;thin::one 3\nthread b;thin::two 1\n";

    fn file(stacks: &str) -> String {
        let told = r#"{"language":"rust","workload":"sync","row":"pinlink <send>","version":"pinlink 0.1.0",
            "commit":"0123456789abcdef","hertz":997,"samples":100,"cpu_us":20.0,"per":"request"}"#;
        format!("# {}\n{stacks}", told.replace('\n', " "))
    }

    /// A box as its name, kind, samples, those to its left, and depth.
    fn seen(share: f64) -> Vec<(String, &'static str, u64, u64, usize)> {
        let root = tree(STACKS).unwrap();
        let mut all = Vec::new();
        boxes(&root, share * root.samples as f64, (0, 0), &mut all);
        all.into_iter().map(|one| (one.name, one.kind, one.samples, one.from, one.depth)).collect()
    }

    #[test]
    fn a_frame_is_as_wide_as_its_samples_and_stands_on_its_caller() {
        let expected = [
            ("thread a", "t", 96, 0, 0),
            ("pinlink::send", "o", 96, 0, 1),
            ("<ring::A as B>::\"seal\"", "c", 30, 0, 2),
            ("__send", "c", 60, 30, 2),
            ("tcp_sendmsg", "k", 60, 30, 3),
            ("thread b", "t", 4, 96, 0),
            ("thin::one", "c", 3, 96, 1),
            ("thin::two", "c", 1, 99, 1),
        ];
        assert_eq!(
            seen(0.005),
            expected.map(|(name, kind, samples, from, depth)| (name.to_owned(), kind, samples, from, depth))
        );
    }

    #[test]
    fn what_is_too_thin_is_told_together() {
        let thin = |share: f64| {
            seen(share).into_iter().filter(|one| one.3 >= 96).map(|one| (one.0, one.2)).collect::<Vec<_>>()
        };
        assert_eq!(thin(0.04), [("thread b".to_owned(), 4), ("2 others".to_owned(), 4)]);
        assert!(thin(0.05).is_empty());
    }

    #[test]
    fn a_drawing_is_well_formed_escaped_and_the_same_again() {
        let text = drawing(&file(STACKS)).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let named = |name: &str| {
            document
                .descendants()
                .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", name)))
                .collect::<Vec<_>>()
        };
        assert_eq!(named("title")[0].text(), Some("Rust, sync: pinlink <send>"));
        assert!(named("title").iter().any(|node| node.text() == Some("tcp_sendmsg\n60.0 %, 12 µs")));
        assert!(
            named("title")
                .iter()
                .any(|node| node.text().is_some_and(|text| text.starts_with("<ring::A as B>::\"seal\"\n")))
        );
        let width: f64 = named("rect")
            .iter()
            .filter(|node| node.attribute("class") == Some("t"))
            .map(|node| node.attribute("width").unwrap().parse::<f64>().unwrap())
            .sum();
        assert!((width - (WIDTH - 2.0 * EDGE)).abs() < 0.2, "{width}");
        assert!(
            text.contains("20 µs of CPU a request") && text.contains("commit 0123456789<") && !text.contains("<script")
        );
        assert_eq!(text.matches("http").count(), 1);
        assert_eq!(drawing(&file(STACKS)).unwrap(), text);
    }

    #[test]
    fn a_large_file_becomes_a_small_drawing() {
        let stacks: String = (0..180)
            .flat_map(|at| {
                (0..6).map(move |deep| format!("thread a;{at};{}{} 1\n", "caller::of;".repeat(deep), "x".repeat(90)))
            })
            .collect();
        let text = drawing(&file(&stacks)).unwrap();
        assert!(text.len() <= LARGEST, "{}", text.len());
        assert!(text.contains("others"));
    }

    #[test]
    fn a_name_keeps_the_end_that_fits() {
        let fitting = |letters: usize| fitting("h2::proto::Connection::poll", letters as f64 * LETTER + 6.5);
        assert_eq!(fitting(30).as_deref(), Some("h2::proto::Connection::poll"));
        assert_eq!(fitting(20).as_deref(), Some("Connection::poll"));
        assert_eq!(fitting(5).as_deref(), Some("poll"));
        assert_eq!(fitting(3).as_deref(), Some("po…"));
        assert_eq!(fitting(1), None);
    }

    #[test]
    fn what_is_no_file_of_stacks_is_an_error() {
        for text in ["", "thread a 1\n", "# {}\nthread a 1\n"] {
            assert!(drawing(text).is_err(), "{text}");
        }
        assert!(drawing(&file("thread a\n")).is_err() && drawing(&file("")).is_err());
    }
}
