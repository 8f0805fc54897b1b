//! What has to go when the program is interrupted.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};

type Action = Box<dyn FnOnce() + Send>;

struct Registry {
    next: u64,
    actions: BTreeMap<u64, Action>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { next: 0, actions: BTreeMap::new() });

/// Something that is done on SIGINT, SIGTERM or SIGHUP, unless this was dropped before.
#[must_use]
pub struct Cleanup(u64);

impl fmt::Debug for Cleanup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cleanup").field(&self.0).finish()
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        // While the signals' thread runs the actions it holds the lock for good, so an output can't be committed or
        // created under its hands: the thread that tries waits here for the process's end.
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        registry.actions.remove(&self.0);
    }
}

/// Has `action` done if a signal ends the program, newest first. Nothing happens before [`remove_on_interrupt`] is
/// called.
pub fn on_interrupt(action: impl FnOnce() + Send + 'static) -> Cleanup {
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let id = registry.next;
    registry.next += 1;
    registry.actions.insert(id, Box::new(action));
    Cleanup(id)
}

/// Has an interrupt remove the file or directory at `path`, until the returned [`Cleanup`] is dropped.
pub fn register_path(path: &Path) -> Cleanup {
    // The program may change its directory before the signal comes.
    let path: PathBuf = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    on_interrupt(move || {
        if std::fs::remove_file(&path).is_err() {
            let _ = std::fs::remove_dir_all(&path);
        }
    })
}

/// Has unfinished outputs removed on SIGINT, SIGTERM and SIGHUP; the signal then does what it does by default. A signal
/// that was ignored when the program started (nohup) stays ignored. For `main`, once.
///
/// # Errors
/// The system refuses the handlers.
pub fn remove_on_interrupt() -> std::io::Result<()> {
    static START: Once = Once::new();
    let mut result = Ok(());
    START.call_once(|| result = start());
    result
}

fn start() -> std::io::Result<()> {
    let ignored = std::fs::read_to_string("/proc/self/status").map(|s| ignored_signals(&s)).unwrap_or(0);
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|s| ignored & (1 << (s - 1)) == 0);
    let mut signals = signal_hook::iterator::Signals::new(wanted)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
            while let Some((_, action)) = registry.actions.pop_last() {
                action();
            }
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

/// The mask of ignored signals. proc_pid_status(5), SigIgn.
fn ignored_signals(status: &str) -> u64 {
    let line = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        assert_eq!(ignored_signals("Name:\tx\nSigIgn:\t0000000000000001\n"), 1);
        assert_eq!(ignored_signals("Name:\tx\n"), 0);
    }
}
