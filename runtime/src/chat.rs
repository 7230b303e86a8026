//! A conversation, its KV cache kept between turns.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::generate::check_prompt;
use crate::host::Host;
use crate::{Error, Generator, Message, Role, Session, Stop, Text};

const HELP: &str = "/new starts a new conversation, Ctrl-C stops a reply, Ctrl-D ends";

/// The conversation so far.
struct Conversation {
    messages: Vec<Message>,
    /// The text that the template made of the messages up to the last reply.
    rendered: String,
    /// The tokens up to and including the last reply, which stay as the model gave them. The session has been fed all
    /// but the last few.
    transcript: Vec<u32>,
    session: Session,
}

/// Talks until the input ends: with line editing in a terminal, else one message per line.
///
/// A message that no longer fits the context is refused; in a terminal the conversation can then be started anew.
///
/// # Errors
///
/// Those of the generator, the text and the host.
pub(crate) fn chat(
    generator: &mut Generator<'_>,
    text: &Text,
    host: &mut Host<'_>,
) -> Result<(), Error> {
    let interactive = host.input_is_terminal && host.output_is_terminal;
    let mut editor = if interactive {
        Some(DefaultEditor::new().map_err(Error::Terminal)?)
    } else {
        None
    };
    if interactive {
        host.note(HELP);
    }
    let mut conversation = Conversation::new();
    loop {
        let message = match &mut editor {
            Some(editor) => edit_line(editor)?,
            None => host.read_line()?,
        };
        let Some(message) = message else {
            return Ok(());
        };
        generator.stats.asked();
        match message.trim() {
            "" => continue,
            "/help" => {
                host.note(HELP);
                continue;
            }
            "/new" => {
                conversation = Conversation::new();
                generator.sampler.forget();
                continue;
            }
            _ => {}
        }
        match conversation.turn(message, generator, text, host) {
            Ok(Stop::Refused) => return Ok(()),
            Ok(Stop::Interrupted) if interactive => {
                generator.interrupt.store(false, Ordering::Relaxed)
            }
            Ok(Stop::Interrupted) => return Ok(()),
            Ok(stop) => host.note_stop(stop, generator.executor.limits().context),
            Err(error @ Error::PromptTooLong { .. }) if interactive => {
                host.note(&format!(
                    "the conversation no longer fits: {error}; /new starts a new one"
                ));
            }
            Err(error) => return Err(error),
        }
    }
}

/// A line edited in the terminal, or nothing at Ctrl-C or Ctrl-D.
fn edit_line(editor: &mut DefaultEditor) -> Result<Option<String>, Error> {
    match editor.readline("> ") {
        Ok(line) => {
            editor.add_history_entry(&line).map_err(Error::Terminal)?;
            Ok(Some(line))
        }
        Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
        Err(error) => Err(Error::Terminal(error)),
    }
}

impl Conversation {
    fn new() -> Self {
        Conversation {
            messages: Vec::new(),
            rendered: String::new(),
            transcript: Vec::new(),
            session: Session::new(0),
        }
    }

    /// Asks `content` and streams the reply. A message that is refused leaves the conversation as it was.
    fn turn(
        &mut self,
        content: String,
        generator: &mut Generator<'_>,
        text: &Text,
        host: &mut Host<'_>,
    ) -> Result<Stop, Error> {
        let mut messages = self.messages.clone();
        messages.push(Message {
            role: Role::User,
            content,
        });
        let rendered = text.render(&messages)?;
        let continued = match self.rest_of(&rendered) {
            Some(rest) => Some(text.encode_part(rest)?),
            None => None,
        };
        let transcript = match continued {
            Some(rest) => [self.transcript.as_slice(), &rest].concat(),
            None => text.encode(&rendered)?,
        };
        check_prompt(&transcript, 0, generator.executor.limits())?;
        if !transcript.starts_with(&self.transcript) {
            self.session.reset();
            generator.sampler.forget();
        }
        self.transcript = transcript;

        let mut reply = String::new();
        let mut stream = text.stream();
        let prompt = self.transcript[self.session.position()..].to_vec();
        let stop = generator.generate(&mut self.session, &prompt, &mut |token| {
            self.transcript.push(token);
            let Some(piece) = stream.push(token)? else {
                return Ok(ControlFlow::Continue(()));
            };
            reply += &piece;
            Ok(if host.put(&piece)? {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        let rest = stream.finish().unwrap_or_default();
        reply += &rest;
        messages.push(Message {
            role: Role::Assistant,
            content: reply,
        });
        self.messages = messages;
        self.rendered = rendered;
        Ok(if host.put(&format!("{rest}\n"))? {
            stop
        } else {
            Stop::Refused
        })
    }

    /// What `rendered` says after the last reply, if up to there it is the conversation so far. Templates may trim a
    /// reply.
    fn rest_of<'r>(&self, rendered: &'r str) -> Option<&'r str> {
        let reply = &self.messages.last()?.content;
        let rest = rendered.strip_prefix(&self.rendered)?;
        rest.strip_prefix(reply.as_str())
            .or_else(|| rest.strip_prefix(reply.trim()))
    }
}
