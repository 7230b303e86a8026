//! Compiled files kept between runs.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::host;
use crate::space;

/// The environment variable of the limit.
const LIMIT: &str = "LAPIDARY_CACHE_LIMIT";
/// Bytes that the cache may hold unless the variable says otherwise.
const DEFAULT_LIMIT: u64 = 64_000_000_000;
/// How long a file whose name begins with a dot may be under way.
const UNFINISHED: Duration = Duration::from_secs(24 * 3600);

/// A folder of files that can be made again. Several processes may use it at once: a file appears whole, and whoever
/// uses one holds a lock on it that keeps it from being removed.
pub struct Cache {
    folder: PathBuf,
    limit: u64,
}

/// A lock on a file of the cache. It lasts until this process ends, or the program that it becomes by `exec`.
pub struct Held {
    _file: File,
}

/// A file of the cache.
struct Entry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Cache {
    /// The user's own: `lapidary` in `$XDG_CACHE_HOME`, or in `~/.cache`.
    ///
    /// # Errors
    /// No such folder can be made, or a limit that is no number.
    pub fn open() -> Result<Cache, Error> {
        let caches = host::folder("XDG_CACHE_HOME", ".cache").ok_or_else(|| {
            let message =
                "no place for the cache: expected an absolute path in XDG_CACHE_HOME or HOME";
            Error::Option(message.into())
        })?;
        let limit = match env::var_os(LIMIT) {
            None => DEFAULT_LIMIT,
            Some(text) => text.to_str().and_then(|n| n.parse().ok()).ok_or_else(|| {
                let found = text.display();
                Error::Option(format!(
                    "{LIMIT}: found '{found}', expected a number of bytes"
                ))
            })?,
        };
        let folder = caches.join("lapidary");
        fs::create_dir_all(&folder).map_err(|source| Error::File {
            path: folder.clone(),
            source,
        })?;
        Ok(Cache { folder, limit })
    }

    /// Where a file of this name is, or would be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Keeps a file from being removed, and remembers that it was used now. Nothing if there is none of that name.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn hold(&self, name: &str) -> Result<Option<Held>, Error> {
        let path = self.path(name);
        let hold = || loop {
            let file = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => file?,
            };
            file.lock_shared()?;
            // Between opening and locking it may have been removed or replaced.
            if !is_at(&file, &path) {
                continue;
            }
            rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
            // Without the time, the file is only removed sooner.
            let _ = file.set_modified(SystemTime::now());
            return Ok(Some(Held { _file: file }));
        };
        hold().map_err(|source| Error::File {
            path: path.clone(),
            source,
        })
    }

    /// Removes what was used the longest time ago and is not in use, until so many bytes more are within the limit and
    /// on the disk. What is in use may exceed the limit.
    ///
    /// # Errors
    /// More bytes than the limit or the disk allows, and a folder that cannot be read.
    pub fn make_room(&self, bytes: u64) -> Result<(), Error> {
        if bytes > self.limit {
            return Err(Error::Option(format!(
                "{LIMIT}: the cache may hold {} bytes, and this model needs {bytes}",
                self.limit
            )));
        }
        let mut entries = self.entries().map_err(|source| Error::File {
            path: self.folder.clone(),
            source,
        })?;
        entries.sort_by_key(|entry| entry.used);
        let mut held: u64 = entries.iter().map(|entry| entry.bytes).sum();
        for entry in entries {
            let on_disk = space::free(&self.folder).is_none_or(|free| free >= bytes);
            if held.saturating_add(bytes) <= self.limit && on_disk {
                break;
            }
            if entry.remove() {
                held -= entry.bytes;
            }
        }
        space::check(&self.folder, bytes)
    }

    fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another process may just have removed it.
            let Ok(found) = entry.metadata() else {
                continue;
            };
            if found.is_file() {
                entries.push(Entry {
                    path: entry.path(),
                    bytes: found.len(),
                    used: found.modified()?,
                });
            }
        }
        Ok(entries)
    }
}

impl Entry {
    /// Removes the file unless it is in use or under way. Whether it is gone.
    fn remove(&self) -> bool {
        let name = self.path.file_name().and_then(|name| name.to_str());
        let age = self.used.elapsed().unwrap_or_default();
        if name.is_none_or(|name| name.starts_with('.')) && age < UNFINISHED {
            return false;
        }
        let Ok(file) = File::open(&self.path) else {
            return false;
        };
        file.try_lock().is_ok() && is_at(&file, &self.path) && fs::remove_file(&self.path).is_ok()
    }
}

/// Whether this is the file that is at the path.
fn is_at(file: &File, path: &Path) -> bool {
    let place = |found: fs::Metadata| (found.dev(), found.ino());
    let there = fs::metadata(path).map(place);
    there.is_ok_and(|there| file.metadata().is_ok_and(|found| place(found) == there))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache with files `0`, `1`, … of so many bytes, each used before the next.
    fn cache(limit: u64, sizes: &[usize]) -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().expect("a folder");
        let cache = Cache {
            folder: dir.path().into(),
            limit,
        };
        for (i, size) in sizes.iter().enumerate() {
            let path = cache.path(&i.to_string());
            fs::write(&path, vec![0; *size]).expect("a file");
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + i as u64);
            let file = File::open(&path).expect("a file");
            file.set_modified(used).expect("a time");
        }
        (dir, cache)
    }

    fn names(cache: &Cache) -> Vec<String> {
        let entries = cache.entries().expect("a folder");
        let names = entries.iter().filter_map(|entry| entry.path.file_name());
        let mut names: Vec<String> = names.map(|name| name.display().to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_used_the_longest_time_ago_makes_room() {
        let (_dir, cache) = cache(100, &[30, 30, 30]);
        cache.make_room(10).expect("there is room");
        assert_eq!(names(&cache), ["0", "1", "2"]);
        cache.hold("0").expect("a file").expect("it is there");
        cache.make_room(50).expect("there is room");
        assert_eq!(names(&cache), ["0"]);
    }

    #[test]
    fn what_is_held_stays_even_over_the_limit() {
        let (_dir, cache) = cache(100, &[30, 30, 30]);
        let held = ["0", "1"].map(|name| cache.hold(name).expect("a file"));
        cache.make_room(90).expect("there is room");
        assert_eq!(names(&cache), ["0", "1"]);
        drop(held);
        cache.make_room(90).expect("there is room");
        assert_eq!(names(&cache), [""; 0]);
        assert!(cache.hold("0").expect("no file").is_none());
    }

    #[test]
    fn a_file_under_way_stays_until_it_must_have_been_left_behind() {
        let (_dir, cache) = cache(100, &[]);
        let path = cache.path(".unfinished-x");
        fs::write(&path, [0; 90]).expect("a file");
        cache.make_room(50).expect("there is room");
        assert_eq!(names(&cache), [".unfinished-x"]);
        let file = File::open(&path).expect("a file");
        file.set_modified(SystemTime::now() - 2 * UNFINISHED)
            .expect("a time");
        cache.make_room(50).expect("there is room");
        assert_eq!(names(&cache), [""; 0]);
    }

    #[test]
    fn what_alone_is_over_the_limit_or_the_disk_is_refused() {
        let (_dir, small) = cache(100, &[30]);
        let error = small.make_room(101).expect_err("no room");
        assert_eq!(error.exit_code(), 2);
        assert_eq!(
            error.to_string(),
            "LAPIDARY_CACHE_LIMIT: the cache may hold 100 bytes, and this model needs 101"
        );
        assert_eq!(names(&small), ["0"]);
        let (_dir, large) = cache(u64::MAX, &[]);
        let error = large.make_room(1 << 60).expect_err("no room");
        assert_eq!(error.exit_code(), 2);
        assert!(
            error.to_string().contains("1152921504606846976 bytes"),
            "{error}"
        );
    }
}
