//! Compiled files, opened and checked.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use super::{Hash, Manifest, Sealed, Span, StoredImage, WeightManifest, WeightPlace};
use crate::{
    Code, CompiledModel, Error, Level, Limits, Machine, Text, TextSource, TokenizerJson, Weights,
};

/// A compiled file and, if its weights are not in it, its weight file; all of both is what was written.
pub struct Bundle {
    /// The compiled file.
    pub program: Sealed<Manifest>,
    /// The weight file.
    pub weights: Option<Sealed<WeightManifest>>,
}

impl Bundle {
    /// Opens a compiled file whose path is `path`, and the weight file in the same folder that it names, and checks
    /// every byte of them on so many threads.
    ///
    /// # Errors
    ///
    /// [`Error::NotCompiled`], [`Error::NotWhole`], [`Error::Changed`] or [`Error::OtherFormat`] for either file;
    /// [`Error::NoWeights`] and [`Error::OtherWeights`] for the weight file; [`Error::File`] when one cannot be read.
    pub fn open(file: File, path: &Path, threads: usize) -> Result<Bundle, Error> {
        let bare = is_bare(&file);
        let program = match Sealed::<Manifest>::open(file, path) {
            Err(Error::NotWhole { path }) if bare => return Err(Error::NotCompiled { path }),
            opened => opened?,
        };
        let weights = match &program.manifest().weights {
            WeightPlace::Embedded(_) => None,
            WeightPlace::Sidecar { file, seal } => {
                Some(open_weights(path, &path.with_file_name(file), *seal)?)
            }
        };
        program.check(threads)?;
        if let Some(weights) = &weights {
            weights.check(threads)?;
        }
        Ok(Bundle { program, weights })
    }

    /// The model, held to these limits, ready to run on so many threads: with the code for the best level of CPU that
    /// this machine has.
    ///
    /// # Errors
    ///
    /// [`Error::Cpu`] when there is no code for this machine; those of [`Machine::new`] and [`CompiledModel::new`].
    pub fn load(&self, limits: Limits, threads: usize) -> Result<CompiledModel, Error> {
        let manifest = self.program.manifest();
        let image = best_of(&manifest.images, self.program.path(), Level::lacks)?;
        let Span { offset, bytes } = image.span;
        // SAFETY: the compiler that wrote the file made this code for this program, which the hashes just vouched for;
        // the machine has the code's level; compiled files are replaced and never written to.
        let code = unsafe { Code::from_file(self.program.file(), offset, bytes, &image.entries) }?;
        let (map, range) = self.weight_data()?;
        let weights = Weights::in_map(map, range)?;
        let machine = Machine::new(manifest.program.clone(), code, weights, threads)?;
        CompiledModel::new(machine, limits, manifest.model.work.clone())
    }

    /// The weights' data: a map, and where they are in it.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] when the file has no such part.
    pub fn weight_data(&self) -> Result<(Arc<Mmap>, Range<usize>), Error> {
        match (&self.weights, &self.program.manifest().weights) {
            (Some(weights), _) => weights.shared(weights.manifest().data),
            (None, WeightPlace::Embedded(data)) => self.program.shared(*data),
            (None, WeightPlace::Sidecar { .. }) => {
                unreachable!("a bundle has the weight file that it names")
            }
        }
    }

    /// The tokenizer and chat template, if the checkpoint had a tokenizer.
    ///
    /// # Errors
    ///
    /// Those of [`Text::new`].
    pub fn text(&self) -> Result<Option<Text>, Error> {
        let manifest = self.program.manifest();
        let Some(tokenizer) = &manifest.tokenizer else {
            return Ok(None);
        };
        let source = TextSource {
            tokenizer_json: TokenizerJson::Bytes(self.program.part(tokenizer.json)?),
            chat_template: tokenizer.chat_template.clone(),
            special: tokenizer.special.clone(),
            bos: manifest.model.bos,
        };
        Text::new(source).map(Some)
    }
}

/// Whether nothing follows the executable that a file is, if it is one.
fn is_bare(file: &File) -> bool {
    let mut header = [0; 64];
    if file.read_exact_at(&mut header, 0).is_err() || !header.starts_with(b"\x7fELF") {
        return true;
    }
    let entry_bytes = u64::from(u16::from_le_bytes([header[0x3A], header[0x3B]]));
    let entries = u64::from(u16::from_le_bytes([header[0x3C], header[0x3D]]));
    let table = header[0x28..].first_chunk().copied();
    let table = table.map_or(0, u64::from_le_bytes);
    // The table of sections is the last thing in an executable.
    let end = table.saturating_add(entry_bytes * entries);
    file.metadata().is_ok_and(|found| found.len() <= end)
}

/// Opens the weight file of `program`.
fn open_weights(program: &Path, path: &Path, seal: Hash) -> Result<Sealed<WeightManifest>, Error> {
    let path = path.to_path_buf();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let program = program.to_path_buf();
            return Err(Error::NoWeights { path, program });
        }
        Err(source) => return Err(Error::File { path, source }),
    };
    let weights = Sealed::<WeightManifest>::open(file, &path)?;
    match weights.seal() == seal {
        true => Ok(weights),
        false => Err(Error::OtherWeights {
            path,
            program: program.to_path_buf(),
        }),
    }
}

/// The code of the highest level of which this machine, by `lacks`, lacks nothing.
fn best_of<'c>(
    codes: &'c [StoredImage],
    path: &Path,
    lacks: impl Fn(Level) -> Option<&'static str>,
) -> Result<&'c StoredImage, Error> {
    let able = codes.iter().filter(|code| lacks(code.level).is_none());
    let best = able.max_by_key(|code| code.level);
    best.ok_or_else(|| {
        let mut levels: Vec<Level> = codes.iter().map(|code| code.level).collect();
        levels.sort();
        let feature = levels.first().and_then(|lowest| lacks(*lowest));
        let names: Vec<&str> = levels.into_iter().map(Level::name).collect();
        Error::Cpu {
            path: PathBuf::from(path),
            feature: feature.unwrap_or("code"),
            levels: match names.as_slice() {
                [only] => format!("{only} only"),
                names => names.join(" and "),
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(levels: &[Level]) -> Vec<StoredImage> {
        let code = |level: &Level| StoredImage {
            level: *level,
            span: Span {
                offset: 0,
                bytes: 0,
            },
            entries: vec![],
        };
        levels.iter().map(code).collect()
    }

    /// What a machine with AVX2 and no more lacks.
    fn avx2(level: Level) -> Option<&'static str> {
        (level == Level::V4).then_some("avx512f")
    }

    #[test]
    fn the_highest_level_that_the_machine_has_is_chosen() {
        let path = Path::new("gemma");
        let both = codes(&[Level::V4, Level::V3]);
        let chosen = |lacks: fn(Level) -> Option<&'static str>| {
            best_of(&both, path, lacks).expect("a level").level
        };
        assert_eq!(chosen(|_| None), Level::V4);
        assert_eq!(chosen(avx2), Level::V3);
    }

    #[test]
    fn a_machine_that_lacks_every_level_is_refused_with_the_first_feature_of_the_lowest() {
        let path = Path::new("gemma");
        let refusal = |levels: &[Level], lacks: fn(Level) -> Option<&'static str>| {
            let codes = codes(levels);
            let error = best_of(&codes, path, lacks).expect_err("no level");
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        assert_eq!(
            refusal(&[Level::V4], avx2),
            "gemma needs avx512f, which this CPU lacks: it was built for x86-64-v4 only"
        );
        assert_eq!(
            refusal(&[Level::V4, Level::V3], |_| Some("avx")),
            "gemma needs avx, which this CPU lacks: it was built for x86-64-v3 and x86-64-v4"
        );
    }
}
