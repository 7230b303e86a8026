//! The generation loop: prompt in, tokens out.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::{Error, Executor, Limits, Sampler, Session, Stats};

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model gave a stop id; it is not part of what was generated.
    StopId,
    /// As many tokens were generated as were asked for.
    MaxNewTokens,
    /// The context has no position left to feed the last token at.
    ContextFull,
    /// The interrupt flag was set.
    Interrupted,
    /// The receiver wants no more tokens.
    Refused,
}

/// What generation needs beside the sequence: the executor, how to choose tokens, and when to stop.
pub struct Generator<'a> {
    /// What runs the steps.
    pub executor: &'a mut dyn Executor,
    /// What chooses the tokens. It is told of every token of the sequence.
    pub sampler: Sampler,
    /// The ids that end generation.
    pub stop_ids: &'a [u32],
    /// Prompt tokens per step, 1 to the executor's `rows`.
    pub prefill_chunk: usize,
    /// Most tokens to generate.
    pub max_new_tokens: usize,
    /// Ends generation after the present step when set.
    pub interrupt: &'a AtomicBool,
    /// Where times and counts are kept.
    pub stats: Stats,
}

impl Generator<'_> {
    /// Feeds `prompt` and generates until something ends it; `emit` receives each token as it is chosen.
    ///
    /// A prompt may fill the context: one token can then still be generated. Of what was generated, the last token has
    /// not been fed to the model.
    ///
    /// # Errors
    ///
    /// Before any step: [`Error::EmptyPrompt`], [`Error::TokenOutOfRange`], [`Error::PromptTooLong`]. After that,
    /// whatever the executor, the sampler or `emit` reports.
    pub fn generate(
        &mut self,
        session: &mut Session,
        prompt: &[u32],
        emit: &mut dyn FnMut(u32) -> Result<ControlFlow<()>, Error>,
    ) -> Result<Stop, Error> {
        let limits = self.executor.limits();
        check_prompt(prompt, session.position(), limits)?;
        let mut logits = vec![0.0; limits.vocab];
        prompt.iter().for_each(|&token| self.sampler.observe(token));

        let progress = progress(prompt.len(), self.prefill_chunk);
        let last_chunk = (prompt.len() - 1) / self.prefill_chunk;
        for (index, chunk) in prompt.chunks(self.prefill_chunk).enumerate() {
            if self.interrupted() {
                return Ok(Stop::Interrupted);
            }
            let first = session.position();
            let started = Instant::now();
            let wanted = if index == last_chunk {
                session.feed(self.executor, chunk, &[chunk.len() - 1], &mut logits)?;
                1
            } else {
                session.feed(self.executor, chunk, &[], &mut [])?;
                0
            };
            self.stats
                .prefilled(first, chunk.len(), wanted, started.elapsed());
            progress.inc(chunk.len() as u64);
        }
        progress.finish_and_clear();

        let mut generated = 0;
        let mut started = None;
        loop {
            let token = self.sampler.sample(&mut logits, session.position() - 1)?;
            match started {
                None => self.stats.first_token(),
                Some(started) => self
                    .stats
                    .decoded(session.position() - 1, Instant::elapsed(&started)),
            }
            if self.stop_ids.contains(&token) {
                return Ok(Stop::StopId);
            }
            self.sampler.observe(token);
            generated += 1;
            if emit(token)?.is_break() {
                return Ok(Stop::Refused);
            }
            if generated == self.max_new_tokens {
                return Ok(Stop::MaxNewTokens);
            }
            if session.position() == limits.context {
                return Ok(Stop::ContextFull);
            }
            if self.interrupted() {
                return Ok(Stop::Interrupted);
            }
            started = Some(Instant::now());
            session.feed(self.executor, &[token], &[0], &mut logits)?;
        }
    }

    fn interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }
}

/// A bar on standard error for a prompt that takes more than one step; drawn in a terminal only.
pub(crate) fn progress(tokens: usize, chunk: usize) -> ProgressBar {
    if tokens <= chunk {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("prompt {bar:30} {pos}/{len} tokens, {eta} left");
    ProgressBar::new(tokens as u64).with_style(style.expect("the template is well-formed"))
}

/// Refuses a prompt, to be fed after `before` tokens, that the executor cannot take.
pub(crate) fn check_prompt(prompt: &[u32], before: usize, limits: Limits) -> Result<(), Error> {
    if prompt.is_empty() {
        return Err(Error::EmptyPrompt);
    }
    if let Some(&id) = prompt.iter().find(|&&id| id as usize >= limits.vocab) {
        return Err(Error::TokenOutOfRange {
            id,
            vocab: limits.vocab,
        });
    }
    let tokens = before + prompt.len();
    if tokens > limits.context {
        return Err(Error::PromptTooLong {
            tokens,
            context: limits.context,
        });
    }
    Ok(())
}
