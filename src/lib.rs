//! pinlink: connections for code that runs inside MaxCompute jobs.
//!
//! Code inside a job reaches outside services through a proxy with little forwarding capacity, a DNS that
//! fails under a thousand workers, and addresses that are pinned by hand. pinlink resolves every declared
//! host once at init, connects to the pinned address with the name kept for SNI, `Host` and the
//! certificate, keeps few connections and bounds every wait.
//!
//! Begin at [`Client::builder`]; the options are in [`config`].

mod adaptive;
mod advice;
mod asynchronous;
mod batch;
mod blocking;
mod body;
mod claim;
pub mod config;
mod connect;
mod connection;
mod crowd;
mod decode;
mod detached;
mod doctor;
mod drive;
mod environment;
mod error;
mod event;
mod exchange;
mod flood;
mod http2;
mod identity;
mod idle;
mod incoming;
mod kept;
mod key;
mod lease;
mod ledger;
mod life;
mod limit;
mod memory;
mod origin;
#[cfg(feature = "parts")]
#[doc(hidden)]
pub mod parts;
mod pin_set;
mod pins;
mod policy;
mod pool;
mod process;
mod profile;
mod proxy;
mod race;
mod raw;
mod reason;
mod redirect;
mod request;
mod resolve;
mod response;
mod retry;
mod shelf;
mod site;
pub mod sql;
mod store;
mod stream;
mod streams;
mod sys;
mod tls;
mod tunnel;
mod upload;
mod value;
mod watch;
mod wire;
mod write;
mod writing;

pub use advice::{Cause, Certainty, Layer};
pub use asynchronous::AsyncClient;
pub use blocking::Client;
pub use claim::{Attempt, Entry, Ledger, Settled};
pub use config::Builder;
#[doc(hidden)]
pub use detached::{Detached, spawn};
pub use doctor::{Diagnosis, Examination, Stage, Step, Target};
pub use drive::{Interrupt, interruptible};
pub use environment::{Fact, Verdict};
pub use error::{Delivery, Error, Kind, Outcome, Phase, Reason, Result};
pub use event::{Latency, Stats};
#[doc(hidden)]
pub use incoming::Piece;
pub use incoming::{AsyncReader, Reader};
pub use key::{Key, Part, Record, Scope};
pub use ledger::Takeover;
pub use origin::{Origin, Scheme};
pub use pin_set::{DEFAULT_VALIDITY, Pin, PinSet};
pub use profile::{KeyForm, Meaning, Profile};
pub use raw::{AsyncSocket, Socket};
pub use request::Request;
pub use response::{Headers, Response, Trace};
pub use store::{Created, Failure, Found, HttpStore, SqlStore, Store};
pub use write::{Batch, Fate, Guarantee, Write, Written};

/// The README's examples, compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
