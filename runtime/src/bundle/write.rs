//! Compiled files and weight files, written.

use std::collections::BTreeMap;
use std::path::Path;

use super::seal::SealedWriter;
use super::{
    About, Hash, Manifest, Model, PAGE, Span, StoredImage, Tokenizer, WeightManifest, WeightPlace,
};
use crate::{Error, Image, Program};

/// Writes a compiled file: the runtime first, then its parts in any order, then [`ProgramFile::finish`].
///
/// The file appears at its path when it is finished; dropped before that, it leaves nothing.
pub struct ProgramFile {
    out: SealedWriter,
    images: Vec<StoredImage>,
    tokenizer: Option<Tokenizer>,
    weights: Option<WeightPlace>,
}

impl ProgramFile {
    /// Begins a file with the runtime's own executable.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when no file can be written there.
    pub fn create(path: &Path, runtime: &[u8]) -> Result<ProgramFile, Error> {
        let mut out = SealedWriter::create(path, true)?;
        out.write(runtime)?;
        Ok(ProgramFile {
            out,
            images: Vec::new(),
            tokenizer: None,
            weights: None,
        })
    }

    /// Adds the code for one level of CPU.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn image(&mut self, image: &Image) -> Result<(), Error> {
        let code = StoredImage {
            level: image.level,
            span: part(&mut self.out, &image.code)?,
            entries: image.entries.clone(),
        };
        self.images.push(code);
        Ok(())
    }

    /// Adds the tokenizer: the content of a tokenizer.json, the chat template and the special tokens it may name.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn tokenizer(
        &mut self,
        json: &[u8],
        chat_template: Option<String>,
        special: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        self.tokenizer = Some(Tokenizer {
            json: part(&mut self.out, json)?,
            chat_template,
            special,
        });
        Ok(())
    }

    /// Adds the weights by what `write` does. Returns what it returns.
    ///
    /// # Errors
    ///
    /// What `write` reports, and [`Error::File`].
    pub fn embed<T, E: From<Error>>(
        &mut self,
        write: impl FnOnce(&mut WeightWriter<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (data, result) = weights(&mut self.out, write)?;
        self.weights = Some(WeightPlace::Embedded(data));
        Ok(result)
    }

    /// Says that the weights are in the weight file of that name, in the same folder, whose seal this is.
    pub fn sidecar(&mut self, file: String, seal: Hash) {
        self.weights = Some(WeightPlace::Sidecar { file, seal });
    }

    /// Ends the file and gives it its name.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    ///
    /// # Panics
    ///
    /// If nothing said where the weights are.
    pub fn finish(self, about: About, model: Model, program: Program) -> Result<(), Error> {
        let weights = self
            .weights
            .expect("a compiled file says where its weights are");
        self.out.finish(&Manifest {
            about,
            model,
            program,
            images: self.images,
            tokenizer: self.tokenizer,
            weights,
        })?;
        Ok(())
    }
}

/// Writes a weight file, which appears when it is finished.
pub struct WeightFile {
    out: SealedWriter,
}

impl WeightFile {
    /// Begins the file.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when no file can be written there.
    pub fn create(path: &Path) -> Result<WeightFile, Error> {
        let out = SealedWriter::create(path, false)?;
        Ok(WeightFile { out })
    }

    /// Writes the data by what `write` does, which returns the checkpoint's hash; ends the file and returns that hash
    /// and the file's seal.
    ///
    /// # Errors
    ///
    /// What `write` reports, and [`Error::File`].
    pub fn finish<E: From<Error>>(
        mut self,
        write: impl FnOnce(&mut WeightWriter<'_>) -> Result<Hash, E>,
    ) -> Result<(Hash, Hash), E> {
        let (data, checkpoint) = weights(&mut self.out, write)?;
        let seal = self.out.finish(&WeightManifest { checkpoint, data })?;
        Ok((checkpoint, seal))
    }
}

/// Where the weights' data are written.
pub struct WeightWriter<'w> {
    out: &'w mut SealedWriter,
    begin: u64,
}

impl WeightWriter<'_> {
    /// Goes to the offset of the next weight within the data; what lies before it and was not written is zero.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    ///
    /// # Panics
    ///
    /// If more than that has been written.
    pub fn go_to(&mut self, offset: u64) -> Result<(), Error> {
        self.out.pad_to(self.begin + offset)
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write(bytes)
    }
}

/// Writes a part at the next page.
fn part(out: &mut SealedWriter, bytes: &[u8]) -> Result<Span, Error> {
    let offset = out.length().next_multiple_of(PAGE);
    out.pad_to(offset)?;
    out.write(bytes)?;
    Ok(Span {
        offset,
        bytes: bytes.len() as u64,
    })
}

/// Writes weights at the next page.
fn weights<T, E: From<Error>>(
    out: &mut SealedWriter,
    write: impl FnOnce(&mut WeightWriter<'_>) -> Result<T, E>,
) -> Result<(Span, T), E> {
    let offset = part(out, &[])?.offset;
    let result = write(&mut WeightWriter { out, begin: offset })?;
    let bytes = out.length() - offset;
    Ok((Span { offset, bytes }, result))
}
