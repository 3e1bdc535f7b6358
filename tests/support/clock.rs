//! A process whose clock is ahead of everybody else's: a library in front of the C library's adds to the time of day.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = r"
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = syscall(SYS_clock_gettime, clock, at);
    if (!failed && clock == CLOCK_REALTIME) at->tv_sec += AHEAD;
    return failed;
}
";

/// The environment of a process whose clock is so many seconds ahead. The library is made in `folder`, by the compiler
/// that Rust links with.
pub fn ahead(folder: &Path, seconds: i64) -> Vec<(String, String)> {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, SOURCE).expect("a file");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", &format!("-DAHEAD={seconds}"), "-o"]).arg(&library).arg(&source);
    let made = cc.output().expect("cc, which Rust links with, runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    vec![("LD_PRELOAD".to_owned(), library.to_string_lossy().into_owned())]
}
