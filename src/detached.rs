//! Work of another language's that nobody waits for on a thread of theirs: [`spawn`].
//!
//! It owns nothing but the way in: bindings have no executor, and a second runtime in the process would be a second
//! crowd of threads. Dropping what stands for the work ends it.

use std::future::Future;

use crate::error::Result;
use crate::process::{self, Task};

/// Work that runs on the process's runtime. Dropping it ends the work where it waits next.
#[doc(hidden)]
#[must_use]
pub struct Detached {
    _task: Task<()>,
}

/// Runs `work` on the process's runtime, beside dials and look-ups: it must not block.
///
/// # Errors
/// Where the runtime can't be started.
#[doc(hidden)]
pub fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Result<Detached> {
    Ok(Detached { _task: process::spawn(work)? })
}

impl std::fmt::Debug for Detached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detached").finish_non_exhaustive()
    }
}
