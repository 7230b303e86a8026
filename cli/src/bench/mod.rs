//! `lapidary bench`: how long a graph's step takes.

mod report;

use std::time::Instant;

use ir::Function;
use passes::fusion::{Cost, Machine, costs};
use passes::plan::{FunctionPlan, Plan};
use runtime::Description;

use crate::backend::{Backend, Fidelity};
use crate::error::Error;
use crate::graph::{Absent, GraphArgs, Session};
use crate::machine::planned_for;
use crate::measure::KernelTimer;
use crate::progress::Progress;
use report::{Amount, Format, Kernel, Report, Run, Subject};

/// Steps that run before any is measured.
const WARM_UP: usize = 2;

/// Arguments of `bench`.
///
/// Inputs and weights that no file has are random, integers count from 0, and symbols that nothing fixes take their
/// upper bounds. Every step begins with the same states: zeros, unless a file has others.
#[derive(clap::Args)]
pub struct Args {
    /// How often the step is measured
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeat: u32,

    /// What executes the graph; several take turns
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cpu")]
    backend: Vec<Backend>,

    /// How faithful machine code is to the specification
    #[arg(long, value_enum, default_value_t = Fidelity::Fast)]
    fidelity: Fidelity,

    /// Measure each kernel of machine code, too, in steps between the others
    #[arg(long)]
    kernels: bool,

    /// The form of the result
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Format::Md)]
    output: Format,

    #[command(flatten)]
    graph: GraphArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Error> {
    let graph = args
        .graph
        .read("lapidary run --stats measures a model, lapidary opt prints its graph")?;
    let files = args.graph.files()?;
    let given = graph.given(&files, Absent::Made)?;
    let description = args.graph.machine.machine()?;
    let progress = Progress::shown();
    let mut benches = Vec::new();
    for backend in &args.backend {
        let fidelity = match backend {
            Backend::Cpu => args.fidelity,
            Backend::Interp => Fidelity::Exact,
        };
        let session = graph.session(*backend, fidelity, &given, &progress)?;
        benches.push(Bench {
            backend: *backend,
            fidelity,
            session,
            samples: vec![],
            timer: KernelTimer::default(),
        });
    }
    let rounds = WARM_UP + args.repeat as usize;
    let phase = progress.rounds("measuring", rounds);
    for round in 0..rounds {
        for bench in &mut benches {
            let done = bench.round(round >= WARM_UP, args.kernels);
            done.map_err(|error| {
                args.graph
                    .index_error(error, "; give others by --inputs FILE")
            })?;
        }
        phase.more(1);
    }
    drop(phase);
    let threads = args.graph.threads();
    let symbols = &graph.module().dims.ranges;
    let symbols = symbols
        .iter()
        .filter_map(|(sym, ..)| Some((sym.name().to_string(), given.bindings.get(sym)?)));
    let limits = Limits {
        known: description.is_some(),
        machine: Machine {
            bindings: given.bindings.clone(),
            ..at_most(description.as_ref(), threads)
        },
    };
    let report = Report {
        subject: Subject {
            graph: args.graph.path().display().to_string(),
            symbols: symbols.collect(),
            threads,
            machine: description.map(|description| description.cpu),
        },
        runs: benches
            .into_iter()
            .map(|bench| bench.result(&limits))
            .collect(),
    };
    report.print(args.output, &mut std::io::stdout().lock())
}

/// What so many threads of this machine can do at most.
fn at_most(description: Option<&Description>, threads: usize) -> Machine {
    let all = planned_for(description);
    match description {
        None => all,
        Some(description) => Machine {
            bandwidth: description.read_bytes_per_s.of(threads),
            rate: description.f32_flops.of(threads),
            ..all
        },
    }
}

/// The machine that runs are held against.
struct Limits {
    /// Whether it is that of a description, and not a plain one.
    known: bool,
    machine: Machine,
}

impl Limits {
    /// What a function's kernels read, write and compute, and the seconds that this takes at the least.
    fn amounts(&self, plan: &Plan, function: &Function, planned: &FunctionPlan) -> Vec<Amount> {
        let costs = costs(function, &plan.module.dims, &self.machine, &planned.kernels);
        let amount = |cost: &Cost| Amount {
            bytes: cost.bytes,
            flops: cost.flops,
            limit_s: self.known.then_some(cost.memory.max(cost.arithmetic)),
        };
        costs.iter().map(amount).collect()
    }
}

/// A backend that is measured.
struct Bench<'g> {
    backend: Backend,
    fidelity: Fidelity,
    session: Session<'g>,
    /// Seconds of the steps.
    samples: Vec<f64>,
    timer: KernelTimer,
}

impl Bench<'_> {
    /// Runs a step, and perhaps another whose kernels are timed.
    fn round(&mut self, counts: bool, kernels: bool) -> Result<(), Error> {
        self.session.restart()?;
        let start = Instant::now();
        self.session.step()?;
        let seconds = start.elapsed().as_secs_f64();
        if counts {
            self.samples.push(seconds);
        }
        if kernels && self.backend == Backend::Cpu {
            self.session.restart()?;
            let launches = self.session.step_timed()?;
            if counts {
                self.timer.add(&launches);
            }
        }
        Ok(())
    }

    fn result(self, limits: &Limits) -> Run {
        let mut run = Run::new(self.backend.name(), self.fidelity.name(), self.samples);
        let Some(plan) = self.session.plan() else {
            return run;
        };
        let functions = plan.module.functions.iter().zip(&plan.functions);
        let amounts = functions.map(|(function, planned)| limits.amounts(plan, function, planned));
        let amounts: Vec<Vec<Amount>> = amounts.collect();
        let calls = plan.module.step.calls.iter();
        run.amount = Some(Amount::sum(
            calls.flat_map(|call| &amounts[call.function.0]),
        ));
        let times = self.timer.times(plan);
        let functions = plan.module.functions.iter().zip(&plan.functions);
        for (((function, planned), times), amounts) in functions.zip(times).zip(amounts) {
            for ((kernel, time), amount) in planned.kernels.iter().zip(times).zip(amounts) {
                run.kernels.extend(time.map(|time| Kernel {
                    kernel: format!("{}.{}", function.name, kernel.name),
                    time,
                    amount,
                }));
            }
        }
        run
    }
}
