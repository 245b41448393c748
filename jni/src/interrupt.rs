//! Whether the calling thread was interrupted: asked of `java.lang.Thread` while a call waits.
//!
//! It owns what is kept of that class, which is the JVM's own and never unloaded. A call on a warm connection never
//! asks. The flag is read, not cleared: it is the caller's.

use std::sync::OnceLock;

use jni::errors::Result;
use jni::objects::{JClass, JMethodID, JObject, JStaticMethodID};
use jni::refs::Global;
use jni::signature::{Primitive, ReturnType};
use jni::{Env, EnvUnowned, Outcome, jni_sig, jni_str};
use pinlink::Interrupt;

struct ThreadClass {
    class: Global<JClass<'static>>,
    current_thread: JStaticMethodID,
    is_interrupted: JMethodID,
}

static THREAD: OnceLock<ThreadClass> = OnceLock::new();

/// Looks the methods up, once.
pub(crate) fn prepare(env: &mut Env<'_>) -> Result<()> {
    if THREAD.get().is_none() {
        let class = env.find_class(jni_str!("java/lang/Thread"))?;
        let current_thread =
            env.get_static_method_id(&class, jni_str!("currentThread"), jni_sig!("()Ljava/lang/Thread;"))?;
        let is_interrupted = env.get_method_id(&class, jni_str!("isInterrupted"), jni_sig!("()Z"))?;
        let class = env.new_global_ref(&class)?;
        // Whoever was first looked up the same.
        let _ = THREAD.set(ThreadClass { class, current_thread, is_interrupted });
    }
    Ok(())
}

/// What the core asks while it waits on this thread.
pub(crate) fn of(env: &EnvUnowned<'_>) -> Interrupt {
    Interrupt { asks: is_interrupted, of: env.as_raw() as usize }
}

fn is_interrupted(env: usize) -> bool {
    // SAFETY: the environment of the native call that is waiting, on its own thread.
    let mut env = unsafe { EnvUnowned::from_raw(env as *mut jni::sys::JNIEnv) };
    matches!(env.with_env(ask).into_outcome(), Outcome::Ok(true))
}

fn ask(env: &mut Env<'_>) -> Result<bool> {
    let Some(thread) = THREAD.get() else { return Ok(false) };
    let class: &JClass<'_> = &thread.class;
    // SAFETY: a static method without arguments that returns an object.
    let current: JObject<'_> =
        unsafe { env.call_static_method_unchecked(class, thread.current_thread, ReturnType::Object, &[]) }?.l()?;
    // SAFETY: a method without arguments that returns a boolean.
    let interrupted = unsafe {
        env.call_method_unchecked(&current, thread.is_interrupted, ReturnType::Primitive(Primitive::Boolean), &[])
    }?
    .z();
    // A call may wait for an hour and asks every 50 ms.
    env.delete_local_ref(current);
    interrupted
}
