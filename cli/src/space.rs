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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_the_bytes_needed_and_the_bytes_free() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("gemma");
        check(&file, 0).expect("nothing fits anywhere");
        let error = check(&file, u64::MAX).expect_err("no disk is so large");
        assert_eq!(error.exit_code(), 2);
        let line = error.to_string();
        let begin = format!(
            "{}: 18446744073709551615 bytes are needed there, and ",
            file.display()
        );
        assert!(
            line.starts_with(&begin) && line.ends_with(" are free"),
            "{line}"
        );
        let Error::Space { free, .. } = error else {
            panic!("{line}");
        };
        assert!(free > 0);
    }
}
