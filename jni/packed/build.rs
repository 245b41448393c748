//! Puts the library that is packed where the source includes it: the LZ4 frame of `PINLINK_PAYLOAD`, or nothing.

use std::env;
use std::fs;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-env-changed=PINLINK_PAYLOAD");
    let payload = match env::var_os("PINLINK_PAYLOAD") {
        Some(file) => {
            println!("cargo::rerun-if-changed={}", Path::new(&file).display());
            fs::read(file).expect("the payload can be read")
        }
        None => Vec::new(),
    };
    let folder = env::var_os("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&folder).join("payload"), payload).expect("cargo's folder can be written to");
}
