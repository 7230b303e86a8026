//! Text in and text out: the tokenizer and the chat template of a checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use tokenizers::decoders::DecoderWrapper;
use tokenizers::{Decoder, Tokenizer};

use crate::template::ChatTemplate;
use crate::{Error, Message, TokenStream};

/// Where a tokenizer.json is found.
#[derive(Clone, Copy, Debug)]
pub enum TokenizerJson<'a> {
    /// In a file.
    File(&'a Path),
    /// In memory: its whole content.
    Bytes(&'a [u8]),
}

/// What [`Text`] is made of.
#[derive(Clone, Debug)]
pub struct TextSource<'a> {
    /// The tokenizer.
    pub tokenizer_json: TokenizerJson<'a>,
    /// The checkpoint's chat template in Jinja; without one, Gemma 2's own chat form is used.
    pub chat_template: Option<String>,
    /// The special tokens that the template may name, such as `bos_token` = `<bos>`.
    pub special: BTreeMap<String, String>,
    /// The id that begins every sequence.
    pub bos: u32,
}

/// A checkpoint's tokenizer and chat template.
pub struct Text {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    bos: u32,
    name: String,
}

impl Text {
    /// Loads the tokenizer and checks it and the template.
    ///
    /// # Errors
    ///
    /// [`Error::File`] or [`Error::Tokenizer`] when the tokenizer cannot be read, lacks `bos`, or decodes in another
    /// way than Gemma's; [`Error::Template`] when the template is not Jinja.
    pub fn new(source: TextSource<'_>) -> Result<Self, Error> {
        let (name, tokenizer) = match source.tokenizer_json {
            TokenizerJson::File(path) => {
                let bytes = std::fs::read(path).map_err(|source| Error::File {
                    path: path.into(),
                    source,
                })?;
                (path.display().to_string(), Tokenizer::from_bytes(bytes))
            }
            TokenizerJson::Bytes(bytes) => {
                ("tokenizer.json".to_string(), Tokenizer::from_bytes(bytes))
            }
        };
        let fault = |message: String| Error::Tokenizer {
            name: name.clone(),
            message,
        };
        let mut tokenizer = tokenizer.map_err(|error| fault(error.to_string()))?;
        if !decodes_each_token_alone(tokenizer.get_decoder()) {
            return Err(fault(
                "expected Gemma's decoder, a sequence of Replace, ByteFallback and Fuse"
                    .to_string(),
            ));
        }
        tokenizer
            .with_padding(None)
            .with_truncation(None)
            .map_err(|error| fault(error.to_string()))?;
        let bos = tokenizer.id_to_token(source.bos);
        let bos = bos.ok_or_else(|| {
            fault(format!(
                "no token has the id {}, the checkpoint's bos",
                source.bos
            ))
        })?;
        let mut special = source.special;
        special.entry("bos_token".to_string()).or_insert(bos);
        let template = ChatTemplate::new(source.chat_template, special)?;
        Ok(Text {
            tokenizer,
            template,
            bos: source.bos,
            name,
        })
    }

    /// The ids of a whole sequence: `<bos>` exactly once at its start, whether or not the text begins with it.
    ///
    /// A special token written out in the text becomes that token.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] when the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids = self.encode_part(text)?;
        if ids.first() != Some(&self.bos) {
            ids.insert(0, self.bos);
        }
        Ok(ids)
    }

    /// The ids of a text within a sequence: nothing is put before it.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] when the tokenizer fails.
    pub fn encode_part(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| self.fault(&error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// A conversation in the chat form, `<bos>` included, up to where the model's next message begins.
    ///
    /// # Errors
    ///
    /// [`Error::Conversation`] with the template's own words when it refuses the conversation, [`Error::Template`] when
    /// it is faulty.
    pub fn render(&self, messages: &[Message]) -> Result<String, Error> {
        self.template.render(messages)
    }

    /// Begins to turn ids into text as they come.
    pub fn stream(&self) -> TokenStream<'_> {
        TokenStream::new(self)
    }

    /// The text of ids, special tokens left out.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] when the tokenizer fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        let mut stream = self.stream();
        let mut text = String::new();
        for &id in ids {
            text.extend(stream.push(id)?);
        }
        text.extend(stream.finish());
        Ok(text)
    }

    /// The vocabulary's entry for an id, unless it is special or there is none.
    pub(crate) fn piece(&self, id: u32) -> Option<String> {
        let piece = self.tokenizer.id_to_token(id)?;
        (!self
            .tokenizer
            .get_added_vocabulary()
            .is_special_token(&piece))
        .then_some(piece)
    }

    /// The text that an entry of the vocabulary stands for, wherever in a sequence.
    pub(crate) fn decode_piece(&self, piece: String) -> Result<String, Error> {
        match self.tokenizer.get_decoder() {
            Some(decoder) => decoder
                .decode(vec![piece])
                .map_err(|error| self.fault(&error)),
            None => Ok(piece),
        }
    }

    fn fault(&self, error: &tokenizers::Error) -> Error {
        Error::Tokenizer {
            name: self.name.clone(),
            message: error.to_string(),
        }
    }
}

/// Whether a token's text (byte tokens apart) is the same alone as in any sequence, which streaming relies on.
fn decodes_each_token_alone(decoder: Option<&DecoderWrapper>) -> bool {
    match decoder {
        Some(DecoderWrapper::Sequence(sequence)) => sequence
            .get_decoders()
            .iter()
            .all(|decoder| decodes_each_token_alone(Some(decoder))),
        Some(
            DecoderWrapper::Replace(_) | DecoderWrapper::ByteFallback(_) | DecoderWrapper::Fuse(_),
        ) => true,
        _ => false,
    }
}
