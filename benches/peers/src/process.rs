//! What the kernel knows of a process that is measured: its CPU time, its memory, its system calls.
//!
//! Nothing here asks the process itself. System calls are counted by strace, which makes each of them slow: what is
//! counted is never timed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::measure::Result;
use crate::server::program;

/// strace attaches to some hundred threads in milliseconds.
const ATTACH: Duration = Duration::from_secs(20);
/// It lets go of them and sums up; after this it is killed, and what it traced goes on.
const DETACH: Duration = Duration::from_secs(10);
/// The files that we and those we start may have open: a thousand connections and more, nginx's side too.
const FILES: libc::rlim_t = 16_384;

/// A running process.
pub(crate) struct Process {
    id: u32,
    clock: libc::clockid_t,
}

impl Process {
    /// A child that has not been waited for.
    pub(crate) fn of(child: &Child) -> Result<Process> {
        let mut clock = 0;
        // SAFETY: the pointer is to a clock id of ours, and the call only writes to it.
        match unsafe { libc::clock_getcpuclockid(child.id() as libc::pid_t, &raw mut clock) } {
            0 => Ok(Process { id: child.id(), clock }),
            code => Err(std::io::Error::from_raw_os_error(code).into()),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// User and system time so far.
    pub(crate) fn cpu(&self) -> Duration {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is to a `timespec` of ours, and the call only writes to it.
        unsafe { libc::clock_gettime(self.clock, &raw mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    /// The most memory it has ever had resident, in MiB.
    pub(crate) fn peak(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("the kernel says no VmHWM")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }

    /// Begins to count the system calls of all its threads.
    pub(crate) fn trace(&self) -> Result<Tracer> {
        let mut command = Command::new(program("strace")?);
        command.args(["-f", "-c", "-U", "calls,name", "-o", "/dev/stdout", "-p", &self.id.to_string()]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let said = lines(child.stderr.take().ok_or("strace has no error output")?);
        let summary = lines(child.stdout.take().ok_or("strace has no output")?);
        let tracer = Tracer { child, summary, said };
        match tracer.said.recv_timeout(ATTACH) {
            Ok(line) if line.contains(" attached") => Ok(tracer),
            Ok(line) => Err(line.into()),
            Err(_) => Err("strace did not attach".into()),
        }
    }
}

/// strace at work.
pub(crate) struct Tracer {
    child: Child,
    summary: Receiver<String>,
    /// What it says of processes and threads.
    said: Receiver<String>,
}

impl Tracer {
    /// Lets go of the process; returns how many system calls it has made.
    pub(crate) fn finish(mut self) -> Result<f64> {
        // SAFETY: the child has not been waited for, so the process id is still its own. No memory is involved.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGINT) };
        await_end(&mut self.child, DETACH);
        let total = self.summary.iter().find_map(|line| line.trim().strip_suffix(" total").map(str::to_owned));
        Ok(total.ok_or("strace gave no total")?.trim().parse()?)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a pipe, as they come.
pub(crate) fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(std::io::Result::ok) {
            // On when nobody listens any more: whoever writes is not to block.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Waits for the end of a process that has been asked for it; kills it when it has had its time.
pub(crate) fn await_end(child: &mut Child, at_most: Duration) {
    let latest = Instant::now() + at_most;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > latest {
            let _ = child.kill();
            let _ = child.wait();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lets this process, and all that it starts, have as many files open as an idle thousand of connections needs.
pub(crate) fn allow_many_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to an `rlimit` of ours, which the first call writes to and the second reads.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < FILES {
            limit.rlim_cur = FILES.min(limit.rlim_max);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A shell that answers a line with as many lines as it has built-in work for.
    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn the_system_calls_of_a_process_are_counted_while_it_is_traced() {
        let mut child = shell("while read line; do for n in 1 2 3 4 5 6 7 8 9 10; do echo $n; done; done");
        let answers = lines(child.stdout.take().unwrap());
        let mut input = child.stdin.take().unwrap();
        let tracer = Process::of(&child).unwrap().trace().unwrap();
        input.write_all(b"go\n").unwrap();
        assert_eq!(answers.iter().take(10).last().unwrap(), "10");
        let calls = tracer.finish().unwrap();
        assert!((10.0..100.0).contains(&calls), "{calls}");
        drop(input);
        await_end(&mut child, DETACH);
    }

    #[test]
    fn the_kernel_knows_time_and_memory_of_a_process() {
        let mut child = shell("echo begun; read line");
        let process = Process::of(&child).unwrap();
        assert_eq!(lines(child.stdout.take().unwrap()).recv().unwrap(), "begun");
        assert!(process.peak().unwrap() > 0.1);
        assert!(process.cpu() > Duration::ZERO);
        drop(child.stdin.take());
        await_end(&mut child, DETACH);
        assert!(process.peak().is_err());
    }
}
