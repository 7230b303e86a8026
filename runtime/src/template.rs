//! The chat template: a conversation as the text that the model was trained on.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};
use minijinja_contrib::pycompat;

use crate::Error;

/// Gemma 2's own chat form, for checkpoints that bring no template.
const GEMMA2: &str = include_str!("gemma2.jinja");

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The operator's instructions; Gemma 2 has no such role, and its template says so.
    System,
    /// The person asking.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The role as templates know it.
    fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// A template in Jinja, under the settings that Hugging Face gives it.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    special: BTreeMap<String, String>,
}

/// The message of a template's `raise_exception`, carried through the template engine's own error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl ChatTemplate {
    /// Reads a template (Gemma 2's own if there is none). `special` names its variables, `bos_token` among them.
    pub(crate) fn new(
        source: Option<String>,
        special: BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.expect("no delimiter is changed"));
        environment.set_unknown_method_callback(pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<Value, minijinja::Error> {
                Err(
                    minijinja::Error::new(ErrorKind::InvalidOperation, message.clone())
                        .with_source(Raised(message)),
                )
            },
        );
        let source = source.unwrap_or_else(|| GEMMA2.to_string());
        environment.template_from_str(&source).map_err(fault)?;
        Ok(ChatTemplate {
            environment,
            source,
            special,
        })
    }

    /// The conversation's text, up to where the model's next message begins.
    pub(crate) fn render(&self, messages: &[Message]) -> Result<String, Error> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => message.role.name(), content => message.content.as_str() })
            .collect();
        let special = Value::from_pairs(
            self.special
                .iter()
                .map(|(name, token)| (name.as_str(), token.as_str())),
        );
        let context = context! { messages, add_generation_prompt => true, ..special };
        self.environment
            .render_str(&self.source, context)
            .map_err(fault)
    }
}

/// Tells a refusal that the template itself raised from a fault in the template.
fn fault(error: minijinja::Error) -> Error {
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        if let Some(Raised(message)) = source.downcast_ref() {
            return Error::Conversation(message.clone());
        }
        cause = source.source();
    }
    let line = error
        .line()
        .map_or(String::new(), |line| format!("line {line}: "));
    let detail = error
        .detail()
        .map_or(String::new(), |detail| format!(": {detail}"));
    Error::Template {
        message: format!("{line}{}{detail}", error.kind()),
    }
}
