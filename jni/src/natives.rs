//! The functions behind `io.github.pinlink.Native`.
//!
//! Each converts, calls one function of the core, and converts back. What goes wrong is an answer like any other:
//! Java makes the exception. No panic gets through to the JVM, and no object of it is kept.

use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use jni::objects::{JByteArray, JByteBuffer, JClass, JObject, JObjectArray, JString};
use jni::strings::JNIStr;
use jni::sys::{jint, jlong};
use jni::{Env, EnvUnowned, NativeMethod, Outcome, jni_str};
use pinlink::{AsyncClient, Client, Detached, interruptible};

use crate::answer::{Answer, Failure};
use crate::attachments::Attachments;
use crate::handles::{Handles, Slots};
use crate::packet::{Packing, Room, Unpacking};
use crate::upcall::{self, Pending};
use crate::{fault, interrupt, opened, options, pins, request, rows, stats, writes};

/// The class whose methods these are.
pub(crate) const CLASS: &CStr = c"io/github/pinlink/Native";

/// What `send` returns where its answer did not fit: it waits in a slot, whose number stands in the memory.
const IN_A_SLOT: jint = -1;

/// The most that one read brings: what one piece of an answer holds.
const MOST_READ: usize = 256 * 1024;

/// What a handle stands for.
#[derive(Clone)]
struct Held {
    client: Client,
    /// Whether others may hold it too: it then outlives its handles.
    is_shared: bool,
}

static CLIENTS: Handles<Held> = Handles::new();
static LEFT: Slots<Answer> = Slots::new();
/// Calls that run without their caller.
static CALLS: Slots<Detached> = Slots::new();

/// Registers all of them for a class of this name.
pub(crate) fn register(env: &mut Env<'_>, class: &JClass<'_>) -> jni::errors::Result<()> {
    interrupt::prepare(env)?;
    let method = |name: &'static JNIStr, signature: &'static JNIStr, function: *mut c_void| {
        // SAFETY: each function below takes what its signature says, behind the environment and the class.
        unsafe { NativeMethod::from_raw_parts(name, signature, function) }
    };
    let methods = [
        method(jni_str!("version"), jni_str!("()Ljava/lang/String;"), version as *mut c_void),
        method(jni_str!("address"), jni_str!("(Ljava/nio/ByteBuffer;)J"), address as *mut c_void),
        method(jni_str!("build"), jni_str!("([B)[B"), build as *mut c_void),
        method(jni_str!("close"), jni_str!("(J)V"), close as *mut c_void),
        method(jni_str!("send"), jni_str!("(JJII[B[Ljava/lang/Object;)I"), send as *mut c_void),
        method(jni_str!("rest"), jni_str!("(J)[B"), rest as *mut c_void),
        method(jni_str!("sendAll"), jni_str!("(J[B[Ljava/lang/Object;)[B"), send_all as *mut c_void),
        method(jni_str!("write"), jni_str!("(J[B[Ljava/lang/Object;)[B"), write as *mut c_void),
        method(jni_str!("writeAll"), jni_str!("(J[B[Ljava/lang/Object;)[B"), write_all as *mut c_void),
        method(jni_str!("guarantee"), jni_str!("([B[Ljava/lang/Object;)[B"), guarantee as *mut c_void),
        method(jni_str!("open"), jni_str!("(J[B[Ljava/lang/Object;)[B"), open as *mut c_void),
        method(jni_str!("read"), jni_str!("(J[BII)J"), read as *mut c_void),
        method(jni_str!("trailers"), jni_str!("(J)[B"), trailers as *mut c_void),
        method(jni_str!("closeStream"), jni_str!("(J)V"), close_stream as *mut c_void),
        method(jni_str!("moreRows"), jni_str!("(J)[B"), more_rows as *mut c_void),
        method(
            jni_str!("sendAsync"),
            jni_str!("(JLio/github/pinlink/Pending;JI[B[Ljava/lang/Object;)J"),
            send_async as *mut c_void,
        ),
        method(jni_str!("cancel"), jni_str!("(J)V"), cancel as *mut c_void),
        method(jni_str!("pins"), jni_str!("(J)[B"), pins_of as *mut c_void),
        method(jni_str!("repin"), jni_str!("(J[B)[B"), repin as *mut c_void),
        method(jni_str!("stats"), jni_str!("(J)[B"), stats_of as *mut c_void),
        method(jni_str!("pinSet"), jni_str!("([B)[B"), pin_set as *mut c_void),
    ];
    // SAFETY: they are static methods, and every function's second parameter is the class.
    unsafe { env.register_native_methods(class, &methods) }
}

/// Runs what a native function of this name does, whatever panics in it.
fn caught<T>(name: &str, work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(|| {
        fault::strike(name);
        work()
    }))
    .ok()
}

/// The same where an answer is made; a panic is one too.
fn answering(name: &str, work: impl FnOnce() -> Answer) -> Answer {
    caught(name, work).unwrap_or(Answer::Failure(Failure::PANIC))
}

/// Hands an answer over in an array; null where the JVM has no memory for it, and then its error is pending.
fn in_an_array<'local>(env: &mut EnvUnowned<'local>, answer: Answer) -> JByteArray<'local> {
    match env.with_env(|env| upcall::in_an_array(env, answer)).into_outcome() {
        Outcome::Ok(array) => array,
        Outcome::Err(_) | Outcome::Panic(_) => JByteArray::null(),
    }
}

/// The bytes of an array that Java handed in; nothing for null.
fn bytes_of<'local>(env: &mut EnvUnowned<'local>, array: &JByteArray<'local>) -> Option<Vec<u8>> {
    if array.is_null() {
        return None;
    }
    match env.with_env(|env| env.convert_byte_array(array)).into_outcome() {
        Outcome::Ok(bytes) => Some(bytes),
        Outcome::Err(_) | Outcome::Panic(_) => None,
    }
}

/// What came beside a packet; nothing where the JVM has no memory left for it, and then its error is pending.
fn attached<'local>(env: &mut EnvUnowned<'local>, objects: &JObjectArray<'local>) -> Attachments {
    if objects.is_null() {
        return Attachments::default();
    }
    match env.with_env(|env| Attachments::new(env, objects)).into_outcome() {
        Outcome::Ok(attachments) => attachments,
        Outcome::Err(_) | Outcome::Panic(_) => Attachments::default(),
    }
}

/// A function that takes a packet and answers with one.
fn converse<'local>(
    name: &str,
    mut env: EnvUnowned<'local>,
    packet: JByteArray<'local>,
    work: impl FnOnce(Unpacking<'_>) -> Result<Vec<u8>, Failure>,
) -> JByteArray<'local> {
    let packet = bytes_of(&mut env, &packet).unwrap_or_default();
    let interrupt = interrupt::of(&env);
    let answer = answering(name, || interruptible(interrupt, || work(Unpacking::new(&packet))).into());
    in_an_array(&mut env, answer)
}

/// The same with objects beside the packet, for a client.
fn converse_with<'local>(
    name: &str,
    mut env: EnvUnowned<'local>,
    client: jlong,
    packet: JByteArray<'local>,
    objects: JObjectArray<'local>,
    work: impl FnOnce(Client, Unpacking<'_>, &Attachments) -> Result<Answer, Failure>,
) -> JByteArray<'local> {
    let packet = bytes_of(&mut env, &packet).unwrap_or_default();
    let attachments = attached(&mut env, &objects);
    let interrupt = interrupt::of(&env);
    let answer = answering(name, || {
        let work = || find(client).and_then(|client| work(client, Unpacking::new(&packet), &attachments));
        interruptible(interrupt, work).unwrap_or_else(Answer::Failure)
    });
    in_an_array(&mut env, answer)
}

fn find(client: jlong) -> Result<Client, Failure> {
    CLIENTS.find(client).map(|held| held.client).ok_or(Failure::CLOSED)
}

extern "system" fn version<'local>(mut env: EnvUnowned<'local>, _class: JClass<'local>) -> JString<'local> {
    match env.with_env(|env| env.new_string(env!("CARGO_PKG_VERSION"))).into_outcome() {
        Outcome::Ok(version) => version,
        Outcome::Err(_) | Outcome::Panic(_) => JString::null(),
    }
}

/// Where the memory of a direct buffer lies; 0 where it is none.
extern "system" fn address<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    buffer: JByteBuffer<'local>,
) -> jlong {
    match env.with_env(|env| env.get_direct_buffer_address(&buffer)).into_outcome() {
        Outcome::Ok(address) => address as jlong,
        Outcome::Err(_) | Outcome::Panic(_) => 0,
    }
}

/// Makes a client of packed options and answers with its handle.
extern "system" fn build<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    packet: JByteArray<'local>,
) -> JByteArray<'local> {
    converse("build", env, packet, |mut fields| {
        let is_shared = fields.byte()? != 0;
        let builder = options::unpack(&mut fields)??;
        let client = if is_shared { builder.build_shared() } else { builder.build() }?;
        Ok(CLIENTS.insert(Held { client, is_shared }).to_ne_bytes().to_vec())
    })
}

/// Closes a client, unless it is shared: its handle is good no more, calls under way end as usual.
extern "system" fn close<'local>(_env: EnvUnowned<'local>, _class: JClass<'local>, client: jlong) {
    // Whatever panics here, the handle is gone.
    caught("close", || {
        if let Some(held) = CLIENTS.remove(client).filter(|held| !held.is_shared) {
            held.client.close();
        }
    });
}

/// Sends the request that lies packed in the caller's memory, and leaves the answer there; returns its length, or
/// [`IN_A_SLOT`].
extern "system" fn send<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
    address: jlong,
    length: jint,
    capacity: jint,
    body: JByteArray<'local>,
    objects: JObjectArray<'local>,
) -> jint {
    let body = bytes_of(&mut env, &body);
    let attachments = attached(&mut env, &objects);
    let capacity = usize::try_from(capacity).unwrap_or(0);
    // SAFETY: Java gives the address and size of a direct buffer that nobody else uses before this call returns.
    let memory = unsafe { std::slice::from_raw_parts_mut(address as *mut u8, capacity) };
    let length = usize::try_from(length).unwrap_or(0).min(capacity);
    let interrupt = interrupt::of(&env);
    let left = caught("send", || {
        let answer = interruptible(interrupt, || {
            let client = find(client)?;
            let request = request::unpack(&mut Unpacking::new(&memory[..length]), body, &attachments)?;
            Ok(client.send(&request).into())
        });
        let answer = answer.unwrap_or_else(Answer::Failure);
        let mut room = Room::new(memory);
        answer.pack_head(&mut room);
        room.put(answer.body());
        room.length().and_then(|length| jint::try_from(length).ok()).ok_or_else(|| Box::new(answer))
    });
    match left.unwrap_or_else(|| Err(Box::new(Answer::Failure(Failure::PANIC)))) {
        Ok(length) => length,
        Err(answer) => {
            Room::new(memory).put_long(LEFT.insert(*answer));
            IN_A_SLOT
        }
    }
}

/// Takes the answer out of a slot.
extern "system" fn rest<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    slot: jlong,
) -> JByteArray<'local> {
    let answer = answering("rest", || LEFT.take(slot).unwrap_or(Answer::Failure(Failure::PANIC)));
    in_an_array(&mut env, answer)
}

/// Sends many packed requests and answers with the first block of their outcomes.
extern "system" fn send_all<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
    packet: JByteArray<'local>,
    objects: JObjectArray<'local>,
) -> JByteArray<'local> {
    converse_with("sendAll", env, client, packet, objects, |client, mut fields, attachments| {
        let requests = rows::unpack(&mut fields, attachments)?;
        Ok(Answer::Value(rows::pack(client.map(&requests).into_iter().map(Answer::from).collect())))
    })
}

/// Writes what is packed, and answers as a request does.
extern "system" fn write<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
    packet: JByteArray<'local>,
    objects: JObjectArray<'local>,
) -> JByteArray<'local> {
    converse_with("write", env, client, packet, objects, |client, mut fields, attachments| {
        Ok(client.write(&writes::unpack(&mut fields, attachments)?).into())
    })
}

/// Writes many, and answers with the first block of their outcomes.
extern "system" fn write_all<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
    packet: JByteArray<'local>,
    objects: JObjectArray<'local>,
) -> JByteArray<'local> {
    converse_with("writeAll", env, client, packet, objects, |client, mut fields, attachments| {
        let writes = writes::unpack_all(&mut fields, attachments)?;
        Ok(Answer::Value(rows::pack(client.write_all(&writes).into_iter().map(Answer::from).collect())))
    })
}

/// What may be promised of a write.
extern "system" fn guarantee<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    packet: JByteArray<'local>,
    objects: JObjectArray<'local>,
) -> JByteArray<'local> {
    let attachments = attached(&mut env, &objects);
    converse("guarantee", env, packet, |mut fields| {
        let mut name = Vec::new();
        name.put_text(writes::guarantee(&writes::unpack(&mut fields, &attachments)?));
        Ok(name)
    })
}

/// Sends a request and answers with the head of what comes back, and the number by which the rest is read.
extern "system" fn open<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
    packet: JByteArray<'local>,
    objects: JObjectArray<'local>,
) -> JByteArray<'local> {
    converse_with("open", env, client, packet, objects, |client, mut fields, attachments| {
        let request = request::unpack(&mut fields, None, attachments)?;
        Ok(Answer::Value(opened::keep(client.open(&request)?)))
    })
}

/// Reads the next bytes of an answer into an array; returns how many, 0 at the end, or less than 0: the number,
/// negated, of the slot in which a failure waits.
extern "system" fn read<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    reader: jlong,
    into: JByteArray<'local>,
    offset: jint,
    length: jint,
) -> jlong {
    let interrupt = interrupt::of(&env);
    let mut piece = vec![0; usize::try_from(length).unwrap_or(0).min(MOST_READ)];
    let read = caught("read", || interruptible(interrupt, || opened::read(reader, &mut piece)));
    let failure = match read {
        Some(Ok(got)) => {
            let stored = env.with_env(|env| into.set_region(env, offset, upcall::as_java(&piece[..got])));
            match stored.into_outcome() {
                Outcome::Ok(()) => return jlong::try_from(got).unwrap_or(0),
                Outcome::Err(_) | Outcome::Panic(_) => Failure::PANIC,
            }
        }
        Some(Err(failure)) => failure,
        None => Failure::PANIC,
    };
    -LEFT.insert(Answer::Failure(failure))
}

extern "system" fn trailers<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    reader: jlong,
) -> JByteArray<'local> {
    let answer = answering("trailers", || opened::trailers(reader).into());
    in_an_array(&mut env, answer)
}

extern "system" fn close_stream<'local>(_env: EnvUnowned<'local>, _class: JClass<'local>, reader: jlong) {
    caught("closeStream", || opened::close(reader));
}

/// Sends a packed request without waiting; returns the number of the call, by which it is canceled, or -1 where the JVM
/// has no memory left. `pending` is told how it ends, on a thread of ours.
extern "system" fn send_async<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
    pending: JObject<'local>,
    address: jlong,
    length: jint,
    body: JByteArray<'local>,
    objects: JObjectArray<'local>,
) -> jlong {
    let body = bytes_of(&mut env, &body);
    let attachments = attached(&mut env, &objects);
    let Outcome::Ok(pending) = env.with_env(|env| env.new_global_ref(&pending)).into_outcome() else { return -1 };
    let pending = Pending::new(pending);
    // SAFETY: Java gives the address and size of a direct buffer that nobody else uses before this call returns.
    let packet = unsafe { std::slice::from_raw_parts(address as *const u8, usize::try_from(length).unwrap_or(0)) };
    let begun = caught("sendAsync", move || {
        let prepared = find(client)
            .and_then(|client| Ok((client, request::unpack(&mut Unpacking::new(packet), body, &attachments)?)));
        let (client, request) = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => {
                pending.tell(Answer::Failure(failure));
                return 0;
            }
        };
        let client = AsyncClient::from(client);
        let call = CALLS.insert_with(|number| {
            pinlink::spawn(async move {
                let answer = client.send(&request).await;
                pending.tell(answer.into());
                // It ends here: nobody can cancel it any more.
                drop(CALLS.take(number));
            })
        });
        // Where it can't be spawned, `pending` was dropped with it, and is told so.
        call.unwrap_or(0)
    });
    begun.unwrap_or(0)
}

/// Ends a call that runs without its caller; one that has ended is none.
extern "system" fn cancel<'local>(_env: EnvUnowned<'local>, _class: JClass<'local>, call: jlong) {
    caught("cancel", || drop(CALLS.take(call)));
}

extern "system" fn more_rows<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    slot: jlong,
) -> JByteArray<'local> {
    let answer = answering("moreRows", || Answer::Value(rows::more(slot)));
    in_an_array(&mut env, answer)
}

extern "system" fn pins_of<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
) -> JByteArray<'local> {
    let answer = answering("pins", || find(client).map(|client| pins::pack(&client.pins())).into());
    in_an_array(&mut env, answer)
}

extern "system" fn repin<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
    packet: JByteArray<'local>,
) -> JByteArray<'local> {
    converse("repin", env, packet, |mut fields| {
        let host = fields.text()?;
        find(client)?.repin(host, &pins::addresses(&mut fields)?)?;
        Ok(Vec::new())
    })
}

extern "system" fn stats_of<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
) -> JByteArray<'local> {
    let answer = answering("stats", || find(client).map(|client| stats::pack(&client.stats())).into());
    in_an_array(&mut env, answer)
}

/// Whatever is done with a pin set that is no client's.
extern "system" fn pin_set<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    packet: JByteArray<'local>,
) -> JByteArray<'local> {
    converse("pinSet", env, packet, pins::operate)
}
