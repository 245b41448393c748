//! The page: what is said where, in the order in which a reader asks.
//!
//! First whether the targets are met and where a peer is ahead, then every workload with charts and its whole table.
//! Nothing is left out for looking bad: a target that was not measured, a peer that is missing and a run that is to be
//! doubted are named. The looks are in `page.html`, which escapes all text; the page loads nothing and runs nothing.

use std::collections::BTreeSet;

use minijinja::value::Serde;
use minijinja::{Environment, context};
use serde::Serialize;

use crate::chart::{self, Bar, CURVES, Curve, Level, PANEL, Result};
use crate::figure::{self, number, ratio};
use crate::flame::Flames;
use crate::note::Notes;
use crate::result::{Kind, Peer, Role, Run, Spread, Target, Workload};
use crate::source::{Job, Side, Sources};

/// What the page has to say beside figures: why they are so, and where the time goes.
pub(crate) struct Beside {
    pub(crate) notes: Notes,
    pub(crate) flames: Flames,
}

impl Beside {
    /// The flame graphs that there are of these rows.
    fn flames<'a>(&self, run: &Run, load: &Workload, rows: impl IntoIterator<Item = &'a str>) -> Vec<Flame> {
        let drawn =
            |row: &str| Some(Flame { file: self.flames.of(&run.language, &load.name, row)?, row: row.to_owned() });
        rows.into_iter().filter_map(drawn).collect()
    }
}

/// A link to a flame graph.
#[derive(Serialize)]
struct Flame {
    row: String,
    file: String,
}

/// A target with its verdict.
#[derive(Serialize)]
struct Verdict {
    language: &'static str,
    workload: String,
    anchor: String,
    promise: String,
    measured: String,
    met: Option<bool>,
    doubtful: bool,
    notes: Vec<String>,
    flames: Vec<Flame>,
}

/// A place where a peer is ahead.
#[derive(Serialize)]
struct Behind {
    language: &'static str,
    workload: String,
    anchor: String,
    figure: String,
    peer: String,
    ours: String,
    measured: String,
    /// Whether the quartiles are on both sides of equality.
    near: bool,
    notes: Vec<String>,
    flames: Vec<Flame>,
}

/// A language, or the growth.
#[derive(Serialize)]
struct Part {
    key: String,
    title: &'static str,
    notes: Vec<String>,
    missing: Vec<(String, String)>,
    workloads: Vec<Section>,
}

/// A workload.
#[derive(Serialize)]
struct Section {
    anchor: String,
    name: String,
    what: String,
    limit: String,
    rounds: usize,
    doubts: Vec<String>,
    notes: Vec<String>,
    panels: Vec<Panel>,
    /// The figures of the table, and whether a column of ratios follows.
    head: Vec<(String, bool)>,
    rows: Vec<Row>,
    missing: Vec<(String, String)>,
    uncounted: Vec<String>,
    verdicts: Vec<Verdict>,
    flames: Vec<Flame>,
}

/// A chart with its heading.
#[derive(Serialize)]
struct Panel {
    title: String,
    hint: &'static str,
    svg: String,
}

/// A row of the whole table.
#[derive(Serialize)]
struct Row {
    name: String,
    version: String,
    role: &'static str,
    cells: Vec<Cell>,
}

/// A figure in it.
#[derive(Serialize)]
struct Cell {
    value: String,
    spread: String,
    ratio: Option<String>,
}

/// A workload in the table at the top: what our best row is to the limit, and to the best peer, by language.
#[derive(Serialize)]
struct Glance {
    name: String,
    what: String,
    cells: Vec<Option<GlanceCell>>,
}

#[derive(Serialize)]
struct GlanceCell {
    anchor: String,
    figure: String,
    limit: Option<String>,
    peer: Option<String>,
    peer_name: String,
    behind: bool,
    doubtful: bool,
}

/// Where a run was made.
#[derive(Serialize)]
struct Made {
    title: &'static str,
    date: String,
    commit: String,
    modified: bool,
    machine: String,
    kernel: String,
    load: String,
    command: String,
    versions: Vec<String>,
}

/// The page as HTML.
pub(crate) fn render(sources: &Sources, beside: &Beside, overview: &str) -> Result<String> {
    let parts = sources.runs.iter().map(|run| part(run, beside)).collect::<Result<Vec<_>>>()?;
    let verdicts: Vec<Verdict> =
        sources.runs.iter().flat_map(|run| run.workloads.iter().flat_map(|load| verdicts(run, load, beside))).collect();
    let (mut met, mut missed, mut unmeasured) = (Vec::new(), Vec::new(), Vec::new());
    for verdict in verdicts {
        match verdict.met {
            Some(true) => met.push(verdict),
            Some(false) => missed.push(verdict),
            None => unmeasured.push(verdict),
        }
    }
    let languages: Vec<&Run> = sources.runs.iter().filter(|run| run.language != "growth").collect();
    let commits: BTreeSet<&str> = sources.runs.iter().map(|run| run.commit.as_str()).collect();
    let doubtful: Vec<String> = sources.runs.iter().filter_map(doubtful).collect();
    let mut environment = Environment::new();
    environment.add_template("page.html", include_str!("page.html"))?;
    let page = environment.get_template("page.html")?.render(context! {
        style => include_str!("chart.css"),
        met => Serde(&met),
        missed => Serde(&missed),
        unmeasured => Serde(&unmeasured),
        doubtful,
        behind => Serde(behind(sources, beside)),
        gone => sources.missing.clone(),
        languages => languages.iter().map(|run| title(&run.language)).collect::<Vec<_>>(),
        glance => Serde(glance(&languages)),
        overview => overview.to_owned(),
        parts => Serde(&parts),
        job => Serde(sources.job.as_ref().map(job).transpose()?),
        job_notes => beside.notes.of("job"),
        timed => sources.parts.iter().map(|part| context! {
            name => part.name.clone(),
            median => number(part.median),
            interval => format!("{}–{}", number(part.from), number(part.to)),
        }).collect::<Vec<_>>(),
        part_notes => beside.notes.of("parts"),
        instructions => sources.instructions.as_ref().map(|counted| context! {
            with => format!("rustc {}, {}", counted.made_with.rustc, counted.made_with.valgrind),
            tolerance => number(counted.tolerance_percent),
            modes => counted.modes.iter().map(|mode| context! {
                name => mode.name.clone(),
                count => number(mode.instructions),
                baseline => mode.baseline.map_or("none".to_owned(), number),
                percent => mode.percent.map_or("–".to_owned(), |percent| format!("{percent:+.2} %")),
            }).collect::<Vec<_>>(),
        }),
        promises => sources.promises.as_ref().map(|promises| context! {
            date => promises.date.clone(),
            commit => short(&promises.commit),
            faults => promises.workloads.iter().map(|fault| context! {
                name => fault.name.clone(),
                what => fault.what.clone(),
                findings => fault.findings.iter().map(|finding| context! {
                    what => finding.what.clone(),
                    value => format!("{} {}", number(finding.value), finding.unit).trim().to_owned(),
                    bound => finding.bound.as_deref().map(signs),
                    met => finding.met,
                }).collect::<Vec<_>>(),
            }).collect::<Vec<_>>(),
        }),
        promise_notes => beside.notes.of("promises"),
        made => Serde(sources.runs.iter().map(made).collect::<Vec<_>>()),
        one_commit => commits.len() <= 1,
        version => env!("CARGO_PKG_VERSION"),
    })?;
    Ok(page)
}

/// The workloads of a run that are to be repeated, in one line.
fn doubtful(run: &Run) -> Option<String> {
    let doubted = run.workloads.iter().map(|load| (load, load.doubts().join(", "))).filter(|(_, why)| !why.is_empty());
    let doubted: Vec<String> = doubted.map(|(load, why)| format!("{} ({why})", load.name)).collect();
    (!doubted.is_empty()).then(|| format!("{}: {}", brief(&run.language), doubted.join("; ")))
}

/// What a language is called within a line.
pub(crate) fn brief(language: &str) -> &'static str {
    if language == "growth" { "Growth" } else { title(language) }
}

/// What a language is called.
pub(crate) fn title(language: &str) -> &'static str {
    match language {
        "rust" => "Rust",
        "java" => "Java",
        "python" => "Python",
        "growth" => "How cost grows",
        _ => "Other",
    }
}

fn short(commit: &str) -> String {
    commit.chars().take(10).collect()
}

/// Signs as people write them.
fn signs(text: &str) -> String {
    text.replace("<=", "≤").replace(">=", "≥")
}

fn spread(spread: Spread, show: fn(f64) -> String) -> String {
    format!("{} [{}, {}]", show(spread.median), show(spread.q1), show(spread.q3))
}

fn anchor(run: &Run, load: &Workload) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("{}-{}", run.language, load.name.chars().map(plain).collect::<String>())
}

fn verdicts(run: &Run, load: &Workload, beside: &Beside) -> Vec<Verdict> {
    let verdict = |target: &Target| {
        let against =
            target.against.strip_prefix("x ").map_or_else(|| target.against.clone(), |name| format!("× {name}"));
        let label = figure::label(&target.figure);
        let promise = format!("{}: {label} {} {against}", target.peer, signs(&target.bound));
        Verdict {
            language: brief(&run.language),
            workload: load.name.clone(),
            anchor: anchor(run, load),
            promise: promise.trim().to_owned(),
            measured: target.ratio.map_or("–".to_owned(), |held| spread(held, number)),
            met: target.met,
            doubtful: !load.doubts().is_empty(),
            notes: beside.notes.on(&run.language, &load.name, &target.figure, &target.peer),
            flames: beside.flames(run, load, [target.peer.as_str(), held_against(load, target)]),
        }
    };
    load.targets.iter().map(verdict).collect()
}

/// The row that a target's is held against; nothing that is a row where it is held against a number.
fn held_against<'a>(load: &'a Workload, target: &'a Target) -> &'a str {
    let against = target.against.as_str();
    let named = ["x the best peer, ", "x ", "over "].iter().find_map(|before| against.strip_prefix(before));
    named.map_or("", |name| if name == "the first point" { &load.limit } else { name })
}

/// Where a peer is ahead, in the order of the page.
fn behind(sources: &Sources, beside: &Beside) -> Vec<Behind> {
    let mut all = Vec::new();
    for run in &sources.runs {
        for load in &run.workloads {
            all.extend(load.ahead().map(|standing| Behind {
                language: brief(&run.language),
                workload: load.name.clone(),
                anchor: anchor(run, load),
                figure: figure::label(&standing.figure),
                peer: standing.peer.clone(),
                ours: standing.ours.clone(),
                measured: spread(standing.ratio, ratio),
                near: standing.ratio.q1 <= 1.0 && standing.ratio.q3 >= 1.0,
                notes: beside.notes.on(&run.language, &load.name, &standing.figure, &standing.ours),
                flames: beside.flames(run, load, [standing.ours.as_str(), standing.peer.as_str()]),
            }));
        }
    }
    all
}

/// The workloads that have clients to choose from, and what the first drawn figure says of us in each language.
fn glance(languages: &[&Run]) -> Vec<Glance> {
    let mut names: Vec<&str> = Vec::new();
    for load in languages.iter().flat_map(|run| &run.workloads) {
        if !load.standings.is_empty() && !names.contains(&load.name.as_str()) {
            names.push(&load.name);
        }
    }
    let find = |run: &&Run, name: &str| {
        let load = run.workloads.iter().find(|load| load.name == name)?;
        let closest = load.standings.first()?;
        let ours = load.peers.iter().find(|peer| peer.name == closest.ours)?;
        let more_is_better = figure::known(&closest.figure).is_some_and(|figure| figure.more_is_better);
        let is_closer = |value: f64, best: f64| if more_is_better { value < best } else { value > best };
        let same = load.standings.iter().filter(|standing| standing.figure == closest.figure);
        let closest =
            same.fold(
                closest,
                |closest, next| {
                    if is_closer(next.ratio.median, closest.ratio.median) { next } else { closest }
                },
            );
        Some(GlanceCell {
            anchor: anchor(run, load),
            figure: figure::label(&closest.figure),
            limit: ours
                .figures
                .get(&closest.figure)?
                .ratio
                .map(|held| format!("{} × {}", ratio(held.median), load.limit)),
            peer: Some(ratio(closest.ratio.median)),
            peer_name: closest.peer.clone(),
            behind: closest.is_behind(),
            doubtful: !load.doubts().is_empty(),
        })
    };
    let what = |name: &str| {
        let mut loads = languages.iter().flat_map(|run| &run.workloads);
        loads.find(|load| load.name == name).map(|load| load.what.clone()).unwrap_or_default()
    };
    names
        .into_iter()
        .map(|name| Glance {
            name: name.to_owned(),
            what: what(name),
            cells: languages.iter().map(|run| find(run, name)).collect(),
        })
        .collect()
}

fn part(run: &Run, beside: &Beside) -> Result<Part> {
    let mut missing: Vec<(String, String)> = Vec::new();
    for (name, why) in run.workloads.iter().flat_map(gone) {
        if !missing.iter().any(|(other, reason)| *other == name && *reason == why) {
            missing.push((name, why));
        }
    }
    Ok(Part {
        key: run.language.clone(),
        title: title(&run.language),
        notes: beside.notes.of(&run.language),
        missing,
        workloads: run.workloads.iter().map(|load| section(run, load, beside)).collect::<Result<_>>()?,
    })
}

/// Figures that could not be counted: a reason, and whose.
fn uncounted(load: &Workload) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for peer in &load.peers {
        said.extend(peer.uncounted.iter().map(|(key, why)| format!("{} of {} ({why})", figure::label(key), peer.name)));
    }
    said
}

fn gone(load: &Workload) -> impl Iterator<Item = (String, String)> {
    load.peers.iter().filter_map(|peer| Some((peer.name.clone(), peer.missing.clone()?)))
}

fn section(run: &Run, load: &Workload, beside: &Beside) -> Result<Section> {
    let keys = load.figures();
    let panels = match load.kind {
        Kind::Peers => bars(run, load),
        Kind::Growth => curves(load),
    };
    let head = keys.iter().map(|key| (figure::label(key), has_ratio(key))).collect();
    Ok(Section {
        anchor: anchor(run, load),
        name: load.name.clone(),
        what: load.what.clone(),
        limit: load.limit.clone(),
        rounds: load.rounds,
        doubts: load.doubts(),
        notes: beside.notes.about(&run.language, &load.name),
        panels: panels?,
        head,
        rows: load.present().map(|peer| row(load, peer, &keys)).collect(),
        missing: gone(load).collect(),
        uncounted: uncounted(load),
        verdicts: verdicts(run, load, beside),
        flames: beside.flames(run, load, load.present().map(|peer| peer.name.as_str())),
    })
}

fn row(load: &Workload, peer: &Peer, keys: &[&str]) -> Row {
    let role = match load.role(&peer.name) {
        Role::Ours if load.kind == Kind::Peers => "us",
        Role::Limit => "bound",
        _ => "",
    };
    let cell = |key: &&str| {
        let measured = peer.figures.get(*key);
        let held = measured.and_then(|measured| measured.spread);
        let to_limit = measured.and_then(|measured| measured.ratio);
        Cell {
            value: held.map_or("–".to_owned(), |held| number(held.median)),
            spread: held.map_or(String::new(), |held| match held.q1 == held.q3 {
                true => String::new(),
                false => format!("{}–{}", number(held.q1), number(held.q3)),
            }),
            ratio: has_ratio(key).then(|| to_limit.map_or("–".to_owned(), |held| ratio(held.median))),
        }
    };
    let cells = keys.iter().map(cell).collect();
    Row { name: peer.name.clone(), version: peer.version.clone(), role, cells }
}

fn has_ratio(key: &str) -> bool {
    figure::known(key).is_none_or(figure::Figure::has_ratio)
}

/// A workload's rows as bars of one figure, the best first.
pub(crate) fn bars_of(load: &Workload, key: &str, pick: fn(&Peer, &str) -> Option<Spread>) -> Vec<Bar> {
    let bar =
        |peer: &Peer| Some(Bar { name: peer.name.clone(), role: load.role(&peer.name), spread: pick(peer, key)? });
    let mut bars: Vec<Bar> = load.present().filter_map(bar).collect();
    chart::sort(&mut bars, figure::known(key).is_some_and(|figure| figure.more_is_better));
    bars
}

fn bars(run: &Run, load: &Workload) -> Result<Vec<Panel>> {
    let mut panels = Vec::new();
    for figure in figure::FIGURES.into_iter().filter(|figure| figure.drawn) {
        let bars = bars_of(load, figure.key, |peer, key| peer.figures.get(key)?.spread);
        if bars.is_empty() {
            continue;
        }
        let size = (PANEL, chart::height(bars.len()));
        let inside = chart::drawn(size, |canvas| chart::bars(canvas, (0, 0), PANEL, &bars, number))?;
        let label = chart::said(&format!("{}, {}: {}", title(&run.language), load.name, figure.title), &bars);
        panels.push(Panel {
            title: figure.title.to_owned(),
            hint: if figure.more_is_better { "more is better" } else { "less is better" },
            svg: chart::inline(size, &inside, &label),
        });
    }
    Ok(panels)
}

/// The figures of a curve that are drawn.
pub(crate) fn drawn_of(load: &Workload) -> Vec<figure::Figure> {
    let known = load.figures().into_iter().filter_map(figure::known);
    known.filter(|figure| figure.drawn || figure.key == "peak_mib").collect()
}

/// A workload's points as curves: those that are named alike but for their number are one.
pub(crate) fn curves_of(load: &Workload, key: &str) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for peer in load.present() {
        let spread = peer.figures.get(key).and_then(|measured| measured.spread);
        let (Some(x), Some(spread)) = (peer.x, spread) else { continue };
        let name = peer.name.replace(|c: char| c.is_ascii_digit() || c == ',', "");
        let name = name.trim().trim_end_matches('s').to_owned() + "s";
        match curves.iter_mut().find(|curve| curve.name == name) {
            Some(curve) => curve.points.push((x, spread)),
            None => curves.push(Curve { name, points: vec![(x, spread)] }),
        }
    }
    for curve in &mut curves {
        curve.points.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    curves
}

/// The levels that the targets of a figure draw: a ratio is to the first point, what has none is the figure itself.
pub(crate) fn levels_of(load: &Workload, key: &str) -> Vec<Level> {
    let first = load.present().find(|peer| peer.name == load.limit);
    let first = first.and_then(|peer| peer.figures.get(key)?.spread).map(|spread| spread.median);
    let mut levels = Vec::new();
    for target in load.targets.iter().filter(|target| target.figure == key) {
        let base = if target.against.is_empty() { Some(1.0) } else { first };
        let Some(base) = base else { continue };
        let level = |bound: &str, side: fn(f64) -> Level| Some(side(bound.trim().parse::<f64>().ok()? * base));
        let bounds = match target.bound.split_once(" to ") {
            Some((least, most)) => [level(least, Level::AtLeast), level(most, Level::AtMost)],
            None => {
                let bound = target.bound.trim_start_matches(['<', '>', '=']);
                [level(bound, if target.bound.starts_with('<') { Level::AtMost } else { Level::AtLeast }), None]
            }
        };
        levels.extend(bounds.into_iter().flatten().filter(|level| !levels.contains(level)).collect::<Vec<_>>());
    }
    levels
}

fn curves(load: &Workload) -> Result<Vec<Panel>> {
    let mut panels = Vec::new();
    for figure in drawn_of(load) {
        let curves = curves_of(load, figure.key);
        let across = curves.first().map(|curve| curve.name.clone()).unwrap_or_default();
        let levels = levels_of(load, figure.key);
        let inside = chart::drawn(CURVES, |canvas| chart::curves(canvas, &curves, &levels, &across))?;
        let label = chart::told(&format!("{}: {}", load.name, figure.title), &curves);
        let hint = match (levels.is_empty(), figure.more_is_better) {
            (false, _) => "green: where the target wants it",
            (true, true) => "more is better",
            (true, false) => "less is better",
        };
        panels.push(Panel { title: figure.title.to_owned(), hint, svg: chart::inline(CURVES, &inside, &label) });
    }
    Ok(panels)
}

/// The job in the box.
#[derive(Serialize)]
struct JobSection {
    what: String,
    panels: Vec<Panel>,
    rows: Vec<(&'static str, String, String)>,
}

fn job(job: &Job) -> Result<JobSection> {
    let sides = [("pinlink", Role::Ours, &job.pinlink), ("naive", Role::Peer, &job.naive)];
    let pair = |title: &str, hint: &'static str, value: fn(&Side) -> f64| {
        let bars = sides.map(|(name, role, side)| {
            let at = value(side);
            Bar { name: name.to_owned(), role, spread: Spread { q1: at, median: at, q3: at } }
        });
        let size = (PANEL, chart::height(bars.len()));
        let inside = chart::drawn(size, |canvas| chart::bars(canvas, (0, 0), PANEL, &bars, number))?;
        let svg = chart::inline(size, &inside, &chart::said(&format!("The job in the box: {title}"), &bars));
        Ok(Panel { title: title.to_owned(), hint, svg })
    };
    let panels = [
        pair("Rows per second", "more is better", |side| side.rows_per_s),
        pair("Rows not done", "less is better", |side| (side.rows_failed + side.rows_not_reached) as f64),
        pair("Look-ups during execution", "less is better", |side| side.dns_queries as f64),
        pair("Connections opened", "less is better", |side| side.connections_opened as f64),
        pair("Connections refused", "less is better", |side| side.refusals as f64),
        pair("Latency of a row, 99th percentile, ms", "less is better", |side| side.p99_us / 1000.0),
    ];
    let line = |what, show: &dyn Fn(&Side) -> String| (what, show(&job.naive), show(&job.pinlink));
    let count = |what, value: fn(&Side) -> u64| line(what, &|side| number(value(side) as f64));
    Ok(JobSection {
        what: format!(
            "{} rows of {}, {} worker processes with {} threads each, {} s for each side. The DNS server answers {} queries a \
             second and drops the others; the proxy resets what exceeds {} live connections. Naive is a new look-up and a new \
             connection for every row with up to 3 blind retries, as the platform's documentation and common practice have it.",
            number(job.rows as f64),
            job.source,
            job.workers,
            job.threads,
            job.limit_s,
            job.queries_per_second,
            job.cap,
        ),
        panels: panels.into_iter().collect::<Result<_>>()?,
        rows: vec![
            line("rows per second", &|side| number(side.rows_per_s)),
            count("rows done", |side| side.rows_done),
            count("rows failed", |side| side.rows_failed),
            count("rows not reached in time", |side| side.rows_not_reached),
            line("seconds taken", &|side| number(side.seconds)),
            count("look-ups while workers initialise", |side| side.dns_queries_init),
            count("look-ups during execution", |side| side.dns_queries),
            count("look-ups dropped", |side| side.dns_dropped),
            count("connections opened", |side| side.connections_opened),
            count("most live connections", |side| side.peak_live),
            count("connections refused", |side| side.refusals),
            count("TLS handshakes", |side| side.handshakes),
            line("latency p50, ms", &|side| number(side.p50_us / 1000.0)),
            line("latency p99, ms", &|side| number(side.p99_us / 1000.0)),
        ],
    })
}

fn made(run: &Run) -> Made {
    Made {
        title: title(&run.language),
        date: run.date.clone(),
        commit: short(&run.commit),
        modified: run.modified,
        machine: format!("{}, {} cores", run.machine.cpu, run.machine.cores),
        kernel: run.machine.kernel.clone(),
        load: run.machine.load_before.clone(),
        command: run.command.join(" "),
        versions: run.versions.iter().map(|(name, version)| told(name, version)).collect(),
    }
}

/// A version that names its program itself is not named twice.
fn told(name: &str, version: &str) -> String {
    if version.contains(name) { version.to_owned() } else { format!("{name} {version}") }
}
