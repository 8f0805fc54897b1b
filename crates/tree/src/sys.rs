//! The one system call that std has no safe form of. All of this crate's `unsafe` is here.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Has the child get `signal` when the thread that starts it ends, however that happens. prctl(2), PR_SET_PDEATHSIG.
pub(crate) fn ends_with_parent(command: &mut Command, signal: Signal) {
    let parent = getpid();
    let before_exec = move || {
        set_parent_process_death_signal(Some(signal))?;
        // It may have ended before that call.
        match getppid() {
            Some(now) if now == parent => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: these are two system calls, and nothing is allocated.
    unsafe { command.pre_exec(before_exec) };
}
