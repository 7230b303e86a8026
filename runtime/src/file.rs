//! Result files that appear whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags, linkat};
use rustix::io::Errno;
use serde::Serialize;
use tempfile::TempPath;

use crate::{Error, interrupt};

/// Writes a value as JSON, with a line feed at its end; the file appears whole or not at all.
///
/// # Errors
///
/// [`Error::File`] when it cannot be written.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(value).expect("numbers and text under fixed names");
    let mut file = OutputFile::create(path)?;
    file.write(|out| writeln!(out, "{json}"))?;
    file.finish()
}

/// A file under way: it has no name until it is finished; dropped before that, or killed, it leaves nothing. What is
/// no regular file (a pipe, `/dev/null`) is written to directly.
///
/// Where the file system has no files without names, it is written under a temporary name in the same folder, which
/// begins with `.unfinished-`; only a process that is killed leaves that behind.
pub struct OutputFile {
    path: PathBuf,
    out: BufWriter<File>,
    place: Place,
}

/// How a file under way gets its name.
enum Place {
    /// It has it.
    Named,
    /// It is linked to.
    Unnamed(PathBuf),
    /// It is renamed.
    Temporary(TempPath, PathBuf),
}

/// What names of files under way begin with.
const PREFIX: &str = ".unfinished-";

impl OutputFile {
    /// Begins a file that will be at this path, or be the file that it is a link to.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when none can be made there.
    pub fn create(path: &Path) -> Result<Self, Error> {
        OutputFile::with_mode(path, 0o666)
    }

    /// [`OutputFile::create`] for a file that can be run as a program, so it must be a regular one.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when none can be made there.
    pub fn create_executable(path: &Path) -> Result<Self, Error> {
        OutputFile::with_mode(path, 0o777)
    }

    fn with_mode(path: &Path, mode: u32) -> Result<Self, Error> {
        let (file, place) = open(path, mode).map_err(|source| Error::File {
            path: path.into(),
            source,
        })?;
        Ok(OutputFile {
            path: path.into(),
            out: BufWriter::with_capacity(1 << 20, file),
            place,
        })
    }

    /// Fails early where [`OutputFile::create`] would fail later; leaves nothing behind.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when no file can be made there.
    pub fn check(path: &Path) -> Result<(), Error> {
        match fs::metadata(path) {
            Ok(found) if !found.is_file() && !found.is_dir() => Ok(()),
            _ => OutputFile::create(path).map(drop),
        }
    }

    /// Appends to the file.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn write(
        &mut self,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Error> {
        content(&mut self.out).map_err(|source| Error::File {
            path: self.path.clone(),
            source,
        })
    }

    /// Gives the file its name, in place of a file that has it.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn finish(self) -> Result<(), Error> {
        let OutputFile { path, out, place } = self;
        let finish = || {
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            // A program cannot be started while anybody can write to it, so nobody can once it has its name.
            match place {
                Place::Named => Ok(()),
                Place::Unnamed(target) => {
                    let readable = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
                    drop(file);
                    link(&readable, &target)
                }
                Place::Temporary(path, target) => {
                    drop(file);
                    path.persist(&target).map_err(|error| error.error)
                }
            }
        };
        finish().map_err(|source| Error::File { path, source })
    }
}

fn open(path: &Path, mode: u32) -> io::Result<(File, Place)> {
    let target = match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => {
            return Ok((File::options().write(true).open(path)?, Place::Named));
        }
        Ok(_) => path.canonicalize()?,
        Err(_) => path.to_path_buf(),
    };
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut unnamed = File::options();
    unnamed.write(true).mode(mode);
    unnamed.custom_flags(OFlags::TMPFILE.bits().cast_signed());
    if let Ok(file) = unnamed.open(folder) {
        return Ok((file, Place::Unnamed(target)));
    }
    let file = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(|error| io::Error::from(error.kind()))?;
    let (file, path) = file.into_parts();
    interrupt::remove_at_exit(&path);
    Ok((file, Place::Temporary(path, target)))
}

/// Gives a file without a name this one, which another file may have.
fn link(file: &File, target: &Path) -> io::Result<()> {
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |to: &Path| linkat(CWD, &from, CWD, to, AtFlags::SYMLINK_FOLLOW);
    match link(target) {
        Err(Errno::EXIST) => {}
        done => return Ok(done?),
    }
    // A link replaces nothing; a rename does.
    let folder = target.parent().unwrap_or(Path::new("."));
    let linked = tempfile::Builder::new()
        .prefix(PREFIX)
        .make_in(folder, |name| Ok(link(name)?))?;
    let path = linked.into_temp_path();
    path.persist(target).map_err(|error| error.error)
}
