//! The native side of `Crossing.java`: ways into native code and back, without anything that is done there.
//!
//! Each reads every byte of the request and writes every byte of the answer, so that no copy is left out.

use std::hint::black_box;

use jni::objects::{JByteArray, JByteBuffer, JClass};
use jni::sys::{jint, jlong};
use jni::{EnvUnowned, Outcome};

const ANSWER: usize = 330;
const PACKET: usize = 16 * 1024;

/// The answer to a request: its first byte, as often as there is room for.
fn answer(request: &[u8]) -> [u8; ANSWER] {
    let sum = request.iter().fold(0_u64, |sum, &byte| sum + u64::from(byte));
    black_box(sum);
    [request.first().copied().unwrap_or_default(); ANSWER]
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_github_pinlink_bench_Crossing_address<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    buffer: JByteBuffer<'local>,
) -> jlong {
    match env.with_env(|env| env.get_direct_buffer_address(&buffer)).into_outcome() {
        Outcome::Ok(address) => address as jlong,
        Outcome::Err(_) | Outcome::Panic(_) => 0,
    }
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_github_pinlink_bench_Crossing_nothing<'local>(
    _env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
) -> jint {
    client as jint
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_github_pinlink_bench_Crossing_direct<'local>(
    _env: EnvUnowned<'local>,
    _class: JClass<'local>,
    _client: jlong,
    address: jlong,
    length: jint,
) -> jint {
    // SAFETY: Java gives the address of a direct buffer of this size that nobody else uses before this call returns.
    let memory = unsafe { std::slice::from_raw_parts_mut(address as *mut u8, PACKET) };
    let answer = answer(&memory[..length as usize]);
    memory[..ANSWER].copy_from_slice(&answer);
    ANSWER as jint
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_github_pinlink_bench_Crossing_regions<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    _client: jlong,
    packet: JByteArray<'local>,
    length: jint,
) -> jint {
    let crossed = env.with_env(|env| {
        let mut request = [0_i8; 512];
        let request = &mut request[..length as usize];
        packet.get_region(env, 0, request)?;
        packet.set_region(env, 0, signed(&answer(unsigned(request))))
    });
    match crossed.into_outcome() {
        Outcome::Ok(()) => ANSWER as jint,
        Outcome::Err(_) | Outcome::Panic(_) => -1,
    }
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_github_pinlink_bench_Crossing_made<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    _client: jlong,
    packet: JByteArray<'local>,
    length: jint,
) -> JByteArray<'local> {
    let crossed = env.with_env(|env| {
        let mut request = [0_i8; 512];
        let request = &mut request[..length as usize];
        packet.get_region(env, 0, request)?;
        env.byte_array_from_slice(&answer(unsigned(request)))
    });
    match crossed.into_outcome() {
        Outcome::Ok(made) => made,
        Outcome::Err(_) | Outcome::Panic(_) => JByteArray::null(),
    }
}

/// Java's bytes have a sign.
fn unsigned(bytes: &[i8]) -> &[u8] {
    // SAFETY: both are of one size and alignment, and every value of the one is one of the other.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

fn signed(bytes: &[u8]) -> &[i8] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}
