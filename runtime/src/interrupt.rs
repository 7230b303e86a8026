//! Ctrl-C: a flag at first, the end of the process at the second press.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Error;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// How soon a wait for input notices the flag.
const POLL: Duration = Duration::from_millis(20);

/// Catches SIGINT, SIGTERM and SIGHUP from now on. The first sets the flag returned; another, while the flag is still
/// set, removes the unfinished file and ends the process at once, for a step can be long.
pub(crate) fn catch() -> Result<&'static AtomicBool, Error> {
    static CAUGHT: OnceLock<()> = OnceLock::new();
    if CAUGHT.get().is_none() {
        ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                let unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(path) = &*unfinished {
                    let _ = std::fs::remove_file(path);
                }
                std::process::exit(1);
            }
        })
        .map_err(Error::Signals)?;
        CAUGHT.get_or_init(|| ());
    }
    Ok(&INTERRUPTED)
}

/// Has this file removed when a second interrupt ends the process. A run has one unfinished file at a time.
pub(crate) fn remove_at_exit(path: &Path) {
    *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_path_buf());
}

/// What `read` returns, or nothing if the flag is set before it does: a blocking read does not end by itself.
pub(crate) fn unless_interrupted<T: Send + 'static>(
    interrupt: &AtomicBool,
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(read()));
    loop {
        match receiver.recv_timeout(POLL) {
            Ok(value) => return Some(value),
            Err(RecvTimeoutError::Timeout) if !interrupt.load(Ordering::Relaxed) => {}
            Err(_) => return None,
        }
    }
}
