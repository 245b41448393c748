//! What goes to standard output and to files: data, never a message.
//!
//! It owns the rule that a reader who has gone away ends the program silently (`exit.rs`), and the look of
//! tables: plain text that a terminal shows and `grep` understands.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle, presets};

use crate::exit::Failure;

/// Writes to standard output, at once.
pub(crate) fn print(data: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(data.as_ref())
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::output("standard output", &error))
}

/// Writes to a file, or to standard output where there is none or it is called `-`.
pub(crate) fn deliver(data: impl AsRef<[u8]>, file: Option<&Path>) -> Result<(), Failure> {
    match file {
        Some(path) if path != Path::new("-") => {
            fs::write(path, data).map_err(|error| Failure::output(&path.display().to_string(), &error))
        }
        _ => print(data),
    }
}

/// Where data goes that comes piece by piece.
pub(crate) enum Outlet {
    Stdout,
    File(File, PathBuf),
}

impl Outlet {
    /// A file from its beginning, or standard output as for [`deliver`].
    pub(crate) fn create(file: Option<&Path>) -> Result<Outlet, Failure> {
        match file {
            Some(path) if path != Path::new("-") => Outlet::of(path, File::create(path)),
            _ => Ok(Outlet::Stdout),
        }
    }

    /// A file from its end on.
    pub(crate) fn append(path: &Path) -> Result<Outlet, Failure> {
        Outlet::of(path, OpenOptions::new().append(true).open(path))
    }

    fn of(path: &Path, opened: io::Result<File>) -> Result<Outlet, Failure> {
        match opened {
            Ok(file) => Ok(Outlet::File(file, path.to_owned())),
            Err(error) => Err(Failure::output(&path.display().to_string(), &error)),
        }
    }

    /// Writes a piece, at once.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        match self {
            Outlet::Stdout => print(piece),
            Outlet::File(file, path) => {
                file.write_all(piece).map_err(|error| Failure::output(&path.display().to_string(), &error))
            }
        }
    }
}

/// A line below the header and nothing else.
const STYLE: TableStyle = presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));

/// Below this many columns a table is broken into shreds; then lines may as well run over.
const NARROWEST: u16 = 60;

/// An empty table with the given header. It fits itself to the terminal, where there is one.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header);
    if table.width().is_some_and(|columns| columns >= NARROWEST) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// A table as text that ends with a line break and has no blanks at the end of its lines.
pub(crate) fn text(table: &Table) -> String {
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
