//! One native runtime per process, however many class loaders there are.
//!
//! The JVM lets a file be loaded by one class loader only, so every loader brings a copy, and the linker takes each for
//! a library of its own. It owns how a copy finds the one that was first (of the same version), and has *that* one's
//! functions registered for its own loader's class. The first stays until the process ends: its functions and threads
//! outlive the class loader that brought it. No class of any loader is kept.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::catch_unwind;

use jni::objects::JClass;
use jni::{EnvUnowned, JavaVM, sys};

use crate::natives;

/// What one copy tells another: which version it is, and how to have its functions registered.
#[repr(C)]
#[derive(Debug)]
pub struct Natives {
    version: *const c_char,
    register: unsafe extern "C" fn(*mut sys::JavaVM, *mut sys::JNIEnv, sys::jclass) -> sys::jint,
}

// SAFETY: both are constants of the program.
unsafe impl Sync for Natives {}

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version holds no NUL"),
};
const SYMBOL: &CStr = c"pinlink_natives_v1";

/// Found by other copies under this name; another layout gets another number.
#[unsafe(no_mangle)]
pub static pinlink_natives_v1: Natives = Natives { version: VERSION.as_ptr(), register };

/// Called by the JVM when it has loaded this copy, on behalf of one class loader.
///
/// # Safety
/// `vm` is the process's JVM, and the calling thread is attached to it.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn JNI_OnLoad(vm: *mut sys::JavaVM, _reserved: *mut c_void) -> sys::jint {
    // SAFETY: the caller's promise.
    catch_unwind(|| unsafe { on_load(vm) }).unwrap_or(sys::JNI_ERR)
}

/// # Safety
/// `vm` is the process's JVM, and the calling thread is attached to it.
unsafe fn on_load(vm: *mut sys::JavaVM) -> sys::jint {
    let mut env: *mut c_void = std::ptr::null_mut();
    // SAFETY: the function table of a live JVM; `env` outlives the call.
    let status = unsafe { ((**vm).v1_2.GetEnv)(vm, &mut env, sys::JNI_VERSION_1_8) };
    if status != sys::JNI_OK {
        return sys::JNI_ERR;
    }
    let env: *mut sys::JNIEnv = env.cast();
    // The class of the loader on whose behalf this happens: the JVM searches there while `JNI_OnLoad` runs.
    // SAFETY: `env` is this thread's, and the name is a C string.
    let class = unsafe { ((**env).v1_1.FindClass)(env, natives::CLASS.as_ptr()) };
    if class.is_null() {
        return sys::JNI_ERR;
    }
    let why = match first_copy() {
        // SAFETY: as its contract says; a copy that was found stays loaded.
        Some(first) => match unsafe { (first.register)(vm, env, class) } {
            sys::JNI_OK => return sys::JNI_VERSION_1_8,
            _ => c"pinlink's classes and its native library are not of one build",
        },
        // Functions of one that may be unloaded would leave the JVM calling into nothing.
        None => c"pinlink's native library can't be kept loaded: the linker doesn't find it by its name",
    };
    // SAFETY: this thread's environment.
    unsafe { throw(env, why) };
    sys::JNI_ERR
}

/// Has the JVM say why, where it would else only tell that nothing was loaded.
///
/// # Safety
/// `env` is this thread's.
unsafe fn throw(env: *mut sys::JNIEnv, why: &CStr) {
    // SAFETY: the caller's promise, and C strings. What is pending says less.
    unsafe {
        ((**env).v1_1.ExceptionClear)(env);
        let class = ((**env).v1_1.FindClass)(env, c"java/lang/UnsatisfiedLinkError".as_ptr());
        if !class.is_null() {
            ((**env).v1_1.ThrowNew)(env, class, why.as_ptr());
        }
    }
}

/// Registers this copy's functions for a class: of its own loader's, or of another copy's.
///
/// # Safety
/// `vm` is the process's JVM, `env` this thread's, `class` a local reference.
unsafe extern "C" fn register(vm: *mut sys::JavaVM, env: *mut sys::JNIEnv, class: sys::jclass) -> sys::jint {
    let registered = catch_unwind(|| {
        // SAFETY: the caller's promise.
        let _vm = unsafe { JavaVM::from_raw(vm) };
        // SAFETY: the caller's promise.
        let mut env = unsafe { EnvUnowned::from_raw(env) };
        let outcome = env.with_env(|env| {
            // SAFETY: the caller's promise.
            let class = unsafe { JClass::from_raw(env, class) };
            natives::register(env, &class)
        });
        matches!(outcome.into_outcome(), jni::Outcome::Ok(()))
    });
    if registered.unwrap_or(false) { sys::JNI_OK } else { sys::JNI_ERR }
}

/// The copy of this version that was loaded first, this one included, kept loaded from now on. All copies see the same
/// order, so copies that are loaded at the same time choose the same one.
fn first_copy() -> Option<&'static Natives> {
    loaded_files().iter().find_map(|file| {
        // SAFETY: a C string; nothing is loaded that is not loaded already.
        let library = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
        if library.is_null() {
            return None;
        }
        // SAFETY: a live handle and a C string.
        let symbol: *const Natives = unsafe { libc::dlsym(library, SYMBOL.as_ptr()) }.cast();
        // SAFETY: whoever has this symbol has it in this layout: the number in its name stands for that.
        let found = unsafe { symbol.as_ref() }.filter(|copy| {
            // SAFETY: a constant C string of that copy.
            unsafe { CStr::from_ptr(copy.version) == VERSION }
        });
        if found.is_some() {
            // SAFETY: as above; from here on the library is never unloaded.
            unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE) };
        } else {
            // SAFETY: gives back what was taken above.
            unsafe { libc::dlclose(library) };
        }
        found
    })
}

/// The names of the libraries of this process, in the order in which they were loaded.
fn loaded_files() -> Vec<CString> {
    unsafe extern "C" fn note(info: *mut libc::dl_phdr_info, _size: usize, files: *mut c_void) -> c_int {
        // SAFETY: the linker's own record, and the list that was handed in below.
        let (info, files) = unsafe { (&*info, &mut *files.cast::<Vec<CString>>()) };
        if !info.dlpi_name.is_null() {
            // SAFETY: the linker's C string.
            let name = unsafe { CStr::from_ptr(info.dlpi_name) };
            // The program itself has no name here.
            if !name.is_empty() {
                files.push(name.to_owned());
            }
        }
        0
    }
    let mut files: Vec<CString> = Vec::new();
    // SAFETY: the callback gets the list it expects, and does not outlive it. Opening is left for afterwards: the
    // linker holds a lock here.
    unsafe { libc::dl_iterate_phdr(Some(note), std::ptr::from_mut(&mut files).cast()) };
    files
}
