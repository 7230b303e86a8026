//! Files that know when they were changed: content, a manifest with its hashes, a trailer.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use memmap2::Mmap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::Span;
use crate::Error;
use crate::file::OutputFile;

/// The last bytes of a sealed file begin with this.
const MAGIC: &[u8; 8] = b"LAPIDARY";
/// Bytes of the trailer.
const TRAILER: usize = 32;
/// Bytes of content under one hash.
const CHUNK: usize = 4 << 20;
/// The format of the manifest and of what it describes.
const FORMAT: u32 = 1;

/// An xxh3 hash of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hash(pub u64);

impl Hash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(xxh3_64(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The part of a manifest that every format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// A manifest as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored<M> {
    format: u32,
    manifest: M,
    /// Hashes of the content's chunks.
    chunks: Vec<Hash>,
}

/// Writes a sealed file: content piece by piece, then its manifest.
pub(super) struct SealedWriter {
    file: OutputFile,
    /// The content since the last whole chunk.
    chunk: Vec<u8>,
    chunks: Vec<Hash>,
    length: u64,
}

impl SealedWriter {
    /// Begins a file that appears at `path` when it is finished.
    pub(super) fn create(path: &Path, executable: bool) -> Result<SealedWriter, Error> {
        Ok(SealedWriter {
            file: match executable {
                true => OutputFile::create_executable(path)?,
                false => OutputFile::create(path)?,
            },
            chunk: Vec::with_capacity(CHUNK),
            chunks: Vec::new(),
            length: 0,
        })
    }

    /// Bytes written so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Appends to the content.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = CHUNK - self.chunk.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            self.length += now.len() as u64;
            bytes = later;
            if self.chunk.len() == CHUNK {
                self.end_chunk()?;
            }
        }
        Ok(())
    }

    /// Appends zeros up to this length.
    ///
    /// # Panics
    /// If more has been written.
    pub(super) fn pad_to(&mut self, length: u64) -> Result<(), Error> {
        const ZEROS: [u8; 4096] = [0; 4096];
        assert!(self.length <= length, "the parts of a file overlap");
        while self.length < length {
            let missing = ZEROS.len().min((length - self.length) as usize);
            self.write(&ZEROS[..missing])?;
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), Error> {
        self.chunks.push(Hash::of(&self.chunk));
        let chunk = &self.chunk;
        self.file.write(|out| out.write_all(chunk))?;
        self.chunk.clear();
        Ok(())
    }

    /// Ends the file with its manifest, gives it its name, and returns the hash of the manifest.
    pub(super) fn finish(mut self, manifest: &impl Serialize) -> Result<Hash, Error> {
        if !self.chunk.is_empty() {
            self.end_chunk()?;
        }
        let stored = Stored {
            format: FORMAT,
            manifest,
            chunks: self.chunks,
        };
        let json = serde_json::to_vec(&stored).expect("a manifest's keys are text");
        let seal = Hash::of(&json);
        let trailer = [self.length, json.len() as u64, seal.0].map(u64::to_le_bytes);
        self.file.write(|out| {
            out.write_all(&json)?;
            out.write_all(MAGIC)?;
            out.write_all(trailer.as_flattened())
        })?;
        self.file.finish()?;
        Ok(seal)
    }
}

/// A sealed file, memory-mapped. Its manifest is whole; its content is, once [`Sealed::check`] has said so.
pub struct Sealed<M> {
    path: PathBuf,
    file: File,
    map: Arc<Mmap>,
    manifest: M,
    seal: Hash,
    content: usize,
    chunks: Vec<Hash>,
}

impl<M: DeserializeOwned> Sealed<M> {
    /// Maps a file and reads its manifest; `path` is for messages only.
    ///
    /// # Errors
    ///
    /// [`Error::NotWhole`] when its end is missing, [`Error::Changed`] when its manifest is not what was written,
    /// [`Error::OtherFormat`], and [`Error::File`] when it cannot be mapped.
    pub fn open(file: File, path: &Path) -> Result<Sealed<M>, Error> {
        let path = path.to_path_buf();
        // SAFETY: the mapping is read-only, and compiled files are replaced by a new file and never written to.
        let map = unsafe { Mmap::map(&file) };
        let map = map.map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        let Some((before, trailer)) = map.split_last_chunk::<TRAILER>() else {
            return Err(Error::NotWhole { path });
        };
        let Some([offset, bytes, seal]) = read_trailer(trailer) else {
            return Err(Error::NotWhole { path });
        };
        let changed = |from: usize, to: usize| Error::Changed {
            path: path.clone(),
            from: from as u64,
            to: to as u64,
        };
        let split = usize::try_from(offset).ok();
        let split = split.and_then(|offset| before.split_at_checked(offset));
        let split = split.filter(|(_, json)| json.len() as u64 == bytes);
        let Some((content, json)) = split else {
            return Err(changed(before.len(), map.len()));
        };
        let of_json = || changed(content.len(), map.len());
        if Hash::of(json) != Hash(seal) {
            return Err(of_json());
        }
        let head: Head = serde_json::from_slice(json).map_err(|_| of_json())?;
        if head.format != FORMAT {
            return Err(Error::OtherFormat {
                path,
                found: head.format,
                expected: FORMAT,
            });
        }
        let stored: Stored<M> = serde_json::from_slice(json).map_err(|_| of_json())?;
        if stored.chunks.len() != content.len().div_ceil(CHUNK) {
            return Err(of_json());
        }
        Ok(Sealed {
            content: content.len(),
            manifest: stored.manifest,
            chunks: stored.chunks,
            seal: Hash(seal),
            path,
            file,
            map: Arc::new(map),
        })
    }
}

/// The numbers of a trailer, if it is one.
fn read_trailer(trailer: &[u8; TRAILER]) -> Option<[u64; 3]> {
    let numbers = trailer.strip_prefix(MAGIC)?;
    let (numbers, _) = numbers.as_chunks::<8>();
    let numbers = <[[u8; 8]; 3]>::try_from(numbers).ok()?;
    Some(numbers.map(u64::from_le_bytes))
}

impl<M> Sealed<M> {
    /// Checks all of the content against its hashes, on so many threads.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] with the first part that is not what was written.
    pub fn check(&self, threads: usize) -> Result<(), Error> {
        let chunks: Vec<&[u8]> = self.map[..self.content].chunks(CHUNK).collect();
        let hashes = &self.chunks;
        let next = AtomicUsize::new(0);
        let first_changed = AtomicUsize::new(usize::MAX);
        thread::scope(|scope| {
            for _ in 0..threads.clamp(1, chunks.len().max(1)) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(chunk) = chunks.get(at) else {
                            break;
                        };
                        if Hash::of(chunk) != hashes[at] {
                            first_changed.fetch_min(at, Ordering::Relaxed);
                            break;
                        }
                    }
                });
            }
        });
        match chunks.get(first_changed.into_inner()) {
            None => Ok(()),
            Some(chunk) => {
                let from = chunk.as_ptr() as usize - self.map.as_ptr() as usize;
                Err(self.changed(from, from + chunk.len()))
            }
        }
    }

    /// The file's path, as it is shown.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What the file says of itself.
    pub fn manifest(&self) -> &M {
        &self.manifest
    }

    /// The hash of the manifest, and so of the whole file.
    pub fn seal(&self) -> Hash {
        self.seal
    }

    /// A part of the content.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] when the content has no such part.
    pub fn part(&self, span: Span) -> Result<&[u8], Error> {
        let begin = usize::try_from(span.offset).ok();
        let end = span.offset.checked_add(span.bytes);
        let end = end.and_then(|end| usize::try_from(end).ok());
        let content = &self.map[..self.content];
        let part = begin
            .zip(end)
            .and_then(|(begin, end)| content.get(begin..end));
        part.ok_or_else(|| self.changed(self.content, self.map.len()))
    }

    /// The file's map, and where a part of the content lies in it.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] when the content has no such part.
    pub fn shared(&self, span: Span) -> Result<(Arc<Mmap>, Range<usize>), Error> {
        let bytes = self.part(span)?.len();
        let begin = span.offset as usize;
        Ok((Arc::clone(&self.map), begin..begin + bytes))
    }

    fn changed(&self, from: usize, to: usize) -> Error {
        Error::Changed {
            path: self.path.clone(),
            from: from as u64,
            to: to as u64,
        }
    }
}
