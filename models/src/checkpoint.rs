//! A checkpoint's folder in the Hugging Face layout.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use ir::DType;
use serde_json::Value;

use crate::error::shown;
use crate::file;
use crate::json::Object;
use crate::{Config, Error, SafeTensors};

const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A Gemma 2 checkpoint: its configuration and its weights, memory-mapped.
///
/// Once open, exactly the tensors that [`Config::tensors`] lists are there, in their shapes, each in
/// bf16, f16 or f32. The files must not change while it is open.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    config: Config,
    stop_ids: Vec<u32>,
    /// Together they hold each of the configuration's tensors once, and nothing else.
    files: Vec<SafeTensors>,
}

/// A weight as its file holds it.
#[derive(Clone, Copy, Debug)]
pub struct Weight<'a> {
    /// F32, BF16 or F16.
    pub dtype: DType,
    /// `[out, in]` or `[width]`.
    pub shape: &'a [usize],
    /// The elements, row-major, little-endian; not aligned in memory.
    pub bytes: &'a [u8],
}

impl Checkpoint {
    /// Opens the checkpoint in a folder and checks all of it but the text files and the weights'
    /// values.
    ///
    /// `config.json` is read, `generation_config.json` where there is one, and the weights from
    /// `model.safetensors` or, without it, from the shards of `model.safetensors.index.json`, which
    /// are files of the folder or symbolic links in it.
    ///
    /// # Errors
    /// Files that are absent, cut short or break their format, another architecture, and tensors that
    /// are missing, surplus, in the wrong file, shape or dtype.
    pub fn open(dir: &Path) -> Result<Checkpoint, Error> {
        if !dir.is_dir() {
            let found = match file::is_present(dir) {
                true => "something other than a folder",
                false => "nothing",
            };
            return Err(Error::file(dir, found, "a checkpoint's folder"));
        }
        let config = Config::open(&dir.join(CONFIG))?;
        let stop_ids = stop_ids(dir, &config)?;
        let files = if file::is_present(&dir.join(SINGLE)) {
            let file = SafeTensors::open(&dir.join(SINGLE))?;
            check_names(file.path(), &file.names().collect(), &config)?;
            vec![file]
        } else if file::is_present(&dir.join(INDEX)) {
            open_shards(dir, &config)?
        } else {
            let expected = format!("{SINGLE} or {INDEX}");
            return Err(Error::file(dir, "no weights", expected));
        };
        for (name, shape) in config.tensors() {
            check_tensor(&files, &name, &shape)?;
        }
        Ok(Checkpoint {
            dir: dir.to_path_buf(),
            config,
            stop_ids,
            files,
        })
    }

    /// The folder, as it was given.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The tokens that end an answer: `eos_token_id` of `generation_config.json`, or else of
    /// `config.json`.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// The weight of that name, if the model has one.
    pub fn tensor(&self, name: &str) -> Option<Weight<'_>> {
        let view = self.files.iter().find_map(|file| file.tensor(name))?;
        Some(Weight {
            dtype: view.dtype.weight()?,
            shape: view.shape,
            bytes: view.bytes,
        })
    }

    /// Name and weight of every tensor, in the order of [`Config::tensors`].
    pub fn tensors(&self) -> impl Iterator<Item = (String, Weight<'_>)> {
        self.config.tensors().into_iter().map(|(name, _)| {
            let weight = self.tensor(&name);
            let weight = weight.expect("an open checkpoint has every tensor of its configuration");
            (name, weight)
        })
    }

    /// The files that the weights are in.
    pub fn weight_files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(SafeTensors::path)
    }

    /// Lets the system take back the memory of these bytes, a part of a weight, until they are read again. Only a hint,
    /// for who goes through all weights once.
    pub fn release(&self, bytes: &[u8]) {
        self.files.iter().for_each(|file| file.release(bytes));
    }

    /// Bytes of all weights as stored.
    pub fn weight_bytes(&self) -> usize {
        self.tensors().map(|(_, weight)| weight.bytes.len()).sum()
    }
}

fn stop_ids(dir: &Path, config: &Config) -> Result<Vec<u32>, Error> {
    let path = dir.join("generation_config.json");
    if !file::is_present(&path) {
        return Ok(config.eos.clone());
    }
    let json = Object::read(&path, "settings for generation")?;
    json.ids("eos_token_id", config.vocab, &config.eos)
}

/// Opens the shards that the index names and checks that both agree on where every tensor is.
fn open_shards(dir: &Path, config: &Config) -> Result<Vec<SafeTensors>, Error> {
    let index_path = dir.join(INDEX);
    let index = Object::read(&index_path, "an index of shards")?;
    let expected = "an object from tensor names to shards";
    let weight_map = index.object("weight_map")?;
    let weight_map = weight_map.ok_or_else(|| index.refuse("weight_map", expected))?;

    let mut places = BTreeMap::new();
    for (tensor, shard) in weight_map.entries() {
        places.insert(tensor, shard_name(&index_path, tensor, shard)?);
    }
    check_names(&index_path, &places.keys().copied().collect(), config)?;

    let mut shards = Vec::new();
    for shard in places.values().copied().collect::<BTreeSet<&str>>() {
        let path = dir.join(shard);
        if !file::is_present(&path) {
            let expected = format!("the shard that {INDEX} names");
            return Err(Error::file(&path, "no such file", expected));
        }
        let file = SafeTensors::open(&path)?;
        check_shard(&file, shard, &places)?;
        shards.push(file);
    }
    Ok(shards)
}

/// Checks that a shard holds exactly the tensors that `places`, from tensors to shards, puts there.
fn check_shard(
    file: &SafeTensors,
    shard: &str,
    places: &BTreeMap<&str, &str>,
) -> Result<(), Error> {
    for (tensor, _) in places.iter().filter(|(_, place)| **place == shard) {
        if file.tensor(tensor).is_none() {
            let expected = format!("it here, where {INDEX} says it is");
            return Err(Error::tensor(file.path(), tensor, "none", expected));
        }
    }
    for tensor in file.names() {
        match places.get(tensor) {
            Some(place) if *place == shard => {}
            Some(place) => {
                let expected = format!("it in {place} only, where {INDEX} says it is");
                return Err(Error::tensor(file.path(), tensor, "a second one", expected));
            }
            None => {
                let expected = format!("only tensors that {INDEX} names");
                return Err(Error::tensor(file.path(), tensor, "one", expected));
            }
        }
    }
    Ok(())
}

/// The name of a tensor's shard, which must be a file's name and not a path that leads elsewhere.
fn shard_name<'a>(index: &Path, tensor: &str, shard: &'a Value) -> Result<&'a str, Error> {
    let plain = |name: &&str| {
        let mut parts = Path::new(name).components();
        let first = parts.next();
        first == Some(Component::Normal(name.as_ref())) && parts.next().is_none()
    };
    let name = shard.as_str().filter(plain);
    name.ok_or_else(|| {
        let found = format!("shard {}", shown(shard));
        Error::tensor(
            index,
            tensor,
            found,
            "the name of a file in the same folder",
        )
    })
}

/// Checks that the names that a file lists are those of the configuration's tensors.
fn check_names(path: &Path, listed: &BTreeSet<&str>, config: &Config) -> Result<(), Error> {
    let expected = config.tensors();
    for (name, shape) in &expected {
        if !listed.contains(name.as_str()) {
            return Err(Error::tensor(
                path,
                name,
                "none",
                format!("one of shape {shape:?}"),
            ));
        }
    }
    let expected: BTreeSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    match listed.difference(&expected).next() {
        None => Ok(()),
        Some(&"lm_head.weight") => {
            let expected = "none: Gemma 2's head is model.embed_tokens.weight";
            Err(Error::tensor(path, "lm_head.weight", "one", expected))
        }
        Some(name) => {
            let layers = config.layers.len();
            let expected = format!("none of that name where num_hidden_layers is {layers}");
            Err(Error::tensor(path, name, "one", expected))
        }
    }
}

/// Checks the shape and dtype of a tensor that is known to be in one of the files.
fn check_tensor(files: &[SafeTensors], name: &str, shape: &[usize]) -> Result<(), Error> {
    let holders = files
        .iter()
        .filter_map(|file| Some((file.path(), file.tensor(name)?)));
    for (path, tensor) in holders {
        if tensor.shape != shape {
            let found = format!("shape {:?}", tensor.shape);
            return Err(Error::tensor(path, name, found, format!("{shape:?}")));
        }
        if tensor.dtype.weight().is_none() {
            let found = format!("dtype {}", tensor.dtype);
            return Err(Error::tensor(path, name, found, "BF16, F16 or F32"));
        }
    }
    Ok(())
}
