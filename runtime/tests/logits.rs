//! The safetensors file of a prompt's logits.

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Run, Toy, tiny_text};
use lapidary_runtime::{Error, Limits};
use serde_json::{Value, json};

const SMALL: Limits = Limits {
    vocab: 13,
    context: 64,
    rows: 64,
    slots: 1,
};

/// The header and the data of a safetensors file.
fn read(path: &Path) -> (Value, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    assert_eq!(length % 8, 0, "the data is aligned");
    (
        serde_json::from_slice(&bytes[8..8 + length]).unwrap(),
        bytes[8 + length..].to_vec(),
    )
}

/// The file's name for the command line.
fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_file_holds_the_tokens_and_the_logits_of_every_position_at_any_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let prompt = [2u32, 5, 9, 12, 0];
    for chunk in ["1", "2", "5", "512"] {
        let path = folder.path().join(chunk);
        let mut toy = Toy::new(SMALL);
        let arguments = [
            "--tokens",
            "2,5,9,12,0",
            "--prefill-chunk",
            chunk,
            "--logits",
            name(&path),
        ];
        let outcome = Run::default().go(&mut toy, &arguments);
        outcome.result.unwrap();
        assert_eq!(outcome.output, "", "nothing is generated");
        assert_eq!(toy.steps.iter().sum::<usize>(), 5);

        let (header, data) = read(&path);
        assert_eq!(
            header,
            json!({
                "tokens": { "dtype": "I64", "shape": [5], "data_offsets": [0, 40] },
                "logits": { "dtype": "F32", "shape": [5, 13], "data_offsets": [40, 40 + 5 * 13 * 4] },
            })
        );
        let (tokens, logits) = data.split_at(40);
        let tokens: Vec<i64> = tokens
            .chunks(8)
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
            .collect();
        assert_eq!(tokens, prompt.map(i64::from));
        let logits: Vec<f32> = logits
            .chunks(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        let expected: Vec<f32> = (1..=5).flat_map(|n| toy.logits(&prompt[..n])).collect();
        assert_eq!(logits, expected, "chunks of {chunk}");
    }
}

#[test]
fn a_prompt_of_text_gives_its_tokens_in_the_chat_form() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logits.safetensors");
    let text = tiny_text();
    let run = Run {
        text: Some(&text),
        ..Run::default()
    };
    run.go(
        &mut Toy::talking(|_| None),
        &["Hi", "--logits", name(&path)],
    )
    .result
    .unwrap();
    let prompt = text
        .encode("<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n")
        .unwrap();
    assert_eq!(
        read(&path).0["logits"]["shape"],
        json!([prompt.len(), 4096])
    );
}

#[test]
fn a_large_vocabulary_is_taken_in_steps_whose_logits_stay_under_64_mb() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logits");
    let mut toy = Toy::new(Limits {
        vocab: 5_000_000,
        context: 64,
        rows: 64,
        slots: 1,
    });
    Run::default()
        .go(&mut toy, &["--tokens", "1,2,3,4", "--logits", name(&path)])
        .result
        .unwrap();
    assert_eq!(toy.steps, [3, 1]);
    assert_eq!(read(&path).1.len(), 4 * 8 + 4 * 5_000_000 * 4);
}

#[test]
fn a_prompt_that_does_not_fit_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logits");
    fs::write(&path, "before").unwrap();
    let mut toy = Toy::new(Limits {
        context: 2,
        ..SMALL
    });
    let outcome = Run::default().go(&mut toy, &["--tokens", "1,2,3", "--logits", name(&path)]);
    assert!(
        outcome
            .refusal()
            .starts_with("the prompt has 3 tokens, but the context holds 2")
    );
    assert_eq!(fs::read(&path).unwrap(), b"before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn an_error_or_an_interrupt_leaves_no_file() {
    static FLAG: AtomicBool = AtomicBool::new(false);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logits");
    let arguments = [
        "--tokens",
        "1,2,3,4",
        "--prefill-chunk",
        "2",
        "--logits",
        name(&path),
    ];

    let mut toy = Toy::new(SMALL);
    toy.before_step = Box::new(|steps| match steps {
        1 => Err(Error::Executor("the device is gone".into())),
        _ => Ok(()),
    });
    let error = Run::default().go(&mut toy, &arguments).result.unwrap_err();
    assert_eq!(error.to_string(), "the device is gone");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let mut toy = Toy::new(SMALL);
    toy.before_step = Box::new(|_| {
        FLAG.store(true, Ordering::Relaxed);
        Ok(())
    });
    let error = Run {
        interrupt: &FLAG,
        ..Run::default()
    }
    .go(&mut toy, &arguments)
    .result
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("interrupted: {} was not written", path.display())
    );
    assert_eq!(
        error.exit_code(),
        1,
        "a script must not go on without the file"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_an_error_and_a_device_is_written_to_directly() {
    let go = |path| {
        Run::default()
            .go(
                &mut Toy::new(SMALL),
                &["--tokens", "1,2,3", "--logits", path],
            )
            .result
    };
    let error = go("/dev/full").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/dev/full: No space left on device"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 1);
    go("/dev/null").unwrap();
    assert!(
        !fs::metadata("/dev/null").unwrap().is_file(),
        "a device is not replaced"
    );
}

#[test]
fn a_link_keeps_pointing_to_the_file_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "before").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    Run::default()
        .go(
            &mut Toy::new(SMALL),
            &["--tokens", "1,2,3", "--logits", name(&link)],
        )
        .result
        .unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(read(&file).0["tokens"]["shape"], json!([3]));
}
