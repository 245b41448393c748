//! A child's side of the pipes to its parent: one JSON object a line, in and out.
//!
//! It owns the rule that a child ends when its standard input does: a parent that dies, however it dies, takes its
//! children with it.

use std::io::{BufRead, stdin};

use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output;

/// The parent's next line.
pub(super) fn line() -> Result<String, Failure> {
    let mut line = String::new();
    match stdin().lock().read_line(&mut line) {
        Ok(length) if length > 0 => Ok(line),
        // The parent has gone before the job began: nothing to do, nobody to tell.
        _ => Err(Failure::new(Exit::Other, "")),
    }
}

/// Tells the parent.
pub(super) fn say(said: &impl Serialize) -> Result<(), Failure> {
    output::print(format!("{}\n", serde_json::to_string(said).expect("plain data")))
}

/// Waits for the end of standard input, and ends the process with it. For a thread of its own.
pub(super) fn end_with_it() {
    _ = stdin().lock().read_line(&mut String::new());
    std::process::exit(Exit::Other.code().into());
}
