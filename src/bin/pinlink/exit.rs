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
    Http2 = 16 "the answer breaks HTTP/2";
    Partial = 18 "the connection ended inside the answer";
    Status = 22 "the status is 400 or above, and --fail was given";
    Output = 23 "could not write the output";
    Read = 26 "could not read what was to be sent";
    Timeout = 28 "a time limit was reached";
    Range = 33 "the target does not send the rest of a file (--continue-at)";
    Handshake = 35 "the TLS handshake failed";
    Redirects = 47 "too many redirects, or they go round in a loop";
    Empty = 52 "the connection was closed before any answer";
    Send = 55 "the connection broke while sending";
    Receive = 56 "the connection broke while the answer was awaited; a write may have happened";
    Identity = 58 "the client certificate or its key can't be used";
    Certificate = 60 "the certificate was not accepted";
    Encoding = 61 "the content coding of the answer is broken or cut off (--compressed)";
    Limit = 63 "the answer is larger than a limit allows";
    Trust = 77 "the CA file is missing, empty or broken";
    Stream = 92 "the HTTP/2 stream was refused";
    Proxy = 97 "the proxy refused, or broke its protocol";
    Expired = 100 "`pins show` found expired pins";
    Unreachable = 101 "`doctor` found a target that can't be reached";
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
            Kind::Canceled if error.reason() == Reason::CanceledBody => Exit::Read,
            Kind::Config if error.reason() == Reason::ConfigTrust => Exit::Trust,
            Kind::Config if error.reason() == Reason::ConfigKey => Exit::Identity,
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
            Kind::Protocol => match error.reason() {
                Reason::ProtocolIncomplete => Exit::Partial,
                Reason::ProtocolDecode => Exit::Encoding,
                Reason::ProtocolHttp2 => Exit::Http2,
                _ => Exit::Answer,
            },
            Kind::Proxy if error.reason() == Reason::ProxyTimeout => Exit::Timeout,
            Kind::Proxy => Exit::Proxy,
            Kind::Limit if error.reason() == Reason::LimitRedirects => Exit::Redirects,
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
        (Reason::ConnectGoAway | Reason::ConnectStreamRefused, _) => Exit::Stream,
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
        // The library knows its options and not ours.
        let ours = if error.reason() == Reason::PolicyNotDeclared { " (--allow-origin)" } else { "" };
        Failure::new(Exit::of(&error), format!("{error}{ours}"))
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
