//! Calls from here into Java, and what is kept of its objects meanwhile.
//!
//! It owns how a thread of ours becomes one of the JVM's: as a daemon, once, so that it never keeps the JVM alive; and
//! the thread on which Java learns of calls that have ended. That is not the runtime's thread: whoever depends on a
//! call's end may do anything there, another call included.

use std::ffi::{CString, c_void};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

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
    }
    if status != sys::JNI_OK {
        return None;
    }
    // SAFETY: this thread's environment, just given.
    let mut env = unsafe { EnvUnowned::from_raw(env.cast()) };
    // A frame of its own: a thread of ours never returns to Java, which would free what it left.
    let outcome = env.with_env(|env| env.with_local_frame(8, work)).into_outcome();
    match outcome {
        Outcome::Ok(value) => Some(value),
        Outcome::Err(_) | Outcome::Panic(_) => {
            // What a callback threw ends with it.
            let _ = env.with_env(|env| {
                env.exception_clear();
                Ok::<_, jni::errors::Error>(())
            });
            None
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

/// Hands an end over to the thread that tells Java.
fn post(object: Global<JObject<'static>>, answer: Answer) {
    static POST: OnceLock<Mutex<Option<Sender<End>>>> = OnceLock::new();
    let mut sender = POST.get_or_init(Mutex::default).lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut end = (object, answer);
    if let Some(sender) = sender.as_ref() {
        match sender.send(end) {
            Ok(()) => return,
            Err(unsent) => end = unsent.0,
        }
    }
    let (fresh, ends) = channel::<End>();
    let started = std::thread::Builder::new().name("pinlink-callback".to_owned()).spawn(move || {
        while let Ok((object, answer)) = ends.recv() {
            tell(&object, answer);
            // Attached: the JVM lets go of it here.
            drop(object);
        }
    });
    match started {
        Ok(_) => {
            // The receiver lives as long as its thread, which waits for this.
            let _ = fresh.send(end);
            *sender = Some(fresh);
        }
        // No thread is left: told on this one, late rather than never.
        Err(_) => tell(&end.0, end.1),
    }
}

fn tell(object: &Global<JObject<'static>>, answer: Answer) {
    with_java(|env| {
        let array = in_an_array(env, answer)?;
        env.call_method(object, jni_str!("arrive"), jni_sig!("([B)V"), &[JValue::Object(&array)])?.v()
    });
}

/// An answer in an array of the JVM's.
pub(crate) fn in_an_array<'local>(env: &mut Env<'local>, answer: Answer) -> jni::errors::Result<JByteArray<'local>> {
    let answer = answer.within_an_array();
    let mut head = Vec::new();
    answer.pack_head(&mut head);
    let array = env.new_byte_array(head.len() + answer.body().len())?;
    array.set_region(env, 0, as_java(&head))?;
    array.set_region(env, sys::jint::try_from(head.len()).unwrap_or(sys::jint::MAX), as_java(answer.body()))?;
    Ok(array)
}

pub(crate) fn as_java(bytes: &[u8]) -> &[i8] {
    // SAFETY: the same bytes, of the same size and alignment, for as long.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

pub(crate) fn as_ours(bytes: &[i8]) -> &[u8] {
    // SAFETY: the same bytes, of the same size and alignment, for as long.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}
