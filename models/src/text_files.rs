//! What a checkpoint's folder holds for turning text into tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::file;
use crate::json::Object;
use crate::{Checkpoint, Error};

const SPECIAL: [&str; 4] = ["bos_token", "eos_token", "pad_token", "unk_token"];

/// The text side of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFiles {
    /// The tokenizer, a regular file that has not been read.
    pub tokenizer_json: PathBuf,
    /// The chat template, in Jinja: `chat_template.jinja`, or else `chat_template` of
    /// `tokenizer_config.json` (of several, the one named `default`).
    pub chat_template: Option<String>,
    /// Those of `bos_token`, `eos_token`, `pad_token` and `unk_token` that `tokenizer_config.json`
    /// has, for the template.
    pub special: BTreeMap<String, String>,
}

impl Checkpoint {
    /// The text side, or `None` where the folder has no `tokenizer.json`.
    ///
    /// # Errors
    /// Files that cannot be read, and keys of the wrong type.
    pub fn text(&self) -> Result<Option<TextFiles>, Error> {
        let tokenizer_json = self.dir().join("tokenizer.json");
        if !file::is_present(&tokenizer_json) {
            return Ok(None);
        }
        file::open(&tokenizer_json, "a tokenizer")?;

        let mut text = TextFiles {
            tokenizer_json,
            chat_template: None,
            special: BTreeMap::new(),
        };
        let path = self.dir().join("tokenizer_config.json");
        if file::is_present(&path) {
            let json = Object::read(&path, "a tokenizer's configuration")?;
            text.chat_template = chat_template(&json)?;
            for key in SPECIAL {
                if let Some(token) = special_token(&json, key)? {
                    text.special.insert(key.to_string(), token);
                }
            }
        }
        let path = self.dir().join("chat_template.jinja");
        if file::is_present(&path) {
            text.chat_template = Some(file::read_text(&path, "a chat template in UTF-8")?);
        }
        Ok(Some(text))
    }
}

/// The template: a string, or a list of `{name, template}`.
fn chat_template(json: &Object) -> Result<Option<String>, Error> {
    let key = "chat_template";
    let is_default = |entry: &&Value| entry.get("name").is_some_and(|name| name == "default");
    let template = match json.get(key) {
        None => return Ok(None),
        Some(Value::Array(list)) => list
            .iter()
            .find(is_default)
            .and_then(|it| it.get("template")),
        single => single,
    };
    let expected = "a template, or a list of {name, template} with one named \"default\"";
    let template = template.and_then(Value::as_str).map(str::to_string);
    template.map(Some).ok_or_else(|| json.refuse(key, expected))
}

/// A special token: a string, or an object with its `content`.
fn special_token(json: &Object, key: &str) -> Result<Option<String>, Error> {
    let token = match json.get(key) {
        None => return Ok(None),
        Some(Value::Object(token)) => token.get("content"),
        single => single,
    };
    let token = token.and_then(Value::as_str).map(str::to_string);
    token
        .map(Some)
        .ok_or_else(|| json.refuse(key, "a string, or an object with its content"))
}
