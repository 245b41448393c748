//! What people have to say about single figures: why one is missed, why a peer is ahead, what a figure does not show.

use serde::Deserialize;

/// The file of notes, checked by a test of this crate.
const NOTES: &str = include_str!("../notes.toml");

/// All notes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notes {
    #[serde(default)]
    note: Vec<Note>,
}

/// One note, as narrow as it says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// `rust`, `java`, `python`, `growth`, `job`, `parts`, `promises`.
    language: String,
    workload: Option<String>,
    figure: Option<String>,
    /// A part of the name of our row, where it is said of that row only.
    row: Option<String>,
    text: String,
}

impl Notes {
    /// The notes of the file.
    pub(crate) fn read() -> Result<Notes, toml::de::Error> {
        toml::from_str(NOTES)
    }

    /// What is said of a part of the page as a whole.
    pub(crate) fn of(&self, language: &str) -> Vec<String> {
        self.pick(|note| note.language == language && note.workload.is_none())
    }

    /// What is said of a workload and its figures.
    pub(crate) fn about(&self, language: &str, workload: &str) -> Vec<String> {
        self.pick(|note| note.language == language && note.workload.as_deref() == Some(workload))
    }

    /// What is said of a figure of our row of this name; the workload's own notes where nothing narrower is said.
    pub(crate) fn on(&self, language: &str, workload: &str, figure: &str, row: &str) -> Vec<String> {
        let here = |note: &Note| {
            let is_row = note.row.as_deref().is_none_or(|part| row.contains(part));
            note.language == language && note.workload.as_deref() == Some(workload) && is_row
        };
        let narrow = self.pick(|note| here(note) && note.figure.as_deref() == Some(figure));
        if narrow.is_empty() { self.pick(|note| here(note) && note.figure.is_none()) } else { narrow }
    }

    fn pick(&self, which: impl Fn(&Note) -> bool) -> Vec<String> {
        self.note.iter().filter(|note| which(note)).map(|note| note.text.trim().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure;

    #[test]
    fn every_note_is_about_something() {
        for note in Notes::read().unwrap().note {
            let languages = ["rust", "java", "python", "growth", "job", "parts", "promises"];
            assert!(languages.contains(&note.language.as_str()), "{}", note.language);
            assert!(note.figure.as_deref().is_none_or(|key| figure::known(key).is_some()), "{:?}", note.figure);
            assert!(note.figure.is_none() || note.workload.is_some(), "a figure without its workload: {}", note.text);
            assert!(!note.text.trim().is_empty());
        }
    }

    #[test]
    fn the_narrowest_note_is_said_of_a_figure() {
        let notes: Notes = toml::from_str(
            "[[note]]\nlanguage='java'\nworkload='sync'\ntext='wide'\n\
             [[note]]\nlanguage='java'\nworkload='sync'\nfigure='p99_us'\ntext='narrow'\n\
             [[note]]\nlanguage='java'\nworkload='post'\nrow=' + pinlink'\ntext='adapter'\n",
        )
        .unwrap();
        assert_eq!(notes.on("java", "sync", "p99_us", "pinlink"), ["narrow"]);
        assert_eq!(notes.on("java", "sync", "p50_us", "pinlink"), ["wide"]);
        assert_eq!(notes.on("java", "post", "p50_us", "okhttp + pinlink"), ["adapter"]);
        assert!(notes.on("java", "post", "p50_us", "pinlink").is_empty());
        assert_eq!(notes.about("java", "sync"), ["wide", "narrow"]);
    }
}
