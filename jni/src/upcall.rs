//! Calls from here into Java, and what is kept of its objects meanwhile.
//!
//! It owns how a thread of ours becomes one of the JVM's: as a daemon, once, until it ends, so that it never keeps the
//! JVM alive; and the threads on which Java learns of calls that have ended. Those are not the runtime's: whoever
//! depends on a call's end may wait there, for another call's end too, as long as no more than [`MOST`] do. How long
//! ends wait for their turn is the condition variable's clock.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::{CString, c_void};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use jni::objects::{JByteArray, JObject};
use jni::refs::Global;
use jni::sys::{self, JavaVMAttachArgs};
use jni::{Env, EnvUnowned, JValue, JavaVM, Outcome, jni_sig, jni_str};

use crate::answer::{Answer, Failure};

/// Runs what needs the JVM on this thread, whoever's it is; nothing where the JVM will not have it.
pub(crate) fn with_java<T>(work: impl FnOnce(&mut Env<'_>) -> jni::errors::Result<T>) -> Option<T> {
    let vm = JavaVM::singleton().ok()?;
    let raw = vm.get_raw();
    let mut env: *mut c_void = std::ptr::null_mut();
    // SAFETY: the process's JVM; `env` outlives the call.
    let mut status = unsafe { ((**raw).v1_2.GetEnv)(raw, &mut env, sys::JNI_VERSION_1_8) };
    // Where this thread is ending, the JVM lets go of it at once.
    let mut ending = None;
    if status == sys::JNI_EDETACHED {
        let name = CString::new(std::thread::current().name().unwrap_or("pinlink")).unwrap_or_default();
        let mut arguments = JavaVMAttachArgs {
            version: sys::JNI_VERSION_1_8,
            name: name.as_ptr().cast_mut(),
            group: std::ptr::null_mut(),
        };
        // SAFETY: as above; the JVM copies the name.
        status = unsafe {
            ((**raw).v1_4.AttachCurrentThreadAsDaemon)(raw, &mut env, std::ptr::from_mut(&mut arguments).cast())
        };
        if status == sys::JNI_OK && ATTACHED.try_with(|attached| attached.0.set(true)).is_err() {
            ending = Some(Attached(Cell::new(true)));
        }
    }
    if status != sys::JNI_OK {
        return None;
    }
    // SAFETY: this thread's environment, just given.
    let mut env = unsafe { EnvUnowned::from_raw(env.cast()) };
    // A frame of its own: a thread of ours never returns to Java, which would free what it left.
    let outcome = env.with_env(|env| env.with_local_frame(8, work)).into_outcome();
    let outcome = match outcome {
        Outcome::Ok(value) => Some(value),
        Outcome::Err(_) | Outcome::Panic(_) => {
            // What a callback threw ends with it.
            let _ = env.with_env(|env| {
                env.exception_clear();
                Ok::<_, jni::errors::Error>(())
            });
            None
        }
    };
    drop(ending);
    outcome
}

/// Whether it was here that a thread became one of the JVM's. It is no more when it ends: the JVM would keep a thread
/// for ever that is none.
struct Attached(Cell<bool>);

thread_local! {
    static ATTACHED: Attached = const { Attached(Cell::new(false)) };
}

impl Drop for Attached {
    fn drop(&mut self) {
        let Ok(vm) = JavaVM::singleton() else { return };
        let raw = vm.get_raw();
        let mut env: *mut c_void = std::ptr::null_mut();
        // SAFETY: the process's JVM; `env` outlives the call.
        let status = unsafe { ((**raw).v1_2.GetEnv)(raw, &mut env, sys::JNI_VERSION_1_8) };
        // A JVM that has ended has no such thread.
        if self.0.get() && status == sys::JNI_OK {
            // SAFETY: as above; nothing of Java's runs on this thread any more.
            unsafe { ((**raw).v1_1.DetachCurrentThread)(raw) };
        }
    }
}

/// The Java object that waits for the end of a call. It is told exactly once, whatever becomes of the call.
pub(crate) struct Pending(Option<Global<JObject<'static>>>);

impl Pending {
    pub(crate) fn new(object: Global<JObject<'static>>) -> Pending {
        Pending(Some(object))
    }

    pub(crate) fn tell(mut self, answer: Answer) {
        if let Some(object) = self.0.take() {
            post(object, answer);
        }
    }
}

impl Drop for Pending {
    /// Dropped untold: the call was canceled, or it panicked.
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            let failure = if std::thread::panicking() { Failure::PANIC } else { Failure::CANCELED };
            post(object, Answer::Failure(failure));
        }
    }
}

type End = (Global<JObject<'static>>, Answer);

/// The most threads that tell Java of ends.
const MOST: usize = 64;

/// How long ends wait behind one that is being told, before another thread takes the next.
const PATIENCE: Duration = Duration::from_millis(2);

/// How often, and how far apart, a JVM without memory is told of an end.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// How long a thread beyond two stays that nobody needs.
const IDLE: Duration = Duration::from_secs(1);

/// Ends that Java has not been told of, and the threads for it: one tells them all, another stands by.
#[derive(Default)]
struct Ends {
    waiting: VecDeque<End>,
    threads: usize,
    idle: usize,
    /// How many are telling one.
    busy: usize,
    /// How many were ever taken, by which one sees that another gets on.
    taken: u64,
    /// Whether one that stands by sees to that.
    is_watched: bool,
}

static ENDS: LazyLock<Mutex<Ends>> = LazyLock::new(Mutex::default);
static NEWS: Condvar = Condvar::new();

fn ends() -> MutexGuard<'static, Ends> {
    ENDS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn wait(ends: MutexGuard<'static, Ends>, time: Duration) -> (MutexGuard<'static, Ends>, bool) {
    let (ends, waited) = NEWS.wait_timeout(ends, time).unwrap_or_else(|poisoned| poisoned.into_inner());
    (ends, waited.timed_out())
}

/// Hands an end over to the threads that tell Java.
fn post(object: Global<JObject<'static>>, answer: Answer) {
    let mut ends = ends();
    ends.waiting.push_back((object, answer));
    if ends.threads > 0 {
        // Whoever watches waits for one that is telling, which may be nobody any more.
        if !ends.is_watched || ends.busy == 0 {
            NEWS.notify_one();
        }
        return;
    }
    ends.threads = 1;
    drop(ends);
    if !hire() {
        // No thread is left: told on this one, late rather than never.
        let all = std::mem::take(&mut self::ends().waiting);
        all.into_iter().for_each(tell);
    }
}

/// Starts a thread that is counted already.
fn hire() -> bool {
    let hired = std::thread::Builder::new().name("pinlink-callback".to_owned()).spawn(serve).is_ok();
    if !hired {
        ends().threads -= 1;
    }
    hired
}

fn serve() {
    while let Some(mut ends) = turn() {
        while let Some(end) = ends.waiting.pop_front() {
            ends.taken += 1;
            ends.busy += 1;
            let is_alone = ends.idle == 0 && ends.threads < MOST;
            ends.threads += usize::from(is_alone);
            drop(ends);
            if is_alone {
                hire();
            }
            tell(end);
            ends = self::ends();
            ends.busy -= 1;
        }
    }
}

/// Waits until it is this thread's turn; nothing where it isn't needed any more.
fn turn() -> Option<MutexGuard<'static, Ends>> {
    let mut ends = ends();
    ends.idle += 1;
    loop {
        if ends.waiting.is_empty() || (ends.is_watched && ends.busy > 0) {
            if ends.threads <= 2 {
                ends = NEWS.wait(ends).unwrap_or_else(|poisoned| poisoned.into_inner());
                continue;
            }
            let is_late;
            (ends, is_late) = wait(ends, IDLE);
            if is_late && ends.waiting.is_empty() && ends.threads > 2 {
                ends.idle -= 1;
                ends.threads -= 1;
                return None;
            }
            continue;
        }
        if ends.busy > 0 {
            let taken = ends.taken;
            ends.is_watched = true;
            (ends, _) = wait(ends, PATIENCE);
            ends.is_watched = false;
            if ends.busy > 0 && ends.taken != taken {
                continue;
            }
        }
        ends.idle -= 1;
        if ends.waiting.len() > 1 {
            // Somebody else watches from here on.
            NEWS.notify_one();
        }
        return Some(ends);
    }
}

/// Tells Java of one end: whatever there is no memory for, the call ends there too.
fn tell((object, answer): End) {
    let mut answer = Some(answer);
    for _ in 0..TRIES {
        let told = with_java(|env| {
            let array = match answer.take() {
                Some(answer) => in_an_array(env, answer)?,
                // Null stands for what there was no room for.
                None => JByteArray::null(),
            };
            env.call_method(&object, jni_str!("arrive"), jni_sig!("([B)V"), &[JValue::Object(&array)])?.v()
        });
        if told.is_some() {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    // Attached: the JVM lets go of it here.
    drop(object);
}

/// An answer in an array of the JVM's; without its body where the JVM has no memory for that.
pub(crate) fn in_an_array<'local>(env: &mut Env<'local>, answer: Answer) -> jni::errors::Result<JByteArray<'local>> {
    let answer = answer.within_an_array();
    whole_in_an_array(env, &answer).or_else(|_| whole_in_an_array(env, &answer.without_body()))
}

/// All of an answer in an array, or an error, of which nothing is pending then.
pub(crate) fn whole_in_an_array<'local>(
    env: &mut Env<'local>,
    answer: &Answer,
) -> jni::errors::Result<JByteArray<'local>> {
    let mut head = Vec::new();
    answer.pack_head(&mut head);
    let made = env.new_byte_array(head.len() + answer.body().len());
    if made.is_err() {
        env.exception_clear();
    }
    let array = made?;
    array.set_region(env, 0, as_java(&head))?;
    array.set_region(env, sys::jint::try_from(head.len()).unwrap_or(sys::jint::MAX), as_java(answer.body()))?;
    Ok(array)
}

pub(crate) fn as_java(bytes: &[u8]) -> &[i8] {
    // SAFETY: the same bytes, of the same size and alignment, for as long.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

pub(crate) fn as_java_mut(bytes: &mut [u8]) -> &mut [i8] {
    // SAFETY: the same bytes, of the same size and alignment, for as long.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
}

pub(crate) fn as_ours(bytes: &[i8]) -> &[u8] {
    // SAFETY: the same bytes, of the same size and alignment, for as long.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}
