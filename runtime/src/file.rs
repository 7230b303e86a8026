//! Result files that appear whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::{Error, interrupt};

/// A file under way: it is written under a temporary name in the same folder and takes its own name when finished;
/// dropped before that, it leaves nothing. What is no regular file (a pipe, `/dev/null`) is written to directly.
pub(crate) struct OutputFile {
    path: PathBuf,
    out: BufWriter<File>,
    temporary: Option<Temporary>,
}

struct Temporary {
    path: TempPath,
    /// Where it goes: the path given, or the file that it is a link to.
    target: PathBuf,
}

impl OutputFile {
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let (file, temporary) = open(path).map_err(|source| Error::File {
            path: path.into(),
            source,
        })?;
        Ok(OutputFile {
            path: path.into(),
            out: BufWriter::with_capacity(1 << 20, file),
            temporary,
        })
    }

    /// Fails early where [`OutputFile::create`] would fail later; leaves nothing behind.
    pub(crate) fn check(path: &Path) -> Result<(), Error> {
        match fs::metadata(path) {
            Ok(found) if !found.is_file() && !found.is_dir() => Ok(()),
            _ => OutputFile::create(path).map(drop),
        }
    }

    pub(crate) fn write(
        &mut self,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Error> {
        content(&mut self.out).map_err(|source| Error::File {
            path: self.path.clone(),
            source,
        })
    }

    pub(crate) fn finish(self) -> Result<(), Error> {
        let OutputFile {
            path,
            out,
            temporary,
        } = self;
        let finish = || {
            out.into_inner().map_err(io::IntoInnerError::into_error)?;
            if let Some(temporary) = temporary {
                temporary
                    .path
                    .persist(&temporary.target)
                    .map_err(|error| error.error)?;
            }
            Ok(())
        };
        finish().map_err(|source| Error::File { path, source })
    }
}

fn open(path: &Path) -> io::Result<(File, Option<Temporary>)> {
    let target = match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => {
            return Ok((File::options().write(true).open(path)?, None));
        }
        Ok(_) => path.canonicalize()?,
        Err(_) => path.to_path_buf(),
    };
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let file = tempfile::Builder::new()
        .prefix(".unfinished-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(|error| io::Error::from(error.kind()))?;
    let (file, path) = file.into_parts();
    interrupt::remove_at_exit(&path);
    Ok((file, Some(Temporary { path, target })))
}
