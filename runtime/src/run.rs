//! A whole run, from options to exit.

use std::io::{self, BufReader, IsTerminal};
use std::ops::ControlFlow;
use std::time::Instant;

use crate::chat::chat;
use crate::file::OutputFile;
use crate::host::{Host, without_newline};
use crate::logits::write_logits;
use crate::{
    Description, Error, Executor, Generator, Message, Role, RunOptions, Sampler, Session, Stats,
    Stop, Text, interrupt,
};

/// Runs a model as the options say, over the process's own standard streams.
///
/// `text` is the model's tokenizer and template, if it has them; `stop_ids` end generation and are not printed; `start`
/// is when the process began. Ctrl-C ends the run after the present step, without an error unless a result file would
/// be missing; so does a standard output that nobody reads.
///
/// # Errors
///
/// What [`run_in`] reports, and [`Error::Signals`].
pub fn run(
    executor: &mut dyn Executor,
    text: Option<&Text>,
    stop_ids: &[u32],
    options: &RunOptions,
    start: Instant,
) -> Result<(), Error> {
    let host = Host {
        input: Box::new(BufReader::new(io::stdin())),
        input_is_terminal: io::stdin().is_terminal(),
        output: &mut io::stdout().lock(),
        output_is_terminal: io::stdout().is_terminal(),
        notes: &mut io::stderr(),
        interrupt: interrupt::catch()?,
    };
    run_in(host, executor, text, stop_ids, options, start)
}

/// [`run`] over any streams.
///
/// # Errors
///
/// Before any step: a machine description that is none, a prompt that is missing, empty, no text, out of the vocabulary or longer than the context, text
/// without a tokenizer, result files that cannot be made. Later: what the executor reports, logits that are not finite,
/// failing streams and files.
pub fn run_in(
    mut host: Host<'_>,
    executor: &mut dyn Executor,
    text: Option<&Text>,
    stop_ids: &[u32],
    options: &RunOptions,
    start: Instant,
) -> Result<(), Error> {
    let limits = executor.limits();
    let machine = options.machine().map(Description::load).transpose()?;
    let work = executor.work().cloned();
    let mut generator = Generator {
        executor,
        sampler: Sampler::new(options.sampling(), options.seed(), limits.vocab),
        stop_ids,
        prefill_chunk: options.prefill_chunk(limits.context).min(limits.rows),
        max_new_tokens: options.max_new_tokens(),
        interrupt: host.interrupt,
        stats: Stats::ready(start, work),
    };
    for path in options.stats.iter().chain(&options.logits) {
        OutputFile::check(path)?;
    }
    if options.chat {
        chat(&mut generator, text.ok_or(Error::NoTokenizer)?, &mut host)?;
    } else {
        let prompt = prompt(&mut host, text, options)?;
        generator.stats.asked();
        match (prompt, &options.logits) {
            (Some(prompt), Some(path)) => write_logits(&mut generator, &prompt, path)?,
            (Some(prompt), None) => answer(
                &mut generator,
                &prompt,
                text.filter(|_| options.needs_text()),
                &mut host,
            )?,
            (None, Some(path)) => return Err(Error::Interrupted { path: path.clone() }),
            (None, None) => {}
        }
    }
    match &options.stats {
        Some(path) => generator
            .stats
            .write(path, options.threads(), machine.as_ref()),
        None => Ok(()),
    }
}

/// The prompt's ids, or nothing if the wait for it was interrupted.
fn prompt(
    host: &mut Host<'_>,
    text: Option<&Text>,
    options: &RunOptions,
) -> Result<Option<Vec<u32>>, Error> {
    if let Some(tokens) = &options.tokens {
        return Ok(Some(tokens.0.clone()));
    }
    let text = text.ok_or(Error::NoTokenizer)?;
    let content = match &options.prompt {
        Some(prompt) => prompt.clone(),
        None if host.input_is_terminal => return Err(Error::NoPrompt),
        None => match host.read_to_end()? {
            Some(content) => without_newline(content),
            None => return Ok(None),
        },
    };
    if options.raw {
        if content.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        return text.encode(&content).map(Some);
    }
    if content.trim().is_empty() {
        return Err(Error::EmptyPrompt);
    }
    text.encode(&text.render(&[Message {
        role: Role::User,
        content,
    }])?)
    .map(Some)
}

/// Generates, and prints what comes: text, or ids when there is none.
fn answer(
    generator: &mut Generator<'_>,
    prompt: &[u32],
    text: Option<&Text>,
    host: &mut Host<'_>,
) -> Result<(), Error> {
    let mut stream = text.map(Text::stream);
    let mut separator = "";
    let stop = generator.generate(&mut Session::new(0), prompt, &mut |token| {
        let piece = match &mut stream {
            Some(stream) => stream.push(token)?.unwrap_or_default(),
            None => format!("{separator}{token}"),
        };
        separator = " ";
        Ok(if host.put(&piece)? {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    })?;
    if stop != Stop::Refused {
        let rest = stream
            .and_then(|mut stream| stream.finish())
            .unwrap_or_default();
        host.put(&format!("{rest}\n"))?;
        host.note_stop(stop, generator.executor.limits().context);
    }
    Ok(())
}
