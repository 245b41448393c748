//! Stacks as a profiler wrote them, folded: a line for each that differs, with how often it was seen.
//!
//! It owns what a frame is called: without hashes, generic arguments and folders, so that two builds have the same names.
//! It starts nothing and draws nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Stacks from the thread's name to the innermost frame, joined by semicolons, and how many samples each has.
pub(crate) type Folded = BTreeMap<String, u64>;

/// What stands behind a frame of the kernel.
const KERNEL: &str = "_[k]";

/// A name longer than this keeps its end.
const LONGEST: usize = 110;

/// What every thread begins with says nothing of what it does.
const TRUNK: [&str; 13] = [
    "_start",
    "__libc_start_main",
    "__libc_start_call_main",
    "main",
    "clone3",
    "__clone",
    "start_thread",
    "std::rt::lang_start_internal",
    "std::rt::lang_start",
    "std::rt::lang_start{}",
    "std::sys::backtrace::__rust_begin_short_backtrace",
    "core::ops::function::FnOnce::call_once{{vtable.shim}}",
    "<std::sys::thread::unix::Thread>::new::thread_start",
];

/// Folds what `perf script -F comm,ip,sym,dso` has printed, but for the samples of a thread of this name.
pub(crate) fn fold(script: &str, without: &str) -> Folded {
    let mut folded = Folded::new();
    for sample in script.split("\n\n") {
        let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
        let Some(thread) = lines.next().map(str::trim) else { continue };
        if thread == without {
            continue;
        }
        // Innermost first, as they come.
        let mut frames: Vec<String> = lines.filter_map(frame).collect();
        while frames.last().is_some_and(|name| TRUNK.contains(&without_version(name))) {
            frames.pop();
        }
        // What calls itself, or has no name but its library's, is one.
        frames.dedup();
        let numberless = thread.trim_end_matches(|c: char| c.is_ascii_digit() || "#-_ ".contains(c));
        frames.push(format!("thread {}", if numberless.is_empty() { thread } else { numberless }));
        frames.reverse();
        *folded.entry(frames.join(";")).or_default() += 1;
    }
    folded
}

/// How many samples there are.
pub(crate) fn samples(folded: &Folded) -> u64 {
    folded.values().sum()
}

/// As text, in an order of its own.
pub(crate) fn text(folded: &Folded) -> String {
    let mut text = String::new();
    for (stack, count) in folded {
        let _ = writeln!(text, "{stack} {count}");
    }
    text
}

/// A frame's name; none where the profiler lost its way.
fn frame(line: &str) -> Option<String> {
    let (_address, named) = line.trim().split_once(' ')?;
    let (name, object) = named.trim_end_matches(" (inlined)").rsplit_once(" (")?;
    let object = object.trim_end_matches(')');
    let is_kernel = object.starts_with("[kernel") || object.starts_with("[guest.kernel");
    let name = match (name, object) {
        ("[unknown]", "[unknown]") => return None,
        ("[unknown]", _) if is_kernel => "[kernel]".to_owned(),
        ("[unknown]", object) => {
            let file = object.rsplit('/').next().unwrap_or(object);
            // A JVM's own code has no library, or a map of a process that is gone.
            let is_made = file == "//anon" || file == "anon" || file.starts_with("perf-");
            if is_made { "[made at run time]".to_owned() } else { format!("[{file}]") }
        }
        _ => brief(name),
    };
    Some(if is_kernel { name + KERNEL } else { name })
}

/// A symbol without the version that a library gave it.
fn without_version(name: &str) -> &str {
    name.split_once('@').map_or(name, |(name, _)| name)
}

/// A name as short as it can be and still be told from others.
fn brief(name: &str) -> String {
    let name = match name.rsplit_once("::h") {
        Some((rest, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => rest,
        _ => name,
    };
    let name = without_arguments(&without_generics(name));
    // The body of an asynchronous function is a closure of it.
    let mut name = name.replace("::{{closure}}", "{}").replace(';', ",");
    let length = name.chars().count();
    if length > LONGEST {
        name = std::iter::once('…').chain(name.chars().skip(length - LONGEST + 1)).collect();
    }
    name
}

/// `a::b::<c>::d` and `a::b<c>::d` as `a::b::d`; what says whose method it is stays.
fn without_generics(name: &str) -> String {
    let mut kept = String::new();
    // Of each open bracket whether it is kept; how many are not.
    let (mut open, mut hidden, mut before) = (Vec::new(), 0, ' ');
    for (at, c) in name.char_indices() {
        match c {
            '<' => {
                let follows_name = before.is_alphanumeric() || "_:}".contains(before);
                let stays = hidden == 0 && (!follows_name || name[at..].starts_with("<impl "));
                open.push(stays);
                if stays {
                    kept.push(c);
                } else if hidden == 0 && kept.ends_with("::") {
                    kept.truncate(kept.len() - 2);
                }
                hidden += usize::from(!stays);
            }
            '>' if before != '-' && before != '=' => match open.pop() {
                Some(true) => kept.push(c),
                Some(false) => hidden -= 1,
                None => return name.to_owned(),
            },
            _ if hidden == 0 => kept.push(c),
            _ => {}
        }
        before = c;
    }
    if open.is_empty() { kept } else { name.to_owned() }
}

/// `long a.b.C.read(long, byte[])` as `a.b.C.read`, and a lambda's class without its address.
fn without_arguments(name: &str) -> String {
    let head = name.split_once('(').map_or("", |(head, _)| head);
    let name = match name.ends_with(')') && !head.is_empty() && !head.ends_with(' ') {
        true if head.contains(" as ") => head,
        true => head.rsplit(' ').next().unwrap_or(head),
        false => name,
    };
    let Some((class, address)) = name.split_once("/0x") else { return name.to_owned() };
    class.to_owned() + address.trim_start_matches(|c: char| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_told_from_the_thread_inwards_and_counted() {
        let sample = "tokio-runtime-w-1\n\
            \tffffffff81e3c87e kmalloc_reserve ([kernel.kallsyms])\n\
            \t          10aba4 __send (/usr/lib/x86_64-linux-gnu/libc.so.6)\n\
            \t          4bac82 pinlink::http2::Channel::begin::{{closure}}::h0123456789abcdef (/at/home/program)\n\
            \t           891f4 start_thread (/usr/lib/x86_64-linux-gnu/libc.so.6)\n\
            \t          1098eb clone3@@GLIBC_2.34 (/usr/lib/x86_64-linux-gnu/libc.so.6)\n";
        let other = "python3\n\
            \t   0 eval (/usr/bin/python3)\n\t   0 eval (/usr/bin/python3)\n\
            \t   1 [unknown] (/home/of/_peer.so)\n\t   2 [unknown] (/home/of/_peer.so)\n\
            \t   3 [unknown] (/tmp/perf-17.map)\n\tffffffffffffffff [unknown] ([unknown])\n";
        let shell = "sh\n\t  1 fork (/bin/sh)\n";
        let folded = fold(&[sample, other, shell, sample].join("\n"), "sh");
        let expected = [
            ("thread python;[made at run time];[_peer.so];eval", 1),
            ("thread tokio-runtime-w;pinlink::http2::Channel::begin{};__send;kmalloc_reserve_[k]", 2),
        ];
        assert_eq!(folded, expected.map(|(stack, count)| (stack.to_owned(), count)).into());
        assert_eq!(samples(&folded), 3);
        assert!(text(&folded).ends_with("kmalloc_reserve_[k] 2\n"));
    }

    #[test]
    fn names_are_told_without_hashes_generics_and_arguments() {
        for (name, told) in [
            (
                "tokio::runtime::task::raw::poll::<core::pin::Pin<&mut (A, B)>, fn() -> C>",
                "tokio::runtime::task::raw::poll",
            ),
            ("<h2::hpack::Header<T> as core::clone::Clone>::clone", "<h2::hpack::Header as core::clone::Clone>::clone"),
            ("a::<impl b::Core<T>>::map::{{closure}}::{{closure}}", "a::<impl b::Core>::map{}{}"),
            ("<std::sys::Thread>::new::thread_start", "<std::sys::Thread>::new::thread_start"),
            ("h2::Connection<T,P,B>::poll2", "h2::Connection::poll2"),
            ("long io.github.pinlink.Native.read(long, byte[], int, int)", "io.github.pinlink.Native.read"),
            ("void java.lang.Object.<init>()", "java.lang.Object.<init>"),
            ("int a.B$$Lambda$15/0x00007f752c001c68.call()", "a.B$$Lambda$15.call"),
            ("StubRoutines (1)", "StubRoutines (1)"),
            ("Parse::do_call(int, A*)", "Parse::do_call"),
            ("operator<", "operator<"),
            ("(anonymous)", "(anonymous)"),
            ("a;b", "a,b"),
        ] {
            assert_eq!(brief(name), told);
        }
        let long = brief(&"segment::".repeat(40));
        assert_eq!((long.chars().count(), long.starts_with('…')), (LONGEST, true));
    }
}
