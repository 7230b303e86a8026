//! Compiled files of the cache: found, or made.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use models::Checkpoint;
use runtime::Weights;
use runtime::bundle::{Bundle, Sealed, WeightManifest};
use xxhash_rust::xxh3::Xxh3;

use super::file::{self, Destination, Source, WrittenWeights};
use super::weights::{PlacedWeights, read};
use super::{Build, Placement, code};
use crate::cache::{Cache, Held};
use crate::error::Error;
use crate::host;
use crate::progress::Progress;

/// A compiled file of the cache, whole, that stays there while this process, or what it becomes, runs.
pub struct Cached {
    /// The file.
    pub path: PathBuf,
    /// The same, open.
    pub bundle: Bundle,
    _held: Vec<Held>,
}

/// The files of a checkpoint that a compiled file is made of, beside the weights.
const TEXTS: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];

/// Finds the compiled file of a build in the user's cache, or makes it there. One that is damaged is made again. Its
/// weights, unless they are embedded, are in a file that all builds of the checkpoint in the same format share.
///
/// # Errors
/// Those of the cache and of compiling.
pub fn program(
    checkpoint: &Checkpoint,
    build: &Build,
    placement: Placement,
    threads: usize,
) -> Result<Cached, Error> {
    let cache = Cache::open()?;
    let name = program_key(checkpoint, build, placement)?;
    if let Some(found) = find(&cache, &name, threads)? {
        return Ok(found);
    }
    let progress = Progress::in_terminal();
    let text = file::text(checkpoint)?;
    let compiled = code::compile(checkpoint, build, &progress)?;
    let source = Source {
        checkpoint,
        build,
        compiled: &compiled,
        text: text.as_ref(),
    };
    let path = cache.path(&name);
    let own = file::bytes(Some(&compiled), text.as_ref());
    match placement {
        Placement::Embed => {
            cache.make_room(own + file::weight_bytes(&compiled.program.weights))?;
            file::write(&path, &source, Destination::Embedded, &progress)?;
        }
        Placement::Sidecar => {
            let (weights, _held) = weights(&cache, &source.weights(), threads, &progress)?;
            cache.make_room(own)?;
            file::write(&path, &source, Destination::Written(&weights), &progress)?;
        }
    }
    find(&cache, &name, threads)?.ok_or_else(|| Error::File {
        path,
        source: io::ErrorKind::NotFound.into(),
    })
}

/// The compiled file of that name, if it is there and whole, its weights too.
fn find(cache: &Cache, name: &str, threads: usize) -> Result<Option<Cached>, Error> {
    let Some(held) = cache.hold(name)? else {
        return Ok(None);
    };
    let mut held = vec![held];
    let path = cache.path(name);
    let Ok(file) = File::open(&path) else {
        return Ok(None);
    };
    let Ok(bundle) = Bundle::open(file, &path, threads) else {
        return Ok(None);
    };
    if let Some(weights) = &bundle.weights {
        let name = weights.path().file_name().and_then(|name| name.to_str());
        match name.map(|name| cache.hold(name)).transpose()?.flatten() {
            Some(weights) => held.push(weights),
            None => return Ok(None),
        }
    }
    Ok(Some(Cached {
        path,
        bundle,
        _held: held,
    }))
}

/// A checkpoint's weights at these places, mapped from the file that the cache has of them, which is made if it is not
/// there, and what keeps that file there.
///
/// # Errors
/// Those of the cache.
pub fn mapped(
    checkpoint: &Checkpoint,
    places: &[runtime::Weight],
    threads: usize,
    progress: &Progress,
) -> Result<(Weights, Option<Held>), Error> {
    let source = PlacedWeights {
        checkpoint,
        format: None,
        places,
    };
    let cache = Cache::open()?;
    let (written, held) = weights(&cache, &source, threads, progress)?;
    let path = cache.path(&written.file);
    let file = File::open(&path).map_err(|source| Error::File {
        path: path.clone(),
        source,
    })?;
    let file = Sealed::<WeightManifest>::open(file, &path)?;
    let (map, range) = file.shared(file.manifest().data)?;
    Ok((Weights::in_map(map, range)?, held))
}

/// Finds the weight file of a program in the cache, or makes it there.
fn weights(
    cache: &Cache,
    source: &PlacedWeights<'_>,
    threads: usize,
    progress: &Progress,
) -> Result<(WrittenWeights, Option<Held>), Error> {
    let name = weight_key(source)?;
    let path = cache.path(&name);
    if let Some(held) = cache.hold(&name)?
        && let Ok(file) = File::open(&path)
        && let Ok(whole) = Sealed::<WeightManifest>::open(file, &path)
        && whole.check(threads).is_ok()
    {
        let found = WrittenWeights {
            file: name,
            seal: whole.seal(),
            checkpoint: whole.manifest().checkpoint,
        };
        return Ok((found, Some(held)));
    }
    cache.make_room(file::weight_bytes(source.places))?;
    let written = file::write_weights(&path, source, progress)?;
    let held = cache.hold(&name)?;
    Ok((written, held))
}

/// The name of a compiled file: a hash of all that it is made of. The command itself stands for the compiler, the rules
/// and the runtime.
fn program_key(
    checkpoint: &Checkpoint,
    build: &Build,
    placement: Placement,
) -> Result<String, Error> {
    let mut key = Xxh3::new();
    key.update(format!("{build:?} {placement:?}").as_bytes());
    key.update(file::name(checkpoint.dir()).as_bytes());
    if build.tune_for_host {
        key.update(host::cpu_name().unwrap_or_default().as_bytes());
    }
    update_with_stamp(&mut key, Path::new("/proc/self/exe"))?;
    for name in TEXTS {
        let path = checkpoint.dir().join(name);
        if path.exists() {
            key.update(name.as_bytes());
            key.update(&read(&path)?);
        }
    }
    update_with_weights(&mut key, checkpoint)?;
    Ok(format!("{:016x}", key.digest()))
}

/// The name of a weight file: a hash of the checkpoint's weights, their format and their places.
fn weight_key(source: &PlacedWeights<'_>) -> Result<String, Error> {
    let checkpoint = source.checkpoint;
    let mut key = Xxh3::new();
    key.update(env!("CARGO_PKG_VERSION").as_bytes());
    key.update(&read(&checkpoint.dir().join("config.json"))?);
    update_with_weights(&mut key, checkpoint)?;
    for place in source.places {
        let dtype = source.dtype_of(&place.name);
        key.update(format!("{dtype} {place:?}").as_bytes());
    }
    Ok(format!("{:016x}.weights", key.digest()))
}

/// Names, dtypes and shapes of the weights, and sizes and times of the files they are in. Their bytes are left out: to
/// read them takes as long as a run.
fn update_with_weights(key: &mut Xxh3, checkpoint: &Checkpoint) -> Result<(), Error> {
    for (name, weight) in checkpoint.tensors() {
        key.update(format!("{name} {} {:?}", weight.dtype, weight.shape).as_bytes());
    }
    let mut files = checkpoint.weight_files();
    files.try_for_each(|path| update_with_stamp(key, path))
}

/// A file's size and the time of its last change.
fn update_with_stamp(key: &mut Xxh3, path: &Path) -> Result<(), Error> {
    let found = fs::metadata(path).map_err(|source| Error::File {
        path: path.into(),
        source,
    })?;
    let stamp = (found.len(), found.mtime(), found.mtime_nsec());
    key.update(format!("{stamp:?}").as_bytes());
    Ok(())
}
