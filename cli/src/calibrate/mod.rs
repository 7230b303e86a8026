//! `lapidary calibrate`: what this machine can do at most.

mod kernels;
mod measure;

use std::io::Write;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use runtime::{Description, Measured, OutputFile, Rates};

use crate::error::Error;
use crate::{machine, table};
use kernels::{Kernels, Line};

/// Arguments of `calibrate`.
#[derive(clap::Args)]
pub struct Args {
    /// Where the description goes [default: lapidary/machine.json in $XDG_CONFIG_HOME or ~/.config, where the other commands look for it]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// How often each measurement is made; the median counts
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// MiB of memory to read, far more than the caches hold [default: 4096, or a quarter of what is free if that is less]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    memory: Option<u32>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Error> {
    let kernels = Kernels::of_this_cpu().map_err(|feature| {
        Error::Option(format!(
            "this CPU lacks {feature}, which all compiled programs need"
        ))
    })?;
    let path = match &args.output {
        Some(path) => path.clone(),
        None => default_target()?,
    };
    OutputFile::check(&path)?;
    let rounds = args.rounds as usize;
    let bar = ProgressBar::new(u64::from(args.rounds));
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} rounds, {eta} left");
    bar.set_style(style.expect("the template is well-formed"));
    bar.set_message("measuring");
    bar.tick();
    let memory = memory(args.memory.map_or_else(default_mebibytes, |n| n as usize))?;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let description = measure::measure(&kernels, &memory, threads, rounds, &mut || bar.inc(1))?;
    bar.finish_and_clear();
    description.save(&path)?;
    print(&description, &mut std::io::stdout().lock())?;
    eprintln!("written to {}", path.display());
    Ok(())
}

/// The default file, in a folder that is there.
fn default_target() -> Result<PathBuf, Error> {
    let path = machine::default_path().ok_or_else(|| {
        Error::Option("neither XDG_CONFIG_HOME nor HOME names a folder: give -o FILE".into())
    })?;
    let folder = path.parent().expect("the file is in a folder");
    std::fs::create_dir_all(folder).map_err(|source| Error::File {
        path: folder.into(),
        source,
    })?;
    Ok(path)
}

/// MiB to read: 4 GiB, or a quarter of what the system could give without swapping.
fn default_mebibytes() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text.lines().find_map(|line| {
        let kibibytes = line.strip_prefix("MemAvailable:")?.trim();
        kibibytes.strip_suffix("kB")?.trim().parse::<usize>().ok()
    });
    available.map_or(1024, |kibibytes| (kibibytes / 1024 / 4).clamp(64, 4096))
}

/// Memory of so many MiB, all of it written to, so that every page of it is there.
fn memory(mebibytes: usize) -> Result<Vec<Line>, Error> {
    let count = mebibytes * (1 << 20) / size_of::<Line>();
    let mut lines = Vec::new();
    lines.try_reserve_exact(count).map_err(|_| {
        Error::Option(format!(
            "--memory {mebibytes}: the system does not give so much"
        ))
    })?;
    lines.extend((0..count as u64).map(|i| Line([i.wrapping_mul(0x9E37_79B9_7F4A_7C15); 8])));
    Ok(lines)
}

/// The table: a measurement a row.
fn print(description: &Description, out: &mut dyn Write) -> Result<(), Error> {
    let Description { cpu, threads, .. } = description;
    let row = |name: &str, measured: &Measured, unit: f64, digits: usize| {
        let value = |x: f64| format!("{:.digits$}", x / unit);
        let Measured { median, min, max } = *measured;
        vec![name.to_string(), value(median), value(min), value(max)]
    };
    let plural = if *threads == 1 { "" } else { "s" };
    writeln!(
        out,
        "{cpu}, {threads} thread{plural}, {}\n",
        description.date
    )?;
    let mut rows = vec![["", "median", "min", "max"].map(String::from).to_vec()];
    let rates: [(&str, Option<&Rates>); 4] = [
        ("read, GB/s", Some(&description.read_bytes_per_s)),
        ("f32 FMA, GFLOP/s", Some(&description.f32_flops)),
        ("bf16 dot, GFLOP/s", description.bf16_flops.as_ref()),
        ("int8 dot, GOP/s", description.int8_ops.as_ref()),
    ];
    for (name, rates) in rates {
        match rates {
            Some(rates) => {
                rows.push(row(
                    &format!("{name}, one thread"),
                    &rates.one_thread,
                    1e9,
                    1,
                ));
                rows.push(row(&format!("{name}, all"), &rates.all_threads, 1e9, 1));
            }
            None => rows.push(vec![name.to_string(), "none".into()]),
        }
    }
    rows.push(row("barrier, µs", &description.barrier_s, 1e-6, 2));
    Ok(table::print(out, &rows)?)
}
