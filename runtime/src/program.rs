//! What compiled code is run with: the ABI between generated kernels and this crate.
//!
//! A [`Program`] says which kernel runs when, over which memory; an [`Image`] holds the kernels' machine code
//! for one level of CPU. Both are data: a compiler makes them, a [`Machine`](crate::Machine) runs them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a kernel's entry point is. It does its worker's share of the kernel's work and returns how many of
/// the indices that it read from memory lay outside the axes they index (those were clamped).
///
/// - `args`: where each of the launch's [`Launch::args`] lies; each is aligned to 64 bytes, weights to their
///   dtype's size and to 64 bytes at their first element.
/// - `symbols`: the values of [`Program::symbols`], in order.
/// - `scratch`: [`Program::scratch`] bytes of the worker's own, aligned to 64 bytes, contents undefined.
/// - `worker`, `workers`: which worker this is, from 0, and how many there are, at least 1.
pub type Kernel = unsafe extern "C" fn(
    args: *const *mut u8,
    symbols: *const i64,
    scratch: *mut u8,
    worker: i64,
    workers: i64,
) -> i64;

/// A program: what to launch in a step, and the memory it needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Numbers that a step binds, such as its rows.
    pub symbols: Vec<Symbol>,
    /// What a step is given, each at the symbols' upper bounds.
    pub inputs: Vec<Buffer>,
    /// What a step gives back, each at the symbols' upper bounds.
    pub outputs: Vec<Buffer>,
    /// What is kept from step to step, zero at first.
    pub states: Vec<Buffer>,
    /// Where each weight lies in the weight file's data.
    pub weights: Vec<Weight>,
    /// Bytes of the memory that kernels of a step hand to one another.
    pub arena: u64,
    /// Bytes of each worker's own memory.
    pub scratch: u64,
    /// Names of the kernels, in the order of [`Image::entries`].
    pub kernels: Vec<String>,
    /// The kernels of a step, in order; each begins when the one before has ended on every worker.
    pub launches: Vec<Launch>,
}

/// A number that a step binds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// The lowest value it may have.
    pub low: i64,
    /// The highest value it may have.
    pub high: i64,
}

/// Memory by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// A weight's place in the weight file's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// Its name.
    pub name: String,
    /// Where it begins, a multiple of 64.
    pub offset: u64,
    /// Its size.
    pub bytes: u64,
}

/// One run of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Which of [`Program::kernels`].
    pub kernel: usize,
    /// The memory it reads and writes.
    pub args: Vec<Address>,
}

/// Where an argument of a kernel lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Address {
    /// In a weight.
    Weight(usize),
    /// In a state.
    State(usize),
    /// In an input of the step.
    Input(usize),
    /// In an output of the step.
    Output(usize),
    /// At this offset of the arena, a multiple of 64.
    Arena(u64),
}

/// Machine code for one level of CPU.
///
/// The code is independent of its position and touches no memory but its own constants and what a kernel is
/// given, so it can be mapped from a file, read-only and executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The CPUs that can run it.
    pub level: Level,
    /// Code and constants, to be placed at a multiple of 4096.
    pub code: Vec<u8>,
    /// Where each kernel of the program begins in the code.
    pub entries: Vec<u64>,
}

/// What a CPU can do, each level all that the one before can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// `x86-64-v3`: AVX2, FMA, F16C and BMI.
    V3,
    /// `x86-64-v4` with AVX512-BF16 and AVX512-VNNI.
    V4,
}

impl Level {
    /// Every level, the lowest first.
    pub const ALL: [Level; 2] = [Level::V3, Level::V4];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Level::V3 => "x86-64-v3",
            Level::V4 => "x86-64-v4",
        }
    }

    /// The first feature of the level that this machine lacks; none if it has all of them.
    pub fn lacks(self) -> Option<&'static str> {
        macro_rules! first_missing {
            ($($feature:tt),*) => {
                [$(($feature, std::arch::is_x86_feature_detected!($feature))),*]
                    .into_iter()
                    .find_map(|(name, found)| (!found).then_some(name))
            };
        }
        match self {
            Level::V3 => first_missing!(
                "avx", "avx2", "fma", "f16c", "bmi1", "bmi2", "lzcnt", "movbe"
            ),
            Level::V4 => Level::V3.lacks().or_else(|| {
                first_missing!(
                    "avx512f",
                    "avx512bw",
                    "avx512cd",
                    "avx512dq",
                    "avx512vl",
                    "avx512bf16",
                    "avx512vnni"
                )
            }),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Level, String> {
        let found = Level::ALL.into_iter().find(|level| level.name() == text);
        found.ok_or_else(|| format!("'{text}' is no CPU level: expected x86-64-v3 or x86-64-v4"))
    }
}
