//! The native side of the Python binding.
//!
//! It converts, calls one function of the core, converts back, and decides nothing. The interpreter is let go while a call
//! waits ([`waiting`]). What Python imports is the package `pinlink`, which gives these classes their names.

mod asynchronous;
mod client;
mod doctor;
mod failure;
mod feed;
mod ledger;
mod log;
mod options;
mod pins;
mod place;
mod reader;
mod request;
mod response;
mod sql;
mod waiting;
mod write;

/// The classes of the package that are made here.
#[pyo3::pymodule]
mod _pinlink {
    #[pymodule_export]
    use crate::asynchronous::{AsyncCore, AsyncPieces, Board};
    #[pymodule_export]
    use crate::client::Client;
    #[pymodule_export]
    use crate::client::opened;
    #[pymodule_export]
    use crate::client::restored;
    #[pymodule_export]
    use crate::doctor::doctor;
    #[pymodule_export]
    use crate::feed::Feed;
    #[pymodule_export]
    use crate::ledger::{Ledger, Settled};
    #[pymodule_export]
    use crate::pins::PinSet;
    #[pymodule_export]
    use crate::place::Place;
    #[pymodule_export]
    use crate::reader::Pieces;
    #[pymodule_export]
    use crate::request::Request;
    #[pymodule_export]
    use crate::response::Response;
    #[pymodule_export]
    use crate::sql::{Dedup, Statement, insert_once, outcome, upsert};
    #[pymodule_export]
    use crate::waiting::{end_calls, forget_calls};
    #[pymodule_export]
    use crate::write::{Batch, Key, Profile, Scope, Write, Written};

    #[pymodule_init]
    fn init(_module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        crate::log::listen();
        Ok(())
    }
}
