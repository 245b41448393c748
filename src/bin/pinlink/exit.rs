//! The exit codes, in one table: `--help` prints it, and every failure goes through it.
//!
//! Where curl has a code for the same thing, ours is curl's. What is written to standard error is one line
//! that begins with `pinlink: `, whatever happened.

use std::fmt::Write;
use std::io;
use std::process::ExitCode;

use pinlink::{Error, Kind, Phase, Reason};

macro_rules! exits {
    ($($variant:ident = $code:literal $meaning:literal;)+) => {
        /// How the program ends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Exit {
            $(#[doc = $meaning] $variant = $code,)+
        }

        const TABLE: &[(u8, &str)] = &[$(($code, $meaning),)+];
    };
}

exits! {
    Done = 0 "all went well";
    Other = 1 "a failure without a code of its own, such as an address that is refused by policy";
    Usage = 2 "wrong usage, option or file; nothing was sent";
    Resolve = 6 "could not resolve the host";
    Connect = 7 "could not connect";
    Answer = 8 "the answer breaks the protocol";
    Partial = 18 "the connection ended inside the answer";
    Status = 22 "the status is 400 or above, and --fail was given";
    Output = 23 "could not write the output";
    Timeout = 28 "a time limit was reached";
    Handshake = 35 "the TLS handshake failed";
    Empty = 52 "the connection was closed before any answer";
    Send = 55 "the connection broke while sending";
    Receive = 56 "the connection broke while the answer was awaited; a write may have happened";
    Certificate = 60 "the certificate was not accepted";
    Limit = 63 "the answer is larger than a limit allows";
    Trust = 77 "the CA file is missing, empty or broken";
    Expired = 100 "`pins show` found expired pins";
}

/// The table as `--help` prints it.
pub(crate) fn help() -> String {
    let mut text = String::from("Exit codes (curl's, where curl has one):");
    for (code, meaning) in TABLE {
        _ = write!(text, "\n  {code:>3}  {meaning}");
    }
    text
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The code for an error of the library.
    pub(crate) fn of(error: &Error) -> Exit {
        match error.kind() {
            Kind::Config if error.reason() == Reason::ConfigTrust => Exit::Trust,
            Kind::Config => Exit::Usage,
            Kind::Dns => Exit::Resolve,
            Kind::Connect => broken_connection(error),
            Kind::Timeout => Exit::Timeout,
            Kind::Tls => match error.reason() {
                Reason::TlsExpired
                | Reason::TlsNotYetValid
                | Reason::TlsWrongName
                | Reason::TlsUnknownIssuer
                | Reason::TlsCertificate => Exit::Certificate,
                Reason::TlsTimeout => Exit::Timeout,
                _ => Exit::Handshake,
            },
            Kind::Protocol if error.reason() == Reason::ProtocolIncomplete => Exit::Partial,
            Kind::Protocol => Exit::Answer,
            Kind::Limit => Exit::Limit,
            Kind::Write => Exit::Receive,
            _ => Exit::Other,
        }
    }
}

/// curl tells by the phase what a lost connection meant; so does this.
fn broken_connection(error: &Error) -> Exit {
    match (error.reason(), error.phase()) {
        (Reason::ConnectTimeout, _) => Exit::Timeout,
        (_, Phase::Handshake) => Exit::Handshake,
        (_, Phase::Send) => Exit::Send,
        (Reason::ConnectClosed, Phase::Wait) => Exit::Empty,
        (_, Phase::Wait | Phase::Receive) => Exit::Receive,
        _ => Exit::Connect,
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// Empty where there is nobody left to tell.
    message: String,
}

impl Failure {
    /// A failure of the program's own.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    /// Wrong input.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    /// Output that could not be written. A reader that has gone away (`pinlink … | head`) is no failure.
    pub(crate) fn output(to: &str, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(Exit::Done, ""),
            _ => Failure::new(Exit::Output, format!("{to} can't be written: {error}")),
        }
    }

    /// Tells the user, and hands back how to end.
    pub(crate) fn report(&self) -> Exit {
        if !self.message.is_empty() {
            eprintln!("pinlink: {}", self.message);
        }
        self.exit
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(Exit::of(&error), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_says_each_code_once() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(help().lines().count(), TABLE.len() + 1);
    }
}
