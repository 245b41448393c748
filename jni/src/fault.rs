//! A panic where a test wants one: in debug builds, in the native function that the file of `PINLINK_PANIC_FILE` names.
//!
//! What is released has none of this.

/// Panics where that is what a test asks for.
#[cfg(debug_assertions)]
pub(crate) fn strike(function: &str) {
    if let Some(file) = std::env::var_os("PINLINK_PANIC_FILE")
        && std::fs::read_to_string(file).is_ok_and(|named| named.split_whitespace().any(|named| named == function))
    {
        // As a panic, and without its words on stderr.
        std::panic::resume_unwind(Box::new(()));
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn strike(_function: &str) {}
