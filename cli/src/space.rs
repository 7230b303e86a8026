//! Whether what is to be written fits the disk.

use std::path::Path;

use crate::error::Error;

/// Bytes free for this user where a file of this path would be; unknown where the system does not say.
pub fn free(path: &Path) -> Option<u64> {
    let folder = match path.is_dir() {
        true => path,
        false => match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        },
    };
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Refuses to begin what would not fit.
///
/// # Errors
/// [`Error::Space`] when fewer bytes are free than needed.
pub fn check(path: &Path, needed: u64) -> Result<(), Error> {
    match free(path) {
        Some(free) if free < needed => Err(Error::Space {
            path: path.into(),
            needed,
            free,
        }),
        _ => Ok(()),
    }
}
