//! Opening files that other people made.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::Error;

/// Largest text file, and largest safetensors header, that is read: the format's own limit.
pub(crate) const MAX_TEXT: u64 = 100_000_000;

/// Opens a regular file and gives its length in bytes. Symbolic links are followed; pipes, sockets
/// and devices are refused before they could block.
pub(crate) fn open(path: &Path, expected: &str) -> Result<(File, u64), Error> {
    let meta = fs::metadata(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound if is_present(path) => {
            Error::file(path, "a symbolic link to nothing", expected)
        }
        ErrorKind::NotFound => Error::file(path, "no such file", expected),
        _ => Error::io(path, source),
    })?;
    if meta.is_dir() {
        return Err(Error::file(path, "a folder", expected));
    }
    if !meta.is_file() {
        return Err(Error::file(path, "a pipe, socket or device", expected));
    }
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    Ok((file, meta.len()))
}

/// Whether something of that name is there, be it a link to nothing.
pub(crate) fn is_present(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// A text file's bytes.
pub(crate) fn read(path: &Path, expected: &str) -> Result<Vec<u8>, Error> {
    let (file, length) = open(path, expected)?;
    if length > MAX_TEXT {
        let found = format!("a file of {length} bytes");
        return Err(Error::file(path, found, format!("at most {MAX_TEXT}")));
    }
    let mut bytes = Vec::new();
    let read: io::Result<usize> = file.take(MAX_TEXT).read_to_end(&mut bytes);
    read.map_err(|source| Error::io(path, source))?;
    Ok(bytes)
}

/// A text file's text.
pub(crate) fn read_text(path: &Path, expected: &str) -> Result<String, Error> {
    String::from_utf8(read(path, expected)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::file(
            path,
            format!("a byte that is not UTF-8 at offset {at}"),
            expected,
        )
    })
}
