//! What a benchmark found, in the form asked for.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::error::Error;
use crate::measure::{KernelTime, Seconds};
use crate::table;

/// The form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables in Markdown
    Md,
    /// One JSON object, with every sample
    Json,
    /// A JSON object a line, one for each backend
    Jsonl,
    /// Comma-separated values: a line for each backend and kernel
    Csv,
}

/// What was measured.
#[derive(Serialize)]
pub struct Report {
    /// What was run.
    #[serde(flatten)]
    pub subject: Subject,
    /// What each backend did.
    pub runs: Vec<Run>,
}

/// What was run.
#[derive(Serialize)]
pub struct Subject {
    /// The file of the graph.
    pub graph: String,
    /// The values of the symbols.
    pub symbols: BTreeMap<String, i64>,
    /// Threads that computed.
    pub threads: usize,
    /// The CPU of the machine's description, if there is one.
    pub machine: Option<String>,
}

/// What a backend did.
#[derive(Serialize)]
pub struct Run {
    /// Its name.
    pub backend: &'static str,
    /// How faithful it is.
    pub fidelity: &'static str,
    /// Seconds of a step.
    #[serde(flatten)]
    pub seconds: Seconds,
    /// Their mean.
    pub mean_s: f64,
    /// Their sample standard deviation; 0 of one sample.
    pub deviation_s: f64,
    /// Seconds of each step.
    pub samples_s: Vec<f64>,
    /// What the kernels of a step do, where there are kernels.
    #[serde(flatten)]
    pub amount: Option<Amount>,
    /// The kernels, where they were timed.
    pub kernels: Vec<Kernel>,
}

/// What a kernel did.
#[derive(Serialize)]
pub struct Kernel {
    /// Function and kernel.
    pub kernel: String,
    /// How long it took.
    #[serde(flatten)]
    pub time: KernelTime,
    /// What one launch does.
    #[serde(flatten)]
    pub amount: Amount,
}

/// What kernels do.
#[derive(Clone, Copy, Serialize)]
pub struct Amount {
    /// Bytes read and written.
    pub bytes: f64,
    /// Floating-point operations.
    pub flops: f64,
    /// Seconds that the machine takes for that at the least, where it is described.
    pub limit_s: Option<f64>,
}

impl Amount {
    /// All of them together.
    pub fn sum<'a>(amounts: impl Iterator<Item = &'a Amount>) -> Amount {
        let nothing = Amount {
            bytes: 0.0,
            flops: 0.0,
            limit_s: None,
        };
        amounts.fold(nothing, |all, one| Amount {
            bytes: all.bytes + one.bytes,
            flops: all.flops + one.flops,
            limit_s: one.limit_s.map(|limit| all.limit_s.unwrap_or(0.0) + limit),
        })
    }
}

impl Run {
    /// A backend's run with these seconds, at least one, and no kernels.
    pub fn new(backend: &'static str, fidelity: &'static str, samples: Vec<f64>) -> Run {
        let count = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let squares = samples.iter().map(|x| (x - mean) * (x - mean));
        Run {
            backend,
            fidelity,
            seconds: Seconds::of(samples.clone()),
            mean_s: mean,
            deviation_s: (squares.sum::<f64>() / (count - 1.0).max(1.0)).sqrt(),
            samples_s: samples,
            amount: None,
            kernels: vec![],
        }
    }
}

/// A line of JSON.
#[derive(Serialize)]
struct Line<'r> {
    #[serde(flatten)]
    subject: &'r Subject,
    #[serde(flatten)]
    run: &'r Run,
}

impl Report {
    /// Writes the report.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn print(&self, format: Format, out: &mut dyn Write) -> Result<(), Error> {
        match format {
            Format::Md => self.tables(out)?,
            Format::Csv => self.values(out)?,
            Format::Json => {
                serde_json::to_writer_pretty(&mut *out, self).map_err(io::Error::from)?;
                writeln!(out)?;
            }
            Format::Jsonl => {
                for run in &self.runs {
                    let subject = &self.subject;
                    let line = Line { subject, run };
                    serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
                    writeln!(out)?;
                }
            }
        }
        Ok(())
    }

    fn tables(&self, out: &mut dyn Write) -> io::Result<()> {
        let Subject {
            graph,
            symbols,
            threads,
            ..
        } = &self.subject;
        let mut title = vec![graph.clone()];
        title.extend(
            symbols
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        let plural = if *threads == 1 { "" } else { "s" };
        writeln!(out, "{}, {threads} thread{plural}\n", title.join(", "))?;
        let time = table::seconds;
        let mut rows = vec![self.head(&["backend", "median", "mean", "min", "max"])];
        for run in &self.runs {
            let Seconds {
                median, min, max, ..
            } = run.seconds;
            let (mean, deviation) = (time(run.mean_s), time(run.deviation_s));
            let mut row = vec![format!("{} {}", run.backend, run.fidelity)];
            row.extend([time(median), format!("{mean} ± {deviation}")]);
            row.extend([time(min), time(max)]);
            row.extend(run.amount.iter().flat_map(|amount| rates(amount, median)));
            rows.push(row);
        }
        markdown(rows, out)?;
        for run in self.runs.iter().filter(|run| !run.kernels.is_empty()) {
            let head = ["kernel", "launches", "median", "min", "max", "of the step"];
            let mut rows = vec![self.head(&head)];
            for kernel in &run.kernels {
                let KernelTime { launches, seconds } = kernel.time;
                let share = launches as f64 * seconds.median / run.seconds.median;
                let mut row = vec![kernel.kernel.clone(), launches.to_string()];
                row.extend([seconds.median, seconds.min, seconds.max].map(time));
                row.push(percent(share));
                row.extend(rates(&kernel.amount, seconds.median));
                rows.push(row);
            }
            writeln!(out)?;
            markdown(rows, out)?;
        }
        Ok(())
    }

    /// The first row of a table, whose first cells are these. The last is what is reached of the machine's limit, where
    /// the machine is described.
    fn head(&self, first: &[&str]) -> Vec<String> {
        let limit = self.subject.machine.as_ref().map(|_| "of the limit");
        let rates = ["bytes", "flops", "GB/s", "Gflop/s"]
            .into_iter()
            .chain(limit);
        first
            .iter()
            .copied()
            .chain(rates)
            .map(String::from)
            .collect()
    }

    /// Comma-separated values, by RFC 4180.
    fn values(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "graph,backend,fidelity,threads,kernel,launches,median_s,spread_s,min_s,max_s,mean_s,deviation_s,bytes,flops,limit_s"
        )?;
        let spread = |seconds: &Seconds| {
            let Seconds {
                median,
                spread,
                min,
                max,
            } = seconds;
            format!("{median},{spread},{min},{max}")
        };
        let done = |amount: Option<&Amount>| match amount {
            None => ",,".into(),
            Some(Amount {
                bytes,
                flops,
                limit_s,
            }) => {
                let limit = limit_s.map(|limit| limit.to_string());
                format!("{bytes},{flops},{}", limit.unwrap_or_default())
            }
        };
        let Subject { graph, threads, .. } = &self.subject;
        for run in &self.runs {
            let (backend, fidelity) = (run.backend, run.fidelity);
            let head = format!("{},{backend},{fidelity},{threads}", quoted(graph));
            let (seconds, amount) = (spread(&run.seconds), done(run.amount.as_ref()));
            let (mean, deviation) = (run.mean_s, run.deviation_s);
            writeln!(out, "{head},,,{seconds},{mean},{deviation},{amount}")?;
            for kernel in &run.kernels {
                let (name, launches) = (&kernel.kernel, kernel.time.launches);
                let (seconds, amount) = (spread(&kernel.time.seconds), done(Some(&kernel.amount)));
                writeln!(out, "{head},{name},{launches},{seconds},,,{amount}")?;
            }
        }
        Ok(())
    }
}

/// Prints a table in Markdown, its columns aligned: the first to the left, the others to the right. Rows that are shorter
/// than the first end in dashes.
fn markdown(mut rows: Vec<Vec<String>>, out: &mut dyn Write) -> io::Result<()> {
    let columns = rows.first().map_or(0, Vec::len);
    for row in &mut rows {
        row.resize(columns, "-".into());
    }
    let width = |c: usize| rows.iter().map(|row| row[c].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    for (r, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(c, (cell, width))| match c {
            0 => format!("| {cell:<width$} |"),
            _ => format!(" {cell:>width$} |"),
        });
        writeln!(out, "{}", cells.collect::<String>())?;
        if r == 0 {
            let rules = widths.iter().enumerate().map(|(c, width)| match c {
                0 => format!("|:{}|", "-".repeat(width + 1)),
                _ => format!("{}:|", "-".repeat(width + 1)),
            });
            writeln!(out, "{}", rules.collect::<String>())?;
        }
    }
    Ok(())
}

/// The cells of what was done in so many seconds.
fn rates(amount: &Amount, seconds: f64) -> Vec<String> {
    let Amount {
        bytes,
        flops,
        limit_s,
    } = *amount;
    let mut cells = vec![table::bytes(bytes as usize), table::flops(flops)];
    cells.extend([bytes, flops].map(|amount| format!("{:.2}", amount / seconds / 1e9)));
    cells.extend(limit_s.map(|limit| percent(limit / seconds)));
    cells
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// A field of comma-separated values.
fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.into(),
    }
}
