//! Settings for generation and the files of the text side.

use serde_json::json;

use super::{Case, check};
use crate::folder::Folder;

const GENERATION: &str = "generation_config.json";
const TOKENIZER: &str = "tokenizer_config.json";

#[test]
fn side_files_are_refused_when() {
    check(CASES);
}

pub const CASES: &[Case] = &[
    (
        "generation settings are not JSON",
        Folder::single,
        |f| f.write(GENERATION, "eos_token_id: 1"),
        "/generation_config.json: found text that is not JSON (expected value at line 1 column 1), expected a JSON object",
    ),
    (
        "a stop id is a string",
        Folder::single,
        |f| f.set(GENERATION, "eos_token_id", json!("<eos>")),
        r#"/generation_config.json: key "eos_token_id": found "<eos>", expected one token id or more, from 0 to 39"#,
    ),
    (
        "a stop id is negative",
        Folder::single,
        |f| f.set(GENERATION, "eos_token_id", json!(-1)),
        r#"/generation_config.json: key "eos_token_id": found -1, expected one token id or more, from 0 to 39"#,
    ),
    (
        "a stop id in a list is outside the vocabulary",
        Folder::single,
        |f| f.set(GENERATION, "eos_token_id", json!([1, 40])),
        r#"/generation_config.json: key "eos_token_id": found [1,40], expected one token id or more, from 0 to 39"#,
    ),
    (
        "the list of stop ids is empty",
        Folder::single,
        |f| f.set(GENERATION, "eos_token_id", json!([])),
        r#"/generation_config.json: key "eos_token_id": found [], expected one token id or more, from 0 to 39"#,
    ),
    (
        "the tokenizer is a folder",
        Folder::single,
        |f| f.replace("tokenizer.json", |path| std::fs::create_dir(path).unwrap()),
        "/tokenizer.json: found a folder, expected a tokenizer",
    ),
    (
        "the tokenizer's configuration is not JSON",
        Folder::single,
        |f| f.write(TOKENIZER, "{"),
        "/tokenizer_config.json: found text that is not JSON (EOF while parsing an object at line 1 column 1), expected a JSON object",
    ),
    (
        "the chat template is a number",
        Folder::single,
        |f| f.set(TOKENIZER, "chat_template", json!(1)),
        r#"/tokenizer_config.json: key "chat_template": found 1, expected a template, or a list of {name, template} with one named "default""#,
    ),
    (
        "no chat template is the default",
        Folder::single,
        |f| {
            f.set(
                TOKENIZER,
                "chat_template",
                json!([{"name": "rag", "template": "x"}]),
            )
        },
        r#"/tokenizer_config.json: key "chat_template": found [{"name":"rag","template":"x"}], expected a template, or a list of {name, template} with one named "default""#,
    ),
    (
        "the chat template in a file of its own is not UTF-8",
        Folder::single,
        |f| f.write("chat_template.jinja", b"ab\xff"),
        "/chat_template.jinja: found a byte that is not UTF-8 at offset 2, expected a chat template in UTF-8",
    ),
    (
        "a special token is a number",
        Folder::single,
        |f| f.set(TOKENIZER, "bos_token", json!(2)),
        r#"/tokenizer_config.json: key "bos_token": found 2, expected a string, or an object with its content"#,
    ),
    (
        "a special token has no content",
        Folder::single,
        |f| f.set(TOKENIZER, "eos_token", json!({"special": true})),
        r#"/tokenizer_config.json: key "eos_token": found {"special":true}, expected a string, or an object with its content"#,
    ),
];
