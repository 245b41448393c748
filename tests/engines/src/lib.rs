//! PostgreSQL and MariaDB for tests: real servers, connections that can be broken at a chosen point, and one way to
//! run a statement on either.
//!
//! Servers run as an unprivileged user in directories of their own, listen on 127.0.0.1 only, and end with the test
//! that started them, whatever way it ends. Nothing here knows what is tested.

mod relay;
mod server;
mod session;

pub use relay::{Cut, Relay};
pub use server::{Engine, Server};
pub use session::{Fault, Session};
