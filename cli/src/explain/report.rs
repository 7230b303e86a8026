//! What `explain` says, as data: its JSON form is these structs, field by field.

use passes::fusion::Cost;
use serde::Serialize;

/// A planned graph, explained.
#[derive(Serialize)]
pub struct Report {
    /// The module's name.
    pub module: String,
    /// `exact` or `fast`: which rules were used.
    pub fidelity: &'static str,
    /// The machine planned for.
    pub machine: Machine,
    /// The symbols, and the values that the figures are for. The plan itself was made at the upper ends of their ranges.
    pub symbols: Vec<Symbol>,
    /// A step: its calls together.
    pub step: Figures,
    /// The source graph's functions, before any rule.
    pub source: Vec<Source>,
    /// The functions as planned, in the same order.
    pub functions: Vec<Function>,
}

/// A machine of the cost model.
#[derive(Serialize)]
pub struct Machine {
    /// Bytes a second, all workers together.
    pub bytes_per_s: f64,
    /// Floating-point operations a second, all workers together.
    pub flops_per_s: f64,
    /// Seconds from kernel to kernel.
    pub launch_s: f64,
    /// Workers.
    pub workers: f64,
}

/// A symbol.
#[derive(Serialize)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Its value in the figures.
    pub value: i64,
    /// The lowest that it can have.
    pub low: i64,
    /// The highest, at which the plan was made.
    pub high: i64,
}

/// What kernels take together.
#[derive(Clone, Copy, Default, Serialize)]
pub struct Figures {
    /// Times that a kernel is started.
    pub launches: usize,
    /// Bytes read and written.
    pub bytes: f64,
    /// Floating-point operations, each as often as it is done.
    pub flops: f64,
    /// Seconds, as the cost model has it.
    pub predicted_s: f64,
    /// Seconds, measured; null unless it was asked for.
    pub measured_s: Option<f64>,
    /// Measured over predicted.
    pub ratio: Option<f64>,
}

impl Figures {
    /// One run of a kernel of this cost.
    pub fn predicted(cost: &Cost) -> Figures {
        Figures {
            launches: 1,
            bytes: cost.bytes,
            flops: cost.flops,
            predicted_s: cost.seconds(),
            ..Figures::default()
        }
    }

    /// Notes the seconds that were measured.
    pub fn measured(&mut self, seconds: f64) {
        self.measured_s = Some(seconds);
        self.ratio = Some(seconds / self.predicted_s);
    }

    /// One run of a kernel.
    pub fn of(kernel: &Kernel) -> Figures {
        Figures {
            launches: 1,
            bytes: kernel.bytes,
            flops: kernel.flops,
            predicted_s: kernel.predicted_s,
            measured_s: kernel.measured_s,
            ratio: kernel.ratio,
        }
    }

    /// Adds what was done so many times; measured seconds stay known only where all are.
    pub fn add(&mut self, other: &Figures, times: usize) {
        let n = times as f64;
        let first = self.launches == 0;
        if other.launches == 0 || times == 0 {
            return;
        }
        let measured = |mine: Option<f64>| match (first, mine, other.measured_s) {
            (true, _, Some(s)) => Some(s * n),
            (false, Some(mine), Some(s)) => Some(mine + s * n),
            _ => None,
        };
        self.launches += other.launches * times;
        self.bytes += other.bytes * n;
        self.flops += other.flops * n;
        self.predicted_s += other.predicted_s * n;
        self.measured_s = measured(self.measured_s);
        self.ratio = self.measured_s.map(|s| s / self.predicted_s);
    }
}

/// A function of the source graph.
#[derive(Serialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Parameters, then what ops make.
    pub values: Vec<Value>,
    /// The values that it returns, by name.
    pub results: Vec<String>,
}

/// A value.
#[derive(Serialize)]
pub struct Value {
    /// Its name, without `%`.
    pub name: String,
    /// Its type: `f32[R, 96]`.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its size under the symbols' values.
    pub bytes: i64,
    /// Its op; null for a parameter.
    pub op: Option<&'static str>,
    /// Its operands, by name.
    pub operands: Vec<String>,
    /// Op, operands and attributes as in the text form; empty for a parameter.
    pub text: String,
    /// Where it comes from; null in the source graph itself.
    pub origin: Option<Origin>,
}

/// Where a value of a planned function comes from. In texts `%NAME` is what the function's value of that name was at
/// first, and `%source.NAME` a value of the source that none of the function's is equal to.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Origin {
    /// It is a parameter.
    Parameter,
    /// The source has it as it stands.
    Source {
        /// Its name there.
        value: String,
    },
    /// Rules made it.
    Rules {
        /// What it was at first.
        first: First,
        /// That, written out.
        text: String,
        /// The rules, in order; none where the value is what it was at first.
        steps: Vec<Step>,
        /// Why the chain does not replay, which is a bug; null where it does.
        error: Option<String>,
    },
    /// The rules do not lead to it within the search's limits.
    Unknown,
}

/// What a value was at first.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum First {
    /// A value of the source.
    Source {
        /// Its name there.
        value: String,
    },
    /// What a rule made as a part of another value; it is equal to no value of the source.
    Part {
        /// The value of this function in whose chain it appeared.
        of: String,
        /// The rule.
        rule: String,
    },
}

/// A rule applied.
#[derive(Serialize)]
pub struct Step {
    /// The rule.
    pub rule: String,
    /// `exact`, `reassoc` or `rounds`.
    pub class: &'static str,
    /// Whether its left side was replaced by its right side; otherwise the other way.
    pub forward: bool,
    /// Where in the whole: operand after operand from the root on.
    pub position: Vec<usize>,
    /// What stood there.
    pub before: String,
    /// What took its place.
    pub after: String,
    /// The whole after the step.
    pub whole: String,
}

/// A function as planned.
#[derive(Serialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Times that a step calls it.
    pub calls: usize,
    /// Times that `prepare` calls it, once in a program's life.
    pub prepare_calls: usize,
    /// One call.
    pub call: Figures,
    /// All of a step's calls.
    pub step: Figures,
    /// Parameters, then what ops make.
    pub values: Vec<Value>,
    /// The values that it returns, by name.
    pub results: Vec<String>,
    /// Its kernels, in the order in which they run.
    pub kernels: Vec<Kernel>,
}

/// A kernel.
#[derive(Serialize)]
pub struct Kernel {
    /// Its name, its own within the function.
    pub name: String,
    /// `dot`, `attention` or null: the schedule that its loops follow.
    pub template: Option<&'static str>,
    /// The lengths of its iteration space.
    pub space: Vec<String>,
    /// Its ops and how many of each, the weightiest first.
    pub ops: Vec<OpCount>,
    /// What it computes, by name; a value may be computed in several kernels.
    pub values: Vec<String>,
    /// What it reads from memory.
    pub reads: Vec<Operand>,
    /// What it writes, the last being its root.
    pub writes: Vec<Operand>,
    /// Its operands for which there was a choice.
    pub uses: Vec<Use>,
    /// Bytes read and written in a run; of what is gathered from, those that are gathered.
    pub bytes: f64,
    /// Floating-point operations in a run.
    pub flops: f64,
    /// Seconds that its bytes take.
    pub memory_s: f64,
    /// Seconds that its arithmetic takes.
    pub arithmetic_s: f64,
    /// Seconds from the kernel before it to this one.
    pub launch_s: f64,
    /// The greater of memory and arithmetic, and the launch.
    pub predicted_s: f64,
    /// `memory`, `arithmetic` or `launch`: what the greatest share of the time goes to.
    pub bound: &'static str,
    /// Median seconds of a run; null unless it was measured.
    pub measured_s: Option<f64>,
    /// Half the distance between the quartiles of the measured seconds.
    pub spread_s: Option<f64>,
    /// Measured over predicted.
    pub ratio: Option<f64>,
}

/// An op of a kernel.
#[derive(Serialize)]
pub struct OpCount {
    /// Its name.
    pub op: &'static str,
    /// How many values it makes.
    pub count: usize,
}

/// What a kernel reads or writes.
#[derive(Serialize)]
pub struct Operand {
    /// The value's name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its size under the symbols' values.
    pub bytes: i64,
    /// The kernel that writes it; null for a parameter.
    pub kernel: Option<String>,
}

/// An operand that is read (`mat`) or computed in place (`inl`), where both were possible.
#[derive(Serialize)]
pub struct Use {
    /// The value computed.
    pub consumer: String,
    /// The operand's place in it.
    pub operand: usize,
    /// The value used.
    pub value: String,
    /// `mat` or `inl`.
    pub choice: &'static str,
    /// What a call of the function takes, at the sizes that the plan was made for.
    pub planned: Choice,
    /// The same, at the values of the symbols that the figures are for.
    pub here: Choice,
}

/// The cost of a choice, and of the other one.
#[derive(Clone, Copy, Serialize)]
pub struct Choice {
    /// Seconds of a call with the choice as it is.
    pub chosen_s: f64,
    /// Seconds with this one use the other way; null where that changes nothing or is not legal.
    pub other_s: Option<f64>,
}
