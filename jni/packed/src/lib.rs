//! The native library as the jar holds it: LZ4 inside, unpacked and loaded when the JVM loads this.
//!
//! What a jar compresses takes the JVM five times as long to inflate as everything else that a first client costs; what
//! it doesn't compress would be too large. This library owns the way from its payload to a loaded library, and nothing
//! that a call needs: the real one registers its own functions, and finds the one that was loaded first. No clock.

use std::ffi::{CStr, CString, c_void};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use jni_sys::{JNI_ERR, JNI_OK, JNI_VERSION_1_8, JNIEnv, JavaVM, jint};
use lz4_flex::frame::FrameDecoder;

static PAYLOAD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/payload"));

/// How much is unpacked at once: what stays in a processor's cache.
const PIECE: usize = 128 * 1024;

type OnLoad = unsafe extern "system" fn(*mut JavaVM, *mut c_void) -> jint;

/// Called by the JVM when it has loaded this library, on behalf of one class loader.
///
/// # Safety
/// `vm` is the process's JVM, and the calling thread is attached to it.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn JNI_OnLoad(vm: *mut JavaVM, reserved: *mut c_void) -> jint {
    let loaded = catch_unwind(load).unwrap_or_else(|_| Err("it panicked".to_owned()));
    match loaded {
        Ok((library, on_load)) => {
            // SAFETY: the entry point of the real library, with what this one was given.
            let version = unsafe { on_load(vm, reserved) };
            // It has itself kept by now where it is needed; else another copy serves this class loader.
            // SAFETY: gives back what `load` took.
            unsafe { libc::dlclose(library) };
            version
        }
        Err(why) => {
            // SAFETY: the caller's promise.
            unsafe { throw(vm, &why) };
            JNI_ERR
        }
    }
}

/// Has the JVM say why, where it would else only tell that nothing was loaded.
///
/// # Safety
/// `vm` is the process's JVM, and the calling thread is attached to it.
unsafe fn throw(vm: *mut JavaVM, why: &str) {
    let mut env: *mut c_void = std::ptr::null_mut();
    let Ok(why) = CString::new(why) else { return };
    // SAFETY: the function table of a live JVM; `env` outlives the call.
    if unsafe { ((**vm).v1_2.GetEnv)(vm, &mut env, JNI_VERSION_1_8) } != JNI_OK {
        return;
    }
    let env: *mut JNIEnv = env.cast();
    // SAFETY: this thread's environment, and C strings.
    unsafe {
        let class = ((**env).v1_1.FindClass)(env, c"java/lang/UnsatisfiedLinkError".as_ptr());
        if !class.is_null() {
            ((**env).v1_1.ThrowNew)(env, class, why.as_ptr());
        }
    }
}

/// Unpacks the real library into the first folder that it can be loaded from, and leaves no file behind.
fn load() -> Result<(*mut c_void, OnLoad), String> {
    if PAYLOAD.is_empty() {
        return Err("nothing is packed in this build".to_owned());
    }
    let own = own_folder();
    let folders = own.iter().map(PathBuf::as_path).chain(["/tmp", "/dev/shm", "/var/tmp"].map(Path::new));
    let mut failures = Vec::new();
    for folder in folders {
        match load_from(folder) {
            Ok(loaded) => return Ok(loaded),
            Err(why) => failures.push(format!("{}: {why}", folder.display())),
        }
    }
    Err(format!("it can't be unpacked: {}", failures.join("; ")))
}

/// Where this library was loaded from: a folder that lets libraries be mapped.
fn own_folder() -> Option<PathBuf> {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: an address within this library, and a record that outlives the call.
    if unsafe { libc::dladdr(PAYLOAD.as_ptr().cast(), &mut info) } == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the linker's C string, which lives as long as this library.
    let file = unsafe { CStr::from_ptr(info.dli_fname) };
    let file = PathBuf::from(std::ffi::OsString::from_vec(file.to_bytes().to_vec()));
    file.parent().map(Path::to_path_buf)
}

fn load_from(folder: &Path) -> Result<(*mut c_void, OnLoad), String> {
    let (path, file) = unique(folder).map_err(|error| error.to_string())?;
    let loaded = unpack(file).map_err(|error| error.to_string()).and_then(|()| open(&path));
    // A mapped file needs its name no more.
    let _ = fs::remove_file(&path);
    loaded
}

/// A file that nobody else has, which only this user may write and map.
fn unique(folder: &Path) -> io::Result<(PathBuf, File)> {
    let mut tries = 0;
    loop {
        let path = folder.join(format!("pinlink-{}-{:x}-{tries}.so", std::process::id(), PAYLOAD.as_ptr() as usize));
        match OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < 1000 => tries += 1,
            opened => return opened.map(|file| (path, file)),
        }
    }
}

fn unpack(mut file: File) -> io::Result<()> {
    let mut packed = FrameDecoder::new(PAYLOAD);
    let mut piece = vec![0; PIECE];
    loop {
        match packed.read(&mut piece)? {
            0 => return Ok(()),
            got => file.write_all(&piece[..got])?,
        }
    }
}

fn open(path: &Path) -> Result<(*mut c_void, OnLoad), String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: a C string; the library is one that this build has packed.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    if library.is_null() {
        // SAFETY: the linker's C string of the failure on this thread, or null.
        let why = unsafe { libc::dlerror().as_ref().map(|why| CStr::from_ptr(why).to_string_lossy().into_owned()) };
        return Err(why.unwrap_or_default());
    }
    // SAFETY: a live handle and a C string.
    let symbol = unsafe { libc::dlsym(library, c"JNI_OnLoad".as_ptr()) };
    if symbol.is_null() {
        return Err("it has no entry point".to_owned());
    }
    // SAFETY: what stands behind this name has this type, in every JVM's libraries.
    Ok((library, unsafe { std::mem::transmute::<*mut c_void, OnLoad>(symbol) }))
}
