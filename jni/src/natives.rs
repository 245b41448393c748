//! The functions behind `io.github.pinlink.Native`.
//!
//! Each converts, calls one function of the core, and converts back. What goes wrong is an answer like any other:
//! Java makes the exception. No panic gets through to the JVM, and no object of it is kept.

use std::collections::VecDeque;
use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use jni::objects::{JByteArray, JByteBuffer, JClass, JObject, JObjectArray, JString};
use jni::strings::JNIStr;
use jni::sys::{jboolean, jint, jlong};
use jni::{Env, EnvUnowned, NativeMethod, Outcome, jni_str};
use pinlink::{AsyncClient, Client, Detached, interruptible};

use crate::answer::{Answer, Failure};
use crate::attachments::Attachments;
use crate::handles::{Handles, Slots};
use crate::packet::{Packing, Room, Unpacking};
use crate::sockets::{self, Trouble};
use crate::upcall::{self, Pending};
use crate::{doctor, fault, interrupt, opened, options, pins, request, rows, stats, writes};

/// The class whose methods these are.
pub(crate) const CLASS: &CStr = c"io/github/pinlink/Native";

/// What `send` returns where its answer did not fit: it waits in a slot, whose number stands in the memory.
const IN_A_SLOT: jint = -1;

/// The most bytes that one crossing of a socket's carries: what the JDK's own sockets take at once.
const MOST_CARRIED: usize = 64 * 1024;

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
        method(jni_str!("sendAll"), jni_str!("(J[BI[Ljava/lang/Object;)[B"), send_all as *mut c_void),
        method(jni_str!("write"), jni_str!("(J[B[Ljava/lang/Object;)[B"), write as *mut c_void),
        method(jni_str!("writeAll"), jni_str!("(J[BI[Ljava/lang/Object;)[B"), write_all as *mut c_void),
        method(jni_str!("writeBatch"), jni_str!("(J[BI[Ljava/lang/Object;)[B"), write_batch as *mut c_void),
        method(jni_str!("guarantee"), jni_str!("([B[Ljava/lang/Object;)[B"), guarantee as *mut c_void),
        method(jni_str!("open"), jni_str!("(J[B[Ljava/lang/Object;)[B"), open as *mut c_void),
        method(jni_str!("read"), jni_str!("(JJI)J"), read as *mut c_void),
        method(jni_str!("trailers"), jni_str!("(J)[B"), trailers as *mut c_void),
        method(jni_str!("closeStream"), jni_str!("(J)V"), close_stream as *mut c_void),
        method(jni_str!("moreRows"), jni_str!("(J)[B"), more_rows as *mut c_void),
        method(
            jni_str!("sendAsync"),
            jni_str!("(JLio/github/pinlink/Pending;JI[B[Ljava/lang/Object;)J"),
            send_async as *mut c_void,
        ),
        method(
            jni_str!("writeAsync"),
            jni_str!("(JLio/github/pinlink/Pending;[B[Ljava/lang/Object;)J"),
            write_async as *mut c_void,
        ),
        method(jni_str!("cancel"), jni_str!("(J)V"), cancel as *mut c_void),
        method(jni_str!("pins"), jni_str!("(J)[B"), pins_of as *mut c_void),
        method(jni_str!("repin"), jni_str!("(J[B)[B"), repin as *mut c_void),
        method(jni_str!("stats"), jni_str!("(J)[B"), stats_of as *mut c_void),
        method(jni_str!("doctor"), jni_str!("(J[B)[B"), diagnose as *mut c_void),
        method(jni_str!("pinSet"), jni_str!("([B)[B"), pin_set as *mut c_void),
        method(jni_str!("makeSocket"), jni_str!("()J"), make_socket as *mut c_void),
        method(jni_str!("connect"), jni_str!("(JJ[B)[B"), connect as *mut c_void),
        method(jni_str!("receive"), jni_str!("(J[BIII)I"), receive as *mut c_void),
        method(jni_str!("transmit"), jni_str!("(J[BII)I"), transmit as *mut c_void),
        method(jni_str!("available"), jni_str!("(J)I"), available as *mut c_void),
        method(jni_str!("shut"), jni_str!("(JZ)I"), shut as *mut c_void),
        method(jni_str!("urge"), jni_str!("(JI)I"), urge as *mut c_void),
        method(jni_str!("option"), jni_str!("(JI)J"), option as *mut c_void),
        method(jni_str!("setOption"), jni_str!("(JII)I"), set_option as *mut c_void),
        method(jni_str!("meaning"), jni_str!("(I)Ljava/lang/String;"), meaning as *mut c_void),
        method(jni_str!("closeSocket"), jni_str!("(J)V"), close_socket as *mut c_void),
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

/// Hands an answer over in an array, without its body where the JVM has no memory for that; null where none is left.
fn in_an_array<'local>(env: &mut EnvUnowned<'local>, answer: Answer) -> JByteArray<'local> {
    match env.with_env(|env| upcall::in_an_array(env, answer)).into_outcome() {
        Outcome::Ok(array) => array,
        Outcome::Err(_) | Outcome::Panic(_) => JByteArray::null(),
    }
}

/// The same with the first block of many outcomes.
fn in_a_block<'local>(env: &mut EnvUnowned<'local>, rows: VecDeque<Answer>) -> JByteArray<'local> {
    let block = env.with_env(|env| {
        Ok::<_, jni::errors::Error>(rows::deal(rows, |block| upcall::whole_in_an_array(env, &block).ok()))
    });
    match block.into_outcome() {
        Outcome::Ok(Some(array)) => array,
        Outcome::Ok(None) | Outcome::Err(_) | Outcome::Panic(_) => JByteArray::null(),
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

/// The first bytes of an array that Java handed in.
fn first_bytes_of<'local>(env: &mut EnvUnowned<'local>, array: &JByteArray<'local>, length: jint) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    match env.with_env(|env| array.get_region(env, 0, upcall::as_java_mut(&mut bytes))).into_outcome() {
        Outcome::Ok(()) => bytes,
        Outcome::Err(_) | Outcome::Panic(_) => Vec::new(),
    }
}

/// What came beside a packet.
fn attached<'local>(env: &mut EnvUnowned<'local>, objects: &JObjectArray<'local>) -> Result<Attachments, Failure> {
    if objects.is_null() {
        return Ok(Attachments::default());
    }
    match env.with_env(|env| Attachments::new(env, objects)).into_outcome() {
        Outcome::Ok(attachments) => Ok(attachments),
        Outcome::Err(_) | Outcome::Panic(_) => Err(Failure::NO_MEMORY),
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
        let work = || work(find(client)?, Unpacking::new(&packet), &attachments?);
        interruptible(interrupt, work).unwrap_or_else(Answer::Failure)
    });
    in_an_array(&mut env, answer)
}

/// The same where many rows are answered with as many.
fn converse_in_rows<'local>(
    name: &str,
    mut env: EnvUnowned<'local>,
    client: jlong,
    (packet, length): (JByteArray<'local>, jint),
    objects: JObjectArray<'local>,
    work: impl FnOnce(Client, Unpacking<'_>, &Attachments) -> Result<VecDeque<Answer>, Failure>,
) -> JByteArray<'local> {
    let packet = first_bytes_of(&mut env, &packet, length);
    let attachments = attached(&mut env, &objects);
    let interrupt = interrupt::of(&env);
    let rows =
        caught(name, || interruptible(interrupt, || work(find(client)?, Unpacking::new(&packet), &attachments?)));
    match rows.unwrap_or(Err(Failure::PANIC)) {
        Ok(rows) => in_a_block(&mut env, rows),
        Err(failure) => in_an_array(&mut env, Answer::Failure(failure)),
    }
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
            let request = request::unpack(&mut Unpacking::new(&memory[..length]), body, &attachments?)?;
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
    length: jint,
    objects: JObjectArray<'local>,
) -> JByteArray<'local> {
    converse_in_rows("sendAll", env, client, (packet, length), objects, |client, mut fields, attachments| {
        let requests = rows::unpack(&mut fields, attachments)?;
        Ok(client.map(&requests).into_iter().map(Answer::from).collect())
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
    length: jint,
    objects: JObjectArray<'local>,
) -> JByteArray<'local> {
    converse_in_rows("writeAll", env, client, (packet, length), objects, |client, mut fields, attachments| {
        let writes = writes::unpack_all(&mut fields, attachments)?;
        Ok(client.write_all(&writes).into_iter().map(Answer::from).collect())
    })
}

/// Writes many in one request, and answers with the first block of their outcomes.
extern "system" fn write_batch<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
    packet: JByteArray<'local>,
    length: jint,
    objects: JObjectArray<'local>,
) -> JByteArray<'local> {
    converse_in_rows("writeBatch", env, client, (packet, length), objects, |client, mut fields, attachments| {
        let batch = writes::unpack_batch(&mut fields, attachments)?;
        Ok(client.write_batch(&batch).into_iter().map(Answer::from).collect())
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
        name.put_text(writes::guarantee(&writes::unpack(&mut fields, &attachments?)?));
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

/// Reads the next piece of an answer into the caller's memory; returns how long it is, 0 at the end, or less than 0: the
/// number, negated, of the slot in which a failure waits.
extern "system" fn read<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    reader: jlong,
    address: jlong,
    capacity: jint,
) -> jlong {
    let capacity = usize::try_from(capacity).unwrap_or(0);
    // SAFETY: Java gives the address and size of a direct buffer that nobody else uses before this call returns.
    let memory = unsafe { std::slice::from_raw_parts_mut(address as *mut MaybeUninit<u8>, capacity) };
    let interrupt = interrupt::of(&env);
    let failure = match caught("read", || interruptible(interrupt, || opened::read(reader, memory))) {
        Some(Ok(size)) => return jlong::try_from(size).unwrap_or(0),
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
    begin("sendAsync", pending, move || {
        let client = AsyncClient::from(find(client)?);
        let request = request::unpack(&mut Unpacking::new(packet), body, &attachments?)?;
        Ok(async move { client.send(&request).await.into() })
    })
}

/// Writes what is packed without waiting; as [`send_async`] otherwise.
extern "system" fn write_async<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
    pending: JObject<'local>,
    packet: JByteArray<'local>,
    objects: JObjectArray<'local>,
) -> jlong {
    let packet = bytes_of(&mut env, &packet).unwrap_or_default();
    let attachments = attached(&mut env, &objects);
    let Outcome::Ok(pending) = env.with_env(|env| env.new_global_ref(&pending)).into_outcome() else { return -1 };
    begin("writeAsync", Pending::new(pending), move || {
        let client = AsyncClient::from(find(client)?);
        let write = writes::unpack(&mut Unpacking::new(&packet), &attachments?)?;
        Ok(async move { client.write(&write).await.into() })
    })
}

/// Has a call run without its caller; returns its number, or 0 where it has ended already.
fn begin<C>(name: &str, pending: Pending, prepare: impl FnOnce() -> Result<C, Failure>) -> jlong
where
    C: Future<Output = Answer> + Send + 'static,
{
    let begun = caught(name, move || {
        let call = match prepare() {
            Ok(call) => call,
            Err(failure) => {
                pending.tell(Answer::Failure(failure));
                return 0;
            }
        };
        let number = CALLS.insert_with(|number| {
            pinlink::spawn(async move {
                pending.tell(call.await);
                // It ends here: nobody can cancel it any more.
                drop(CALLS.take(number));
            })
        });
        // Where it can't be spawned, `pending` was dropped with it, and is told so.
        number.unwrap_or(0)
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
    match caught("moreRows", || rows::take(slot)) {
        Some(rows) => in_a_block(&mut env, rows),
        None => in_an_array(&mut env, Answer::Failure(Failure::PANIC)),
    }
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

/// Looks at the way to a client's targets, or where that is 0 to the packet's.
extern "system" fn diagnose<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
    packet: JByteArray<'local>,
) -> JByteArray<'local> {
    converse("doctor", env, packet, |mut fields| {
        let of_the_host = doctor::facts(&mut fields)?;
        let mut diagnosis = match client {
            0 => doctor::examine(&mut fields)?,
            client => find(client)?.doctor()?,
        };
        diagnosis.environment.extend(of_the_host);
        Ok(doctor::pack(&diagnosis))
    })
}

/// Whatever is done with a pin set that is no client's.
extern "system" fn pin_set<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    packet: JByteArray<'local>,
) -> JByteArray<'local> {
    converse("pinSet", env, packet, pins::operate)
}

/// A number for a socket that is not connected yet; 0 where it panics, which is none.
extern "system" fn make_socket<'local>(_env: EnvUnowned<'local>, _class: JClass<'local>) -> jlong {
    caught("makeSocket", sockets::make).unwrap_or(0)
}

/// Connects a socket to the packet's host and answers with the addresses of both ends.
extern "system" fn connect<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    client: jlong,
    socket: jlong,
    packet: JByteArray<'local>,
) -> JByteArray<'local> {
    let packet = bytes_of(&mut env, &packet).unwrap_or_default();
    let interrupt = interrupt::of(&env);
    let connected = || sockets::connect(&find(client)?, socket, interrupt, Unpacking::new(&packet));
    let answer = answering("connect", || connected().into());
    in_an_array(&mut env, answer)
}

/// A socket function's outcome: what it brings, or a [`Trouble`] below zero.
fn plain(name: &str, work: impl FnOnce() -> Result<jint, Trouble>) -> jint {
    caught(name, work).unwrap_or(Err(Trouble::Panic)).unwrap_or_else(Trouble::code)
}

/// Reads into an array, for at most so many milliseconds (0 for ever); returns how many bytes, 0 at the end.
extern "system" fn receive<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    socket: jlong,
    into: JByteArray<'local>,
    offset: jint,
    length: jint,
    timeout: jint,
) -> jint {
    let interrupt = interrupt::of(&env);
    let patience = u64::try_from(timeout).ok().filter(|timeout| *timeout > 0).map(Duration::from_millis);
    let length = usize::try_from(length).unwrap_or(0).min(MOST_CARRIED);
    let mut piece: Vec<u8> = Vec::with_capacity(length);
    plain("receive", || {
        let space: &mut [MaybeUninit<u8>] = &mut piece.spare_capacity_mut()[..length];
        let got = sockets::receive(socket, space, patience, interrupt)?;
        // SAFETY: the kernel has written so many bytes from the start of the capacity.
        unsafe { piece.set_len(got) };
        let stored = env.with_env(|env| into.set_region(env, offset, upcall::as_java(&piece)));
        match stored.into_outcome() {
            Outcome::Ok(()) => Ok(jint::try_from(got).unwrap_or(jint::MAX)),
            Outcome::Err(_) | Outcome::Panic(_) => Err(Trouble::Panic),
        }
    })
}

/// Writes so many bytes of an array.
extern "system" fn transmit<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    socket: jlong,
    bytes: JByteArray<'local>,
    offset: jint,
    length: jint,
) -> jint {
    let interrupt = interrupt::of(&env);
    plain("transmit", || {
        let mut piece = vec![0_i8; usize::try_from(length).unwrap_or(0).min(MOST_CARRIED)];
        let (mut from, end) = (offset, offset.saturating_add(length));
        while from < end {
            let size = usize::try_from(end - from).unwrap_or(0).min(piece.len());
            let copied = env.with_env(|env| bytes.get_region(env, from, &mut piece[..size]));
            let Outcome::Ok(()) = copied.into_outcome() else { return Err(Trouble::Panic) };
            sockets::transmit(socket, upcall::as_ours(&piece[..size]), interrupt)?;
            from += jint::try_from(size).unwrap_or(jint::MAX);
        }
        Ok(0)
    })
}

extern "system" fn available<'local>(_env: EnvUnowned<'local>, _class: JClass<'local>, socket: jlong) -> jint {
    plain("available", || sockets::available(socket))
}

extern "system" fn shut<'local>(
    _env: EnvUnowned<'local>,
    _class: JClass<'local>,
    socket: jlong,
    is_output: jboolean,
) -> jint {
    plain("shut", || sockets::shut(socket, is_output).map(|()| 0))
}

extern "system" fn urge<'local>(_env: EnvUnowned<'local>, _class: JClass<'local>, socket: jlong, byte: jint) -> jint {
    plain("urge", || sockets::urge(socket, byte.to_le_bytes()[0]).map(|()| 0))
}

/// The value of an option: an `int`, or a [`Trouble`] below all of those.
extern "system" fn option<'local>(
    _env: EnvUnowned<'local>,
    _class: JClass<'local>,
    socket: jlong,
    number: jint,
) -> jlong {
    let value = caught("option", || sockets::option(socket, number)).unwrap_or(Err(Trouble::Panic));
    value.map_or_else(|trouble| jlong::from(jint::MIN) + jlong::from(trouble.code()), jlong::from)
}

extern "system" fn set_option<'local>(
    _env: EnvUnowned<'local>,
    _class: JClass<'local>,
    socket: jlong,
    number: jint,
    value: jint,
) -> jint {
    plain("setOption", || sockets::set_option(socket, number, value).map(|()| 0))
}

/// What a number of the kernel's means, in its words.
extern "system" fn meaning<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    number: jint,
) -> JString<'local> {
    let meaning = std::io::Error::from_raw_os_error(number).to_string();
    match env.with_env(|env| env.new_string(&meaning)).into_outcome() {
        Outcome::Ok(meaning) => meaning,
        Outcome::Err(_) | Outcome::Panic(_) => JString::null(),
    }
}

extern "system" fn close_socket<'local>(_env: EnvUnowned<'local>, _class: JClass<'local>, socket: jlong) {
    caught("closeSocket", || sockets::close(socket));
}
