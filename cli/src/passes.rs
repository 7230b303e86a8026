//! The options of the passes, and the passes as every command runs them.

use std::path::PathBuf;
use std::time::Duration;

use ir::Module;
use passes::algebra::{Limits, Report, Stop};
use passes::fusion::{self, Extract, Fused, Machine};
use passes::pipeline::{self, Options, PlanOptions};
use passes::plan::Plan;

use crate::backend::Fidelity;
use crate::error::Error;
use crate::input::{Source, plan_of};
use crate::machine::{MachineArgs, planned_for};
use crate::rules::{RuleArgs, RuleSources, fired, growth};

/// The options of the passes: flatten it into the arguments of a command that plans.
#[derive(clap::Args, Clone, Debug)]
pub struct PassArgs {
    #[command(flatten)]
    options: PassOptions,

    #[command(flatten)]
    machine: MachineArgs,
}

/// The options of the passes without the machine, for a command that has that option from elsewhere.
#[derive(clap::Args, Clone, Debug)]
pub struct PassOptions {
    #[command(flatten)]
    rules: RuleArgs,

    /// How kernels are chosen: search, the cheapest found; greedy, whatever is then computed only once; none, as little fused as can be; worst, the dearest found; random:SEED, by lot [default: search]
    #[arg(long, value_name = "HOW", value_parser = extract)]
    extract: Option<Extract>,

    /// Most rounds of applying every rule to a function [default: 30]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    iterations: Option<u32>,

    /// Most nodes of a function's e-graph [default: 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    nodes: Option<u32>,

    /// Most seconds of applying rules to a function [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    search_time: Option<Duration>,

    /// Most choices of kernels whose cost is found in a function [default: 5000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tries: Option<u32>,

    /// Write to FILE, as JSON, how the e-graph of each function grew by round and rule
    #[arg(long, value_name = "FILE", conflicts_with = "plan")]
    growth: Option<PathBuf>,

    /// Take the kernels of FILE, a plan's text of this same graph, instead of choosing them
    #[arg(long, value_name = "FILE", conflicts_with = "extract")]
    plan: Option<PathBuf>,
}

/// All that decides what the passes do, the files read: two that are equal make the same plan of a module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passes {
    /// Where the rules come from.
    pub rules: RuleSources,
    /// How far a search may go, in each function.
    pub limits: Limits,
    /// How kernels are chosen, and for which machine.
    pub kernels: PlanOptions,
    /// The plan whose kernels are taken.
    pub plan: Option<Source>,
    /// Where the growth of the e-graphs is written.
    pub growth: Option<PathBuf>,
}

/// A module, planned.
pub struct Planned {
    /// How the algebra of each function was found; none where the kernels given are those of the module as it came.
    pub algebra: Vec<Report>,
    /// How the kernels of each function were chosen; none where they were given.
    pub fused: Vec<Fused>,
    /// The kernels.
    pub plan: Plan,
}

impl PassArgs {
    /// The options without the machine.
    pub fn options(&self) -> &PassOptions {
        &self.options
    }

    /// The machine planned for: of `--machine`, of the default file, or a plain one.
    ///
    /// # Errors
    /// A description that cannot be read.
    pub fn machine(&self) -> Result<Machine, Error> {
        Ok(planned_for(self.machine.machine()?.as_ref()))
    }

    /// Reads the files that the options name.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(&self) -> Result<Passes, Error> {
        self.options.read(self.machine()?)
    }

    /// A module after the rules, as [`Passes::algebra`] gives it.
    ///
    /// # Errors
    /// Those of [`PassArgs::read`] and [`Passes::algebra`].
    pub fn algebra(
        &self,
        module: &Module,
        fidelity: Fidelity,
    ) -> Result<(Module, Vec<Report>), Error> {
        self.read()?.algebra(module, fidelity)
    }

    /// A module's plan, as [`Passes::plan`] gives it.
    ///
    /// # Errors
    /// Those of [`PassArgs::read`] and [`Passes::plan`].
    pub fn plan(&self, module: &Module, fidelity: Fidelity) -> Result<Planned, Error> {
        self.read()?.plan(module, fidelity)
    }
}

impl PassOptions {
    /// Reads the files that the options name, for planning for this machine, as [`RuleArgs::read`] does.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(&self, machine: Machine) -> Result<Passes, Error> {
        let default = Limits::default();
        Ok(Passes {
            rules: self.rules.read()?,
            limits: Limits {
                iterations: self.iterations.map_or(default.iterations, |n| n as usize),
                nodes: self.nodes.map_or(default.nodes, |n| n as usize),
                time: self.search_time.unwrap_or(default.time),
            },
            kernels: PlanOptions {
                extract: self.extract.unwrap_or_default(),
                tries: self.tries.map_or(fusion::TRIES, |n| n as usize),
                machine,
            },
            plan: self.plan.as_deref().map(Source::read).transpose()?,
            growth: self.growth.clone(),
        })
    }

    /// Refuses every option, for the interpreter.
    ///
    /// # Errors
    /// An option was given.
    pub fn refuse_for_interp(&self) -> Result<(), Error> {
        self.refuse("the interpreter plans nothing, give --backend cpu")
    }

    /// Refuses every option, for what is not planned; `because` says why it is not.
    ///
    /// # Errors
    /// An option was given.
    pub fn refuse(&self, because: &str) -> Result<(), Error> {
        let search = [
            ("--extract", self.extract.is_some()),
            ("--iterations", self.iterations.is_some()),
            ("--nodes", self.nodes.is_some()),
            ("--search-time", self.search_time.is_some()),
            ("--tries", self.tries.is_some()),
            ("--growth", self.growth.is_some()),
            ("--plan", self.plan.is_some()),
        ];
        let mut given = self.rules.given().into_iter().chain(search);
        match given.find(|(_, given)| *given) {
            None => Ok(()),
            Some((option, _)) => Err(Error::Option(format!("{option}: {because}"))),
        }
    }

    /// Refuses the growth file, for a command that may find what it needs in the cache and then searches nothing.
    ///
    /// # Errors
    /// It was asked for.
    pub fn refuse_growth(&self) -> Result<(), Error> {
        match self.growth {
            None => Ok(()),
            Some(_) => Err(Error::Option(
                "--growth: a program that is found in the cache is not searched for again, give it to compile or opt".into(),
            )),
        }
    }

    /// Refuses a plan, for a command whose graph no other command prints.
    ///
    /// # Errors
    /// One was given.
    pub fn refuse_plan(&self, because: &str) -> Result<(), Error> {
        match self.plan {
            None => Ok(()),
            Some(_) => Err(Error::Option(format!("--plan: {because}"))),
        }
    }
}

impl Passes {
    /// What the algebra of a fidelity is told.
    ///
    /// # Errors
    /// Those of [`RuleSources::of`].
    pub fn options(&self, fidelity: Fidelity) -> Result<Options, Error> {
        Ok(Options {
            limits: self.limits,
            ..Options::new(self.rules.of(fidelity)?)
        })
    }

    /// A module after the rules, and how that was found in each function. Writes the growth file, if one was asked for,
    /// and notes which rules fired, for `lapidary rules list`.
    ///
    /// # Errors
    /// Those of [`RuleSources::of`], and a growth file that cannot be written.
    pub fn algebra(
        &self,
        module: &Module,
        fidelity: Fidelity,
    ) -> Result<(Module, Vec<Report>), Error> {
        let (better, reports) = pipeline::algebra(module, &self.options(fidelity)?);
        if let Some(path) = &self.growth {
            growth::write(path, &reports)?;
        }
        fired::note(&module.name, fidelity, &reports);
        Ok((better, reports))
    }

    /// A module's plan: its algebra, then the kernels chosen, or those of `--plan`.
    ///
    /// # Errors
    /// Those of [`Passes::algebra`]; a plan that is illegal, or of another graph.
    pub fn plan(&self, module: &Module, fidelity: Fidelity) -> Result<Planned, Error> {
        if let Some(source) = &self.plan {
            return self.given(source, module, fidelity);
        }
        let (module, algebra) = self.algebra(module, fidelity)?;
        let (plan, fused) = pipeline::plan(&module, &self.kernels);
        Ok(Planned {
            algebra,
            fused,
            plan,
        })
    }

    /// A plan given as text, which must be one of this module, or of its algebra.
    fn given(
        &self,
        source: &Source,
        module: &Module,
        fidelity: Fidelity,
    ) -> Result<Planned, Error> {
        let plan = plan_of(source)?;
        let given = |algebra, plan| Planned {
            algebra,
            fused: vec![],
            plan,
        };
        if plan.module == *module {
            return Ok(given(vec![], plan));
        }
        let (better, reports) = self.algebra(module, fidelity)?;
        match difference(&plan.module, &better) {
            None => Ok(given(reports, plan)),
            Some(difference) => Err(Error::Option(format!(
                "{}: not a plan of this graph: {difference}; kernels may be edited, values may not",
                source.path.display()
            ))),
        }
    }
}

/// What first differs between a plan's module and the one expected, if anything does.
fn difference(found: &Module, expected: &Module) -> Option<String> {
    if found == expected {
        return None;
    }
    for (f, e) in found.functions.iter().zip(&expected.functions) {
        if f == e {
            continue;
        }
        if f.name != e.name {
            return Some(format!("expected fn {}, found fn {}", e.name, f.name));
        }
        let name = &f.name;
        let pairs = f.values.iter().zip(&e.values);
        let mut differing = pairs.filter(|(f, e)| f != e);
        let values = |n: usize| format!("{n} value{}", if n == 1 { "" } else { "s" });
        return Some(match differing.next() {
            Some((f, e)) if f.name != e.name => {
                format!("fn {name}: expected %{}, found %{}", e.name, f.name)
            }
            Some((f, e)) if f.ty != e.ty => {
                format!("fn {name}, %{}: expected {}, found {}", e.name, e.ty, f.ty)
            }
            Some((_, e)) => format!("fn {name}, %{}: it is computed otherwise", e.name),
            None if f.values.len() != e.values.len() => format!(
                "fn {name}: expected {}, found {}",
                values(e.values.len()),
                values(f.values.len())
            ),
            None => format!("fn {name}: it returns other values"),
        });
    }
    let count = |n: usize| format!("{n} function{}", if n == 1 { "" } else { "s" });
    let (f, e) = (found.functions.len(), expected.functions.len());
    Some(if f != e {
        format!("expected {}, found {}", count(e), count(f))
    } else if found.name != expected.name {
        format!("expected module {}, found {}", expected.name, found.name)
    } else if found.dims != expected.dims {
        "the symbols differ".into()
    } else if found.weights != expected.weights {
        "the weights differ".into()
    } else if found.states != expected.states {
        "the states differ".into()
    } else {
        "the calls of prepare or of the step differ".into()
    })
}

/// The way of choosing kernels of that name.
fn extract(text: &str) -> Result<Extract, String> {
    Ok(match text {
        "search" => Extract::Search,
        "greedy" => Extract::Greedy,
        "none" => Extract::None,
        "worst" => Extract::Worst,
        _ => {
            let seed = text.strip_prefix("random:").and_then(|n| n.parse().ok());
            let expected = "expected search, greedy, none, worst or random:SEED, SEED a number";
            Extract::Random(seed.ok_or(expected)?)
        }
    })
}

/// A number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number of seconds above 0".to_string();
    let seconds: f64 = text.parse().map_err(|_| expected())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(expected()),
    }
}

/// Says on standard error which functions a limit cut off, and the rule that grew most.
pub fn say_cut_off(reports: &[Report]) {
    for report in reports.iter().filter(|r| r.stop != Stop::Saturated) {
        eprintln!("{report}");
    }
}
