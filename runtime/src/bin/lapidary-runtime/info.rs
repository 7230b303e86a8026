//! What a compiled file says of itself.

use std::io::{self, Write};

use lapidary_runtime::bundle::{Bundle, Manifest, WeightPlace};
use lapidary_runtime::{Buffer, Error, Level};

/// Prints to standard output, whether or not somebody reads it to its end.
pub fn print(text: &str) -> Result<(), Error> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// What a file was built from, in one line.
pub fn line(manifest: &Manifest) -> String {
    let about = &manifest.about;
    format!(
        "{}, checkpoint {}, {}, weights {}, KV cache {}, context {}, rules {}, compiled by lapidary {}",
        about.name,
        about.checkpoint,
        about.fidelity,
        about.weight_format,
        about.kv_format,
        manifest.model.limits.context,
        about.rules,
        about.compiler,
    )
}

/// What a file was built from and what memory it needs, one fact a line.
pub fn table(bundle: &Bundle) -> String {
    let manifest = bundle.program.manifest();
    let (about, model, program) = (&manifest.about, &manifest.model, &manifest.program);
    let levels: Vec<&str> = manifest
        .images
        .iter()
        .map(|code| code.level.name())
        .collect();
    let able = manifest.images.iter().map(|code| code.level);
    let here = able.filter(|level| level.lacks().is_none()).max();
    let tuned = about.tuned_for.as_ref();
    let code: u64 = manifest.images.iter().map(|code| code.span.bytes).sum();
    let weights = program.weights.iter().map(|weight| weight.bytes).sum();
    let stop_ids: Vec<String> = model.stop_ids.iter().map(u32::to_string).collect();
    let all = |buffers: &[Buffer]| buffers.iter().map(|buffer| buffer.bytes).sum();
    let facts = [
        ("model", about.name.clone()),
        ("checkpoint", about.checkpoint.to_string()),
        ("compiler", format!("lapidary {}", about.compiler)),
        ("rules", about.rules.to_string()),
        ("fidelity", about.fidelity.clone()),
        (
            "CPU",
            format!(
                "{}{}; on this machine {}",
                levels.join(", "),
                tuned.map_or(String::new(), |cpu| format!(", tuned for {cpu}")),
                here.map_or("none of them", Level::name),
            ),
        ),
        ("vocabulary", model.limits.vocab.to_string()),
        ("context", model.limits.context.to_string()),
        ("rows a step", model.limits.rows.to_string()),
        ("stop ids", stop_ids.join(", ")),
        (
            "text",
            match &manifest.tokenizer {
                None => "none: token ids only".into(),
                Some(_) => "tokenizer and chat template".into(),
            },
        ),
        (
            "code",
            format!("{}, {} kernels", bytes(code), program.kernels.len()),
        ),
        (
            "weights",
            format!(
                "{}, {}, {}",
                bytes(weights),
                about.weight_format,
                match &manifest.weights {
                    WeightPlace::Embedded(_) => "in this file".to_string(),
                    WeightPlace::Sidecar { file, .. } => format!("in {file}"),
                }
            ),
        ),
        (
            "KV cache",
            format!("{}, {}", bytes(all(&program.states)), about.kv_format),
        ),
        ("arena", bytes(program.arena)),
        (
            "inputs and outputs",
            bytes(all(&program.inputs) + all(&program.outputs)),
        ),
        ("scratch a thread", bytes(program.scratch)),
    ];
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = facts
        .iter()
        .map(|(name, fact)| format!("{name:width$}   {fact}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Bytes as they are and in the unit that reads best, by powers of 1000.
fn bytes(n: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let unit = units.into_iter().find(|(_, size)| n as f64 >= *size);
    match unit {
        None => format!("{n} bytes"),
        Some((unit, size)) => format!("{n} bytes ({:.1} {unit})", n as f64 / size),
    }
}
