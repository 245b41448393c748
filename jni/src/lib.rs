//! The native side of the Java binding.
//!
//! It converts, calls one function of the core, converts back, and decides nothing. A call is one crossing: its request
//! comes packed ([`packet`]) in memory of the caller's, its answer goes back the same way. The JVM finds one entry
//! point here, [`JNI_OnLoad`]; the other export is how a second copy of this library, loaded for another class
//! loader, finds the first ([`load`]), so that a process has one runtime, one pool and one cap.

mod answer;
mod attachments;
mod doctor;
mod fault;
mod handles;
mod interrupt;
mod load;
mod natives;
mod opened;
mod options;
mod packet;
mod pins;
mod request;
mod rows;
mod sockets;
mod stats;
mod upcall;
mod writes;

pub use load::{JNI_OnLoad, pinlink_natives_v1};
