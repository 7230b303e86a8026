//! Each way in which a checkpoint can be spoilt, with the whole of what is said about it.

mod config;
mod index;
mod safetensors;
mod side_files;
mod tensors;

use std::collections::HashMap;

use lapidary_models::Checkpoint;

use crate::folder::Folder;

/// A corruption: what it is, a valid checkpoint, what spoils it, and the message without the
/// folder's path that it begins with.
type Case = (&'static str, fn() -> Folder, fn(&Folder), &'static str);

fn message(folder: &Folder) -> Option<String> {
    let opened = Checkpoint::open(folder.dir());
    let error = opened.and_then(|checkpoint| checkpoint.text()).err()?;
    let message = error.to_string();
    let dir = folder.dir().display().to_string();
    Some(message.strip_prefix(&dir).unwrap_or(&message).to_string())
}

fn check(cases: &[Case]) {
    let mut wrong = String::new();
    for (what, valid, corrupt, expected) in cases {
        let folder = valid();
        assert_eq!(message(&folder), None, "before: {what}");
        corrupt(&folder);
        let found = message(&folder).unwrap_or_else(|| "nothing".to_string());
        if found != *expected {
            wrong += &format!("{what}\n  says     {found}\n  expected {expected}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn no_two_corruptions_have_the_same_message() {
    let tables: [&[Case]; 5] = [
        config::CASES,
        index::CASES,
        safetensors::CASES,
        side_files::CASES,
        tensors::CASES,
    ];
    let mut seen = HashMap::new();
    for (what, _, _, message) in tables.into_iter().flatten() {
        assert!(!message.contains('\n'), "{what}");
        let earlier = seen.insert(message, what);
        assert_eq!(earlier, None, "same message as {what}");
    }
}

#[test]
fn a_path_that_is_no_folder_is_refused() {
    let folder = Folder::single();
    let cases = [
        ("absent", "nothing"),
        ("config.json", "something other than a folder"),
        ("config.json/inner", "nothing"),
    ];
    for (inner, found) in cases {
        let path = folder.path(inner);
        let error = Checkpoint::open(&path).unwrap_err().to_string();
        let expected = "expected a checkpoint's folder";
        assert_eq!(
            error,
            format!("{}: found {found}, {expected}", path.display())
        );
    }
}

#[test]
fn a_message_stays_one_line_whatever_the_folder_is_called() {
    let folder = Folder::single();
    let path = folder.path("two\nlines\u{1b}[31m");
    let error = Checkpoint::open(&path).unwrap_err().to_string();
    let dir = folder.dir().display();
    let name = r"two\nlines\u{1b}[31m";
    assert_eq!(
        error,
        format!("{dir}/{name}: found nothing, expected a checkpoint's folder")
    );
}

#[test]
fn what_a_message_repeats_of_a_file_is_cut_to_a_readable_length() {
    let folder = Folder::single();
    folder.set("config.json", "model_type", "long".repeat(10_000).into());
    assert!(message(&folder).unwrap().len() < 300);
    folder.write("config.json", crate::folder::config().to_string());
    folder.tensors("model.safetensors", |header, _| {
        let entry = serde_json::json!({"dtype": "BF16", "shape": [0], "data_offsets": [0, 0]});
        header["long".repeat(10_000)] = entry;
    });
    assert!(message(&folder).unwrap().len() < 300);
}
