//! One count: a mode in a process under callgrind, twice.
//!
//! What would make counts differ from run to run is taken away here. All of it shares one processor, on which the client
//! never interrupts the server (SCHED_BATCH): so an answer is there as a whole when the client goes on, and as many
//! answers as there can be. What is left is told by the tolerance.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::baseline::MadeWith;
use crate::modes::Mode;
use crate::serve::Doors;

/// Has this process, and all that it starts from now on, share one processor.
pub(crate) fn settle_on_one_processor() -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let first = allowed.trim().split([',', '-']).next().unwrap_or_default();
    said_by(Command::new("taskset").args(["-cp", first, &std::process::id().to_string()])).map(drop)
}

/// What the counts depend on besides our code.
pub(crate) fn made_with() -> Result<MadeWith> {
    let version = |program, argument| -> Result<String> {
        let said = said_by(Command::new(program).arg(argument))?;
        // `rustc 1.95.0 (…)`, `valgrind-3.19.0`, `glibc 2.36`.
        let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
        let found = said.split([' ', '-', '\n']).find(is_version).map(str::to_owned);
        found.ok_or_else(|| format!("{program} does not say its version: {said}").into())
    };
    let flags = std::fs::read_to_string("/proc/cpuinfo")?;
    let has = |wanted: &&str| flags.split_whitespace().any(|flag| flag == *wanted);
    let extensions: Vec<&str> = ["aes", "avx2", "erms", "pclmulqdq"].into_iter().filter(has).collect();
    Ok(MadeWith {
        rustc: version("rustc", "--version")?,
        valgrind: version("valgrind", "--version")?,
        libc: version("getconf", "GNU_LIBC_VERSION")?,
        processor: format!("{} with {}", std::env::consts::ARCH, extensions.join(", ")),
    })
}

/// How many instructions one call of a mode takes.
pub(crate) fn per_call(mode: &Mode, doors: &Doors, profiles: Option<&Path>) -> Result<f64> {
    let [few, many] = mode.calls;
    let (less, more) = (instructions(mode, few, doors, None)?, instructions(mode, many, doors, profiles)?);
    let difference = more.checked_sub(less).ok_or_else(|| format!("{}: more calls took less", mode.name))?;
    Ok(difference as f64 / (many - few) as f64)
}

/// How many instructions a process takes that makes so many calls.
fn instructions(mode: &Mode, calls: usize, doors: &Doors, profiles: Option<&Path>) -> Result<u64> {
    let profile: PathBuf = match profiles {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            folder.join(format!("callgrind.out.{}", mode.name))
        }
        None => std::env::temp_dir().join(format!("pinlink-instructions-{}.out", std::process::id())),
    };
    let mut command = Command::new("chrt");
    command.args(["--batch", "0", "valgrind", "--quiet", "--tool=callgrind"]);
    command.arg(format!("--callgrind-out-file={}", profile.display()));
    command.arg(std::env::current_exe()?).arg("run").arg(mode.name).arg(calls.to_string());
    said_by(command.arg(serde_json::to_string(doors)?)).map_err(|error| format!("{}: {error}", mode.name))?;
    let text = std::fs::read_to_string(&profile)?;
    if profiles.is_none() {
        std::fs::remove_file(&profile)?;
    }
    let totals = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    Ok(totals.ok_or("callgrind's profile has no totals")?.trim().parse()?)
}

/// What a program prints, where it ends well.
fn said_by(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name} can't be run: {error}"))?;
    if !output.status.success() {
        return Err(
            format!("{name} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim()).into()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
