//! The world outside a run: its input, output and notes.

use std::io::{self, BufRead, Write};
use std::mem;
use std::sync::atomic::AtomicBool;

use crate::interrupt::unless_interrupted;
use crate::{Error, Stop};

/// What a run reads from and writes to.
pub struct Host<'a> {
    /// Standard input.
    pub input: Box<dyn BufRead + Send>,
    /// Whether standard input is a terminal: nothing is read from it unless by line editing.
    pub input_is_terminal: bool,
    /// Standard output: the result and nothing else.
    pub output: &'a mut dyn Write,
    /// Whether standard output is a terminal.
    pub output_is_terminal: bool,
    /// Standard error: what the user should know beside the result.
    pub notes: &'a mut dyn Write,
    /// Set from outside to end the run after the present step.
    pub interrupt: &'a AtomicBool,
}

impl Host<'_> {
    /// Everything on the input, or nothing if interrupted.
    pub(crate) fn read_to_end(&mut self) -> Result<Option<String>, Error> {
        self.read(|input, bytes| input.read_to_end(bytes))
    }

    /// The next line without its end, or nothing at the end of the input or if interrupted.
    pub(crate) fn read_line(&mut self) -> Result<Option<String>, Error> {
        let line = self.read(|input, bytes| input.read_until(b'\n', bytes))?;
        Ok(line.filter(|line| !line.is_empty()).map(without_newline))
    }

    fn read(
        &mut self,
        read: impl FnOnce(&mut dyn BufRead, &mut Vec<u8>) -> io::Result<usize> + Send + 'static,
    ) -> Result<Option<String>, Error> {
        let mut input = mem::replace(&mut self.input, Box::new(io::empty()));
        let outcome = unless_interrupted(self.interrupt, move || {
            let mut bytes = Vec::new();
            let outcome = read(&mut *input, &mut bytes);
            (input, outcome.map(|_| bytes))
        });
        let Some((input, outcome)) = outcome else {
            return Ok(None);
        };
        self.input = input;
        let text = String::from_utf8(outcome.map_err(Error::Input)?);
        text.map(Some).map_err(|error| Error::NotUtf8 {
            offset: error.utf8_error().valid_up_to(),
        })
    }

    /// Writes a piece of the result at once. False when nobody reads it any more.
    pub(crate) fn put(&mut self, text: &str) -> Result<bool, Error> {
        match self
            .output
            .write_all(text.as_bytes())
            .and_then(|()| self.output.flush())
        {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Error::Output(error)),
        }
    }

    /// Tells the user something. There is nobody left to tell if that fails.
    pub(crate) fn note(&mut self, note: &str) {
        let _ = writeln!(self.notes, "{note}");
    }

    /// Says why generation ended where the user could not know.
    pub(crate) fn note_stop(&mut self, stop: Stop, context: usize) {
        match stop {
            Stop::ContextFull => self.note(&format!(
                "note: the context of {context} positions is full; generation stopped"
            )),
            Stop::StopId | Stop::MaxNewTokens | Stop::Interrupted | Stop::Refused => {}
        }
    }
}

/// The text without one newline at its end.
pub(crate) fn without_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}
