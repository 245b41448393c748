//! Peers that are programs of their own beside this one, because they may not build everywhere, or bring what no other peer
//! may have in its process: isahc has curl, and a second TLS.
//!
//! Such a program has the same arguments as this one. Where it is not there a file beside it says why.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::asked::Result;

/// The peer, and the workloads it would have.
pub(crate) const ISAHC: &str = "isahc";
const WORKLOADS: [&str; 9] = ["sync", "post", "body", "stream", "many-8", "many-32", "many-128", "http2", "start"];

fn program() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("pinlink-bench-isahc"))
}

/// Prints its lines, or those that say why it is missing.
pub(crate) fn tell() -> Result<()> {
    let program = program()?;
    let missing = match std::fs::read_to_string(program.with_extension("missing")) {
        Ok(why) => why.trim().to_owned(),
        Err(_) if program.exists() => match Command::new(&program).arg("peers").output() {
            Ok(output) if output.status.success() => return Ok(io::stdout().write_all(&output.stdout)?),
            Ok(output) => format!("it ended with {}", output.status),
            Err(error) => error.to_string(),
        },
        Err(_) => "it was not built: make bench-rust does".to_owned(),
    };
    for workload in WORKLOADS {
        let line = serde_json::json!({ "workload": workload, "name": ISAHC, "missing": missing });
        writeln!(io::stdout(), "{line}")?;
    }
    Ok(())
}

/// Becomes that program. It returns only if it can't.
pub(crate) fn become_it() -> Result<()> {
    Err(Command::new(program()?).args(std::env::args_os().skip(1)).exec().into())
}
