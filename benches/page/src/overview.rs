//! The drawings of the README: the three languages beside their peers, and the growth of cost.
//!
//! Each is small enough to be read at the width of a README's column, and stands on a ground of its own.

use crate::chart::{self, CURVES, Line, PANEL, Result};
use crate::figure::ratio;
use crate::page::{bars_of, curves_of, drawn_of, levels_of, title};
use crate::result::{Kind, Run};

/// What is shown of each language: the figures of one keep-alive GET over TLS, as ratios to that language's bare socket.
const WORKLOAD: &str = "sync-tls";
const SHOWN: [(&str, &str); 2] = [("p50_us", "median latency"), ("cpu_us", "CPU per request")];

/// How to read it.
const KEY: &str =
    "blue: pinlink; grey: the bare socket; whiskers: quartiles of the rounds; a bar with a gap is longer than drawn";

/// A drawing: its size, what is inside of `<svg>`, its title and what it says.
pub(crate) struct Drawing {
    size: (i32, i32),
    inside: String,
    title: String,
    said: String,
}

impl Drawing {
    /// As a file of its own.
    pub(crate) fn alone(&self) -> String {
        chart::alone(self.size, &self.inside, &self.title, &self.said)
    }

    /// As a part of the page.
    pub(crate) fn inline(&self) -> String {
        chart::inline(self.size, &self.inside, &format!("{}. {}", self.title, self.said))
    }
}

/// The space around and between panels.
const EDGE: i32 = 16;
const HEADING: i32 = 24;

/// The three languages beside their peers.
pub(crate) fn languages(runs: &[Run]) -> Result<Option<Drawing>> {
    let columns: Vec<_> = runs
        .iter()
        .filter_map(|run| {
            let load = run.workloads.iter().find(|load| load.name == WORKLOAD && load.kind == Kind::Peers)?;
            let panels = SHOWN.map(|(key, _)| bars_of(load, key, |peer, key| peer.figures.get(key)?.ratio));
            panels.iter().all(|bars| !bars.is_empty()).then(|| (title(&run.language), panels))
        })
        .collect();
    if columns.is_empty() {
        return Ok(None);
    }
    let width = (860 - EDGE) / columns.len().max(2) as i32;
    let most = columns.iter().map(|(_, panels)| panels[0].len()).max().unwrap_or(0);
    let row = HEADING + chart::height(most) + EDGE;
    let size = (EDGE + width * columns.len() as i32, 2 * HEADING + EDGE + row * SHOWN.len() as i32);
    let title = "One keep-alive GET over TLS 1.3, × the bare socket of the same language; less is better".to_owned();
    let mut said = Vec::new();
    let inside = chart::drawn(size, |canvas| {
        chart::line(canvas, (EDGE, EDGE + 8), &title, Line::Heading)?;
        chart::line(canvas, (EDGE, EDGE + 26), KEY, Line::Note)?;
        for (column, (language, panels)) in columns.iter().enumerate() {
            let left = EDGE + column as i32 * width;
            for (index, (bars, (_, what))) in panels.iter().zip(SHOWN).enumerate() {
                let top = 2 * HEADING + EDGE + index as i32 * row;
                let heading = format!("{language}: {what}");
                chart::line(canvas, (left, top + HEADING / 2), &heading, Line::Heading)?;
                chart::bars(canvas, (left, top + HEADING), width - EDGE, bars, ratio)?;
                said.push(chart::said(&heading, bars));
            }
        }
        Ok(())
    })?;
    Ok(Some(Drawing { size, inside, title, said: said.join(". ") }))
}

/// How cost grows: of each workload the figure that has a target, or its CPU.
pub(crate) fn growth(runs: &[Run]) -> Result<Option<Drawing>> {
    let Some(run) = runs.iter().find(|run| run.language == "growth") else { return Ok(None) };
    let panels: Vec<_> = run
        .workloads
        .iter()
        .filter(|load| load.kind == Kind::Growth)
        .filter_map(|load| {
            let drawn = drawn_of(load);
            let promised = drawn.iter().find(|figure| !levels_of(load, figure.key).is_empty());
            let figure = promised.or_else(|| drawn.iter().find(|figure| figure.key == "cpu_us")).or(drawn.first())?;
            Some((load, *figure, curves_of(load, figure.key), levels_of(load, figure.key)))
        })
        .filter(|(_, _, curves, _)| !curves.is_empty())
        .collect();
    if panels.is_empty() {
        return Ok(None);
    }
    const COLUMNS: usize = 2;
    let (wide, high) = (PANEL + EDGE, CURVES.1 + HEADING + EDGE);
    let lines = panels.len().div_ceil(COLUMNS) as i32;
    let size = (2 * EDGE + wide * COLUMNS as i32, HEADING + EDGE + high * lines);
    let title = "How cost grows with size; the green area is where the target wants it".to_owned();
    let mut said = Vec::new();
    let inside = chart::drawn(size, |canvas| {
        chart::line(canvas, (EDGE, EDGE + 8), &title, Line::Heading)?;
        for (index, (load, figure, curves, levels)) in panels.iter().enumerate() {
            let left = EDGE + (index % COLUMNS) as i32 * wide;
            let top = HEADING + EDGE + (index / COLUMNS) as i32 * high;
            let heading = format!("{}: {}", load.name, figure.title);
            chart::line(canvas, (left, top + HEADING / 2), &heading, Line::Heading)?;
            let across = curves.first().map(|curve| curve.name.as_str()).unwrap_or_default();
            let place = canvas.clone().shrink((left, top + HEADING), (CURVES.0, CURVES.1));
            chart::curves(&place, curves, levels, across)?;
            said.push(chart::told(&heading, curves));
        }
        Ok(())
    })?;
    Ok(Some(Drawing { size, inside, title, said: said.join(". ") }))
}
