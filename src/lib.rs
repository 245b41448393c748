//! Resolved, pinned, pooled and bounded connections.
#![warn(missing_docs)]
pub mod config;
mod error;
mod event;
mod message;
mod pin_set;
mod policy;
pub use config::Builder;
pub use error::{Delivery, Error, Kind, Phase, Reason, Result};
pub use event::{Latency, Stats};
pub use message::{Origin, Request, Response, Scheme, Trace};
pub use pin_set::{Pin, PinSet};
