//! The ledger's protocol, explored: see `tests/ledger.rs`. A package of its own, because it is built optimised, as
//! millions of states want it, and depends on nothing of pinlink's.
