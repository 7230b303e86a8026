//! Ids into text, one at a time, in whole characters only.

use crate::{Error, Text};

/// Turns ids into text as they come.
///
/// A token stands for the same text wherever it occurs, save the byte tokens `<0x00>` to `<0xFF>`, which spell a
/// character's UTF-8 over several tokens. Their bytes wait until the character is complete; a byte that can no longer
/// become part of one is U+FFFD, one for each byte, as SentencePiece has it. Special tokens have no text.
pub struct TokenStream<'t> {
    text: &'t Text,
    /// The beginning of a character, at most three bytes.
    pending: Vec<u8>,
}

impl<'t> TokenStream<'t> {
    pub(crate) fn new(text: &'t Text) -> Self {
        TokenStream {
            text,
            pending: Vec::new(),
        }
    }

    /// The text that is complete with this id, if any.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] when the tokenizer fails.
    pub fn push(&mut self, id: u32) -> Result<Option<String>, Error> {
        let Some(piece) = self.text.piece(id) else {
            return Ok(None);
        };
        let mut out = String::new();
        match byte_of(&piece) {
            Some(byte) => {
                self.pending.push(byte);
                self.take_complete(&mut out);
            }
            None => {
                out.extend(self.finish());
                out += &self.text.decode_piece(piece)?;
            }
        }
        Ok((!out.is_empty()).then_some(out))
    }

    /// What is left at the end: U+FFFD for each byte of an unfinished character.
    pub fn finish(&mut self) -> Option<String> {
        let rest = "\u{FFFD}".repeat(self.pending.len());
        self.pending.clear();
        (!rest.is_empty()).then_some(rest)
    }

    /// Moves whole characters, and bytes that cannot become one, from `pending` to `out`.
    fn take_complete(&mut self, out: &mut String) {
        let mut taken = 0;
        for chunk in self.pending.utf8_chunks() {
            *out += chunk.valid();
            taken += chunk.valid().len();
            let invalid = chunk.invalid();
            if taken + invalid.len() < self.pending.len() || !may_be_completed(invalid) {
                *out += &"\u{FFFD}".repeat(invalid.len());
                taken += invalid.len();
            }
        }
        self.pending.drain(..taken);
    }
}

/// Whether more bytes could make these a character.
fn may_be_completed(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// The byte that a piece `<0xHH>` spells.
fn byte_of(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}
