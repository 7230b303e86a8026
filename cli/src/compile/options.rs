//! What is compiled, for which CPUs, and how.

use ir::DType;
use models::{Checkpoint, StepShape};
use runtime::Level;

use crate::backend::Fidelity;
use crate::error::Error;
use crate::passes::Passes;

/// Rows of a step, at most, that a model is compiled for.
const ROWS: usize = 512;

/// The options of compiling that every command that compiles takes.
#[derive(clap::Args, Clone, Debug)]
pub struct CompileOptions {
    /// CPUs to make code for: auto, every level in one file (a run: this machine's best); native, this machine's best level, tuned for its CPU; or one level [default: auto]
    #[arg(long, value_enum)]
    cpu: Option<Cpu>,

    /// Where the weights go: into the file, or into FILE.weights beside it [default: embed; a run: sidecar, in the cache]
    #[arg(long, value_enum)]
    weights: Option<Placement>,

    /// What weights are stored as [default: as in the checkpoint]
    #[arg(long, value_enum, value_name = "FORMAT")]
    weight_format: Option<Format>,

    /// What keys and values are stored as [default: f32 in exact, bf16 in fast]
    #[arg(long, value_enum, value_name = "FORMAT")]
    kv_format: Option<Format>,
}

/// CPUs to make code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Cpu {
    Auto,
    Native,
    #[value(name = "x86-64-v3")]
    V3,
    #[value(name = "x86-64-v4")]
    V4,
}

/// Where the weights go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Placement {
    /// Into the compiled file
    Embed,
    /// Into a file beside it
    Sidecar,
}

/// What numbers are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// IEEE binary32
    F32,
    /// The upper half of a binary32
    Bf16,
}

impl Format {
    fn dtype(self) -> DType {
        match self {
            Format::F32 => DType::F32,
            Format::Bf16 => DType::BF16,
        }
    }
}

/// Where the code is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Wherever there is a CPU for it.
    Anywhere,
    /// On this machine alone.
    Here,
}

/// All that decides what code is made of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Build {
    /// The CPUs it is for.
    pub levels: Vec<Level>,
    /// Whether it is tuned for this machine's CPU.
    pub tune_for_host: bool,
    /// How faithful it is.
    pub fidelity: Fidelity,
    /// What weights are stored as, if not as in the checkpoint.
    pub weight_format: Option<DType>,
    /// What keys and values are stored as.
    pub kv_format: DType,
    /// Positions that a sequence may have.
    pub context: usize,
    /// Most rows in a step.
    pub rows: usize,
    /// Whether the residual stream is given out.
    pub hidden: bool,
    /// What the passes do.
    pub passes: Passes,
}

impl CompileOptions {
    /// Refuses every option of compiling, for the interpreter.
    ///
    /// # Errors
    /// An option was given.
    pub fn refuse_for_interp(&self) -> Result<(), Error> {
        let given = [
            ("--cpu", self.cpu.is_some()),
            ("--weights", self.weights.is_some()),
            ("--weight-format", self.weight_format.is_some()),
            ("--kv-format", self.kv_format.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((option, _)) => Err(Error::Option(format!(
                "{option}: the interpreter compiles nothing, give --backend cpu"
            ))),
        }
    }

    /// Where the weights go, if that was said.
    pub fn placement(&self) -> Option<Placement> {
        self.weights
    }

    /// What to build for these positions, by these passes.
    ///
    /// # Errors
    /// A CPU that this machine does not have, where it must.
    pub fn build(
        &self,
        fidelity: Fidelity,
        context: usize,
        scope: Scope,
        passes: Passes,
    ) -> Result<Build, Error> {
        let cpu = self.cpu.unwrap_or(Cpu::Auto);
        let levels = match (cpu, scope) {
            (Cpu::Auto, Scope::Anywhere) => Level::ALL.to_vec(),
            (Cpu::Auto, Scope::Here) => vec![best_here("--cpu auto")?],
            (Cpu::Native, _) => vec![best_here("--cpu native")?],
            (Cpu::V3, _) => vec![Level::V3],
            (Cpu::V4, _) => vec![Level::V4],
        };
        let missing = levels
            .iter()
            .find_map(|level| Some((level, level.lacks()?)));
        if let (Scope::Here, Some((level, feature))) = (scope, missing) {
            let message = format!("--cpu {level}: this CPU lacks {feature}");
            return Err(Error::Option(message));
        }
        let kv_format = self.kv_format.map(Format::dtype);
        Ok(Build {
            levels,
            tune_for_host: cpu == Cpu::Native,
            fidelity,
            weight_format: self.weight_format.map(Format::dtype),
            kv_format: kv_format.unwrap_or(fidelity.kv_format()),
            context,
            rows: ROWS.min(context),
            hidden: false,
            passes,
        })
    }
}

/// The best level that this machine has.
///
/// # Errors
/// It has none; `option` asks for it.
pub fn best_here(option: &str) -> Result<Level, Error> {
    let levels = Level::ALL.into_iter();
    let able = levels.filter(|level| level.lacks().is_none());
    able.max().ok_or_else(|| {
        let [lowest, ..] = Level::ALL;
        let feature = lowest.lacks().unwrap_or("it");
        Error::Option(format!("{option}: this CPU lacks {feature} of {lowest}"))
    })
}

impl Build {
    /// The shape of the steps that code is made for. Rows are never fixed: a program binds their number.
    pub fn shape(&self) -> StepShape {
        StepShape {
            rows: (1, self.rows.max(2)),
            slots: 1,
            context: self.context,
            kv_format: self.kv_format,
            hidden: self.hidden,
        }
    }

    /// What a checkpoint's weight is stored as.
    pub fn dtype_of(&self, checkpoint: &Checkpoint, name: &str) -> DType {
        let stored = || checkpoint.tensor(name).map_or(DType::F32, |w| w.dtype);
        self.weight_format.unwrap_or_else(stored)
    }

    /// What the weights are stored as, for people to read: `bf16`, or `f32, bf16` where both occur.
    pub fn weight_formats(&self, checkpoint: &Checkpoint) -> String {
        let occurs = |dtype: &DType| match self.weight_format {
            Some(format) => format == *dtype,
            None => checkpoint.tensors().any(|(_, w)| w.dtype == *dtype),
        };
        let names = DType::all().filter(occurs).map(DType::name);
        names.collect::<Vec<_>>().join(", ")
    }

    /// Bytes of the weights as they will be stored.
    pub fn weight_bytes(&self, checkpoint: &Checkpoint) -> u64 {
        let bytes = |(name, shape): &(String, Vec<usize>)| {
            let bytes = self.dtype_of(checkpoint, name).bytes(shape);
            bytes.expect("a checked configuration's sizes do not overflow") as u64
        };
        checkpoint.config().tensors().iter().map(bytes).sum()
    }
}
