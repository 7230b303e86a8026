//! Compiled files and weight files: written, opened, and refused when they are not what was written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lapidary_runtime::bundle::{
    About, Bundle, Hash, Model, ProgramFile, WeightFile, WeightPlace, WeightWriter,
};
use lapidary_runtime::{Error, Image, Level, Limits, Program, Weight};
use tempfile::TempDir;

/// Stands for the runtime: an ELF header without sections, and zeros.
const RUNTIME: [u8; 5000] = {
    let mut bytes = [0; 5000];
    (bytes[0], bytes[1], bytes[2], bytes[3]) = (0x7f, b'E', b'L', b'F');
    bytes
};
const TOKENIZER: &[u8] = br#"{"a tokenizer": true}"#;

/// Weights longer than a chunk under one hash, with a gap between them.
fn weights() -> [(Weight, Vec<u8>); 2] {
    let weight = |name: &str, offset, bytes: usize| {
        let data = (0..bytes).map(|i| (i * 7 + i / 251) as u8).collect();
        let weight = Weight {
            name: name.into(),
            offset,
            bytes: bytes as u64,
        };
        (weight, data)
    };
    [weight("a", 0, 100), weight("b", 128, 5 << 20)]
}

fn write_weights(out: &mut WeightWriter<'_>) -> Result<Hash, Error> {
    for (weight, data) in weights() {
        out.go_to(weight.offset)?;
        for piece in data.chunks(70_000) {
            out.write(piece)?;
        }
    }
    Ok(Hash(42))
}

fn about(checkpoint: Hash) -> About {
    About {
        name: "tiny".into(),
        compiler: "0.1.0".into(),
        checkpoint,
        rules: Hash(7),
        fidelity: "exact".into(),
        weight_format: "f32".into(),
        kv_format: "f32".into(),
        tuned_for: None,
    }
}

fn model() -> Model {
    Model {
        limits: Limits {
            vocab: 10,
            context: 20,
            rows: 5,
            slots: 1,
        },
        bos: 2,
        stop_ids: vec![1],
        work: None,
    }
}

fn program() -> Program {
    Program {
        weights: weights().map(|(weight, _)| weight).into(),
        ..Program::default()
    }
}

fn image(level: Level, fill: u8) -> Image {
    Image {
        level,
        code: vec![fill; 6000],
        entries: vec![0, 64],
    }
}

/// A compiled file, with its weights in it or beside it.
struct Compiled {
    dir: TempDir,
}

impl Compiled {
    fn new(embed: bool) -> Compiled {
        let dir = tempfile::tempdir().expect("a folder");
        let compiled = Compiled { dir };
        compiled.write(embed).expect("a compiled file");
        compiled
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("gemma")
    }

    fn weights(&self) -> PathBuf {
        self.dir.path().join("gemma.weights")
    }

    fn write(&self, embed: bool) -> Result<(), Error> {
        let mut file = ProgramFile::create(&self.program(), &RUNTIME)?;
        file.image(&image(Level::V3, 3))?;
        file.image(&image(Level::V4, 4))?;
        file.tokenizer(TOKENIZER, Some("{{ x }}".into()), BTreeMap::new())?;
        let checkpoint = if embed {
            file.embed(write_weights)?
        } else {
            let weights = WeightFile::create(&self.weights())?;
            let (checkpoint, seal) = weights.finish(write_weights)?;
            file.sidecar("gemma.weights".into(), seal);
            checkpoint
        };
        file.finish(about(checkpoint), model(), program())
    }

    fn open(&self) -> Result<Bundle, Error> {
        let path = self.program();
        Bundle::open(File::open(&path).expect("a file"), &path, 2)
    }

    /// The line that refuses the file.
    fn refusal(&self) -> String {
        let Err(error) = self.open() else {
            panic!("the file was opened");
        };
        assert_eq!(error.exit_code(), 2, "{error}");
        let folder = format!("{}/", self.dir.path().display());
        error.to_string().replace(&folder, "")
    }
}

fn flip(path: &Path, at: u64) {
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("a byte");
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).expect("a file").len()
}

#[test]
fn what_is_written_is_what_is_opened() {
    for embed in [true, false] {
        let compiled = Compiled::new(embed);
        let bundle = compiled.open().expect("a bundle");
        let manifest = bundle.program.manifest();
        assert_eq!(manifest.about, about(Hash(42)));
        assert_eq!(manifest.model, model());
        assert_eq!(manifest.program, program());
        for (code, image) in manifest
            .images
            .iter()
            .zip([image(Level::V3, 3), image(Level::V4, 4)])
        {
            assert_eq!(code.level, image.level);
            assert_eq!(code.entries, image.entries);
            assert_eq!(code.span.offset % 4096, 0);
            assert_eq!(bundle.program.part(code.span).expect("code"), image.code);
        }
        let tokenizer = manifest.tokenizer.as_ref().expect("a tokenizer");
        assert_eq!(
            bundle.program.part(tokenizer.json).expect("text"),
            TOKENIZER
        );
        assert_eq!(tokenizer.chat_template.as_deref(), Some("{{ x }}"));
        assert_eq!(matches!(manifest.weights, WeightPlace::Embedded(_)), embed);

        let (map, range) = bundle.weight_data().expect("weights");
        assert_eq!(range.start % 4096, 0);
        let data = &map[range];
        for (weight, expected) in weights() {
            let begin = weight.offset as usize;
            assert!(
                data[begin..begin + expected.len()] == expected,
                "{}",
                weight.name
            );
        }
        assert_eq!(data[100..128], [0; 28]);
        assert_eq!(data.len(), 128 + (5 << 20));
    }
}

#[test]
fn a_compiled_file_begins_with_its_runtime_and_can_be_executed_and_replaced() {
    let compiled = Compiled::new(true);
    compiled.write(true).expect("a file in place of the first");
    let bytes = fs::read(compiled.program()).expect("a file");
    assert!(bytes.starts_with(&RUNTIME));
    let mode = fs::metadata(compiled.program())
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o100, 0o100, "{mode:o}");
    assert_eq!(
        fs::read_dir(compiled.dir.path()).expect("a folder").count(),
        1
    );
}

#[test]
fn a_file_that_is_not_finished_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("gemma");
    let mut file = ProgramFile::create(&path, &RUNTIME).expect("a file");
    file.image(&image(Level::V3, 3)).expect("an image");
    let failed = file.embed(|out| {
        write_weights(out)?;
        Err::<(), Error>(Error::EmptyPrompt)
    });
    assert!(matches!(failed, Err(Error::EmptyPrompt)));
    drop(file);
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let compiled = Compiled::new(true);
    let whole = fs::read(compiled.program()).expect("a file");
    let near_the_end = (1..=40).map(|n| whole.len() - n);
    let anywhere = (0..whole.len()).step_by(whole.len() / 50);
    for length in near_the_end.chain(anywhere) {
        fs::write(compiled.program(), &whole[..length]).expect("a file");
        // What is left of fewer than 64 bytes is no executable.
        let expected = match length {
            ..64 => {
                "gemma holds no model: `lapidary compile CHECKPOINT -o FILE` makes a file that does"
            }
            _ => "gemma is not whole: its end was cut off or changed after it was compiled",
        };
        assert_eq!(compiled.refusal(), expected, "{length}");
    }
}

#[test]
fn a_file_with_bytes_after_its_end_is_refused() {
    let compiled = Compiled::new(true);
    let mut bytes = fs::read(compiled.program()).expect("a file");
    bytes.push(0);
    fs::write(compiled.program(), bytes).expect("a file");
    assert_eq!(
        compiled.refusal(),
        "gemma is not whole: its end was cut off or changed after it was compiled"
    );
}

#[test]
fn a_byte_changed_in_any_part_is_refused_and_placed() {
    const CHUNK: u64 = 4 << 20;
    let offsets = |bundle: &Bundle| {
        let manifest = bundle.program.manifest();
        let code = manifest.images.iter().map(|code| code.span.offset + 10);
        let tokenizer = manifest.tokenizer.iter().map(|t| t.json.offset + 3);
        let (_, weights) = bundle.weight_data().expect("weights");
        let weights = [weights.start as u64, weights.end as u64 - 1];
        [0, 4999, 5000]
            .into_iter()
            .chain(code)
            .chain(tokenizer)
            .chain(weights)
            .collect::<Vec<u64>>()
    };
    let compiled = Compiled::new(true);
    let content = offsets(&compiled.open().expect("a bundle"));
    let end = *content.last().expect("weights") + 1;
    for at in content {
        flip(&compiled.program(), at);
        let from = at / CHUNK * CHUNK;
        let to = end.min(from + CHUNK);
        let expected = format!("gemma was changed after it was compiled (at bytes {from}..{to})");
        assert_eq!(compiled.refusal(), expected, "{at}");
        flip(&compiled.program(), at);
    }
    let all = length(&compiled.program());
    let in_manifest = [end, (end + all - 32) / 2, all - 33];
    let in_hash = [all - 8, all - 1];
    for at in in_manifest.into_iter().chain(in_hash) {
        flip(&compiled.program(), at);
        let expected = format!("gemma was changed after it was compiled (at bytes {end}..{all})");
        assert_eq!(compiled.refusal(), expected, "{at}");
        flip(&compiled.program(), at);
    }
    for at in [all - 24, all - 16, all - 9] {
        flip(&compiled.program(), at);
        let trailer = all - 32;
        let expected =
            format!("gemma was changed after it was compiled (at bytes {trailer}..{all})");
        assert_eq!(compiled.refusal(), expected, "{at}");
        flip(&compiled.program(), at);
    }
    compiled.open().expect("all bytes are as they were");
}

#[test]
fn a_weight_file_is_refused_when_it_is_missing_cut_off_changed_or_another() {
    let compiled = Compiled::new(false);
    let path = compiled.weights();

    flip(&path, 5 << 20);
    let all = length(&path);
    let manifest = (5 << 20) + 128;
    assert_eq!(
        compiled.refusal(),
        format!(
            "gemma.weights was changed after it was compiled (at bytes {}..{manifest})",
            4 << 20
        )
    );
    flip(&path, 5 << 20);

    flip(&path, all - 40);
    assert_eq!(
        compiled.refusal(),
        format!("gemma.weights was changed after it was compiled (at bytes {manifest}..{all})")
    );
    flip(&path, all - 40);

    let file = File::options().write(true).open(&path).expect("a file");
    file.set_len(all - 1).expect("a shorter file");
    assert_eq!(
        compiled.refusal(),
        "gemma.weights is not whole: its end was cut off or changed after it was compiled"
    );

    fs::remove_file(&path).expect("a file");
    assert_eq!(
        compiled.refusal(),
        "gemma.weights: no such file, expected the weights of gemma there"
    );

    let other = WeightFile::create(&path).expect("a file");
    let written = other.finish(|out| {
        out.write(b"other weights")?;
        Ok::<Hash, Error>(Hash(43))
    });
    written.expect("a weight file");
    assert_eq!(
        compiled.refusal(),
        "gemma.weights holds other weights than those that gemma was compiled with"
    );
}

#[test]
fn a_file_of_another_format_is_refused() {
    let compiled = Compiled::new(true);
    let mut bytes = fs::read(compiled.program()).expect("a file");
    let trailer = bytes.len() - 32;
    let number = |bytes: &[u8], at: usize| {
        u64::from_le_bytes(*bytes[at..].first_chunk().expect("a number")) as usize
    };
    let manifest = number(&bytes, trailer + 8);
    let format = br#"{"format":1,"#;
    assert!(bytes[manifest..].starts_with(format));
    bytes[manifest + format.len() - 2] = b'2';
    let seal = Hash::of(&bytes[manifest..trailer]);
    bytes[trailer + 24..].copy_from_slice(&seal.0.to_le_bytes());
    fs::write(compiled.program(), bytes).expect("a file");
    assert_eq!(
        compiled.refusal(),
        "gemma is of format 2, expected 1: compile again with one version of lapidary"
    );
}

#[test]
fn a_file_that_is_no_executable_holds_no_model() {
    let compiled = Compiled::new(true);
    fs::write(compiled.program(), "hello").expect("a file");
    assert_eq!(
        compiled.refusal(),
        "gemma holds no model: `lapidary compile CHECKPOINT -o FILE` makes a file that does"
    );
}
