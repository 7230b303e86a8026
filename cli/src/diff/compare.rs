//! Two plans side by side. Values are the same where the same ops make them of parameters of the same names and types,
//! whatever their own names; and where the same op makes them and the same is made of them, though of something else.
//! A kernel is the same by its root, or else by what it computes.

use std::collections::{BTreeSet, HashMap};

use ir::{Attr, Def, Function, Op, Type, ValueId, text};
use passes::fusion::{self, Machine};
use passes::plan::{Kernel, Plan};
use serde::Serialize;

use crate::explain::{Figures, launch, times};
use crate::measure::Times;

/// What changed from plan A to plan B.
#[derive(Serialize)]
pub struct Diff {
    /// A step of each.
    pub step: Both,
    /// The functions of both, those of A first.
    pub functions: Vec<FunctionDiff>,
}

/// The figures of A and of B; null where one has nothing like it.
#[derive(Clone, Copy, Default, Serialize)]
pub struct Both {
    /// Those of A.
    pub a: Option<Figures>,
    /// Those of B.
    pub b: Option<Figures>,
}

/// What changed in a function.
#[derive(Serialize)]
pub struct FunctionDiff {
    /// Its name.
    pub name: String,
    /// One call.
    pub call: Both,
    /// All of a step's calls.
    pub step: Both,
    /// Values that A alone has, as A writes them.
    pub values_removed: Vec<String>,
    /// Values that B alone has, as B writes them.
    pub values_added: Vec<String>,
    /// Values of both that are computed in other kernels.
    pub moved: Vec<Moved>,
    /// The kernels of both, those of A first.
    pub kernels: Vec<KernelDiff>,
}

/// A value that is computed in other kernels.
#[derive(Serialize)]
pub struct Moved {
    /// Its name in B.
    pub value: String,
    /// The kernels of A that compute it.
    pub from: Vec<String>,
    /// The kernels of B that compute it.
    pub to: Vec<String>,
}

/// What became of a kernel.
#[derive(Serialize)]
pub struct KernelDiff {
    /// Its name in A.
    pub a: Option<String>,
    /// Its name in B.
    pub b: Option<String>,
    /// What became of it.
    pub change: Change,
    /// A run of it.
    pub run: Both,
}

/// What became of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It computes, reads and writes the same.
    Same,
    /// It computes, reads or writes something else.
    Changed,
    /// B alone has one like it.
    Added,
    /// A alone has one like it.
    Removed,
}

impl FunctionDiff {
    /// Whether nothing changed.
    pub fn same(&self) -> bool {
        let kernels = self.kernels.iter().all(|k| k.change == Change::Same);
        let values = self.values_removed.is_empty() && self.values_added.is_empty();
        kernels && values && self.step.a.is_some() && self.step.b.is_some()
    }
}

/// Compares two plans.
pub fn plans(a: &Side, b: &Side) -> Diff {
    let names = |side: &Side| -> Vec<String> {
        let functions = side.plan.module.functions.iter();
        functions.map(|f| f.name.clone()).collect()
    };
    let mut all = names(a);
    all.extend(names(b).into_iter().filter(|n| a.at(n).is_none()));
    let functions: Vec<FunctionDiff> = all.iter().map(|name| function(a, b, name)).collect();
    let mut step = Both {
        a: Some(Figures::default()),
        b: Some(Figures::default()),
    };
    for function in &functions {
        let pairs = [
            (&mut step.a, function.step.a),
            (&mut step.b, function.step.b),
        ];
        for (sum, more) in pairs {
            if let (Some(sum), Some(more)) = (sum, more) {
                sum.add(&more, 1);
            }
        }
    }
    for (figures, side) in [(&mut step.a, a), (&mut step.b, b)] {
        if let (Some(figures), Some(times)) = (figures, &side.times) {
            figures.measured(times.step.median);
        }
    }
    Diff { step, functions }
}

/// One of the two plans.
pub struct Side {
    /// The plan.
    pub plan: Plan,
    /// The machine, with the values of the plan's symbols.
    pub machine: Machine,
    /// What was measured, if it was asked for.
    pub times: Option<Times>,
}

/// A function of one of the two plans.
struct Half<'a> {
    function: &'a Function,
    kernels: &'a [Kernel],
    /// A run of each kernel.
    runs: Vec<Figures>,
    /// Times that a step calls it.
    calls: usize,
}

impl Side {
    /// The function of that name, if the plan has it.
    fn at(&self, name: &str) -> Option<Half<'_>> {
        let module = &self.plan.module;
        let id = module.function(name)?;
        let (function, kernels) = (&module.functions[id.0], &self.plan.functions[id.0].kernels);
        let costs = fusion::costs(function, &module.dims, &self.machine, kernels);
        let runs = costs.iter().enumerate().map(|(i, cost)| {
            let mut run = Figures::predicted(cost);
            if let Some(measured) = launch(self.times.as_ref(), id, i) {
                run.measured(measured.median);
            }
            run
        });
        Some(Half {
            function,
            kernels,
            runs: runs.collect(),
            calls: times(&module.step.calls, id),
        })
    }
}

impl Half<'_> {
    fn call(&self) -> Figures {
        let mut call = Figures::default();
        for run in &self.runs {
            call.add(run, 1);
        }
        call
    }

    fn step(&self) -> Figures {
        let mut step = Figures::default();
        step.add(&self.call(), self.calls);
        step
    }

    /// The values that only this half has, as its text writes them.
    fn alone(&self, own: &[usize], others: &[usize]) -> Vec<String> {
        let others: BTreeSet<usize> = others.iter().copied().collect();
        let values = self.function.values.iter().enumerate();
        let alone = values.filter(|(i, _)| !others.contains(&own[*i]));
        let line = alone.map(|(i, value)| {
            let made = text::definition(self.function, ValueId(i));
            let made = made.map(|m| format!(" = {m}")).unwrap_or_default();
            format!("%{}: {}{made}", value.name, value.ty)
        });
        line.collect()
    }

    /// The places of the kernels that compute each value, by its key.
    fn computing(&self, keys: &[usize]) -> HashMap<usize, Vec<usize>> {
        let mut computing: HashMap<usize, Vec<usize>> = HashMap::new();
        for (i, kernel) in self.kernels.iter().enumerate() {
            for value in &kernel.values {
                computing.entry(keys[value.0]).or_default().push(i);
            }
        }
        computing
    }

    /// The names of the kernels at these places.
    fn named(&self, kernels: &[usize]) -> Vec<String> {
        let names = kernels.iter().map(|i| self.kernels[*i].name.clone());
        names.collect()
    }
}

/// The keys of values.
fn set(keys: &[usize], values: &[ValueId]) -> BTreeSet<usize> {
    values.iter().map(|v| keys[v.0]).collect()
}

/// For each kernel of A that of B which it became, if any: the one with the same root; else, of those left, the one that
/// shares most values with it, if these are at least half of both.
fn became(a: &Half, b: &Half, [in_a, in_b]: &[Vec<usize>; 2]) -> Vec<Option<usize>> {
    let root = |kernel: &Kernel, keys: &[usize]| kernel.outputs.last().map(|v| keys[v.0]);
    let same_root = |x: &Kernel| {
        let mut kernels = b.kernels.iter();
        kernels.position(|y| root(x, in_a) == root(y, in_b))
    };
    let mut became: Vec<Option<usize>> = a.kernels.iter().map(same_root).collect();
    for (i, x) in a.kernels.iter().enumerate() {
        if became[i].is_some() {
            continue;
        }
        let own = set(in_a, &x.values);
        let left = b.kernels.iter().enumerate();
        let left = left.filter(|(j, _)| !became.contains(&Some(*j)));
        let alike = left.filter_map(|(j, y)| {
            let other = set(in_b, &y.values);
            let shared = own.intersection(&other).count();
            (2 * shared >= own.len().max(other.len())).then_some((shared, j))
        });
        became[i] = alike.max_by_key(|(shared, _)| *shared).map(|(_, j)| j);
    }
    became
}

/// What a value is: a parameter by its name, or an op over values by their keys; and its type.
#[derive(PartialEq, Eq, Hash)]
enum What<'f> {
    Param(&'f str, &'f Type),
    Op(Op, &'f [Attr], Vec<usize>, &'f Type),
}

/// A number for each value of two functions; it is the same where the value is.
fn keys(a: &Half, b: &Half) -> [Vec<usize>; 2] {
    let mut known: HashMap<What, usize> = HashMap::new();
    let mut keys = [a, b].map(|half| {
        let mut keys: Vec<usize> = Vec::new();
        for value in &half.function.values {
            let what = match &value.def {
                Def::Param => What::Param(&value.name, &value.ty),
                Def::Op {
                    op,
                    attrs,
                    operands,
                } => {
                    let below = operands.iter().map(|o| keys[o.0]).collect();
                    What::Op(*op, attrs, below, &value.ty)
                }
            };
            let next = known.len();
            keys.push(*known.entry(what).or_insert(next));
        }
        keys
    });
    align(a, b, &mut keys);
    keys
}

/// Gives the keys of A's values to B's that the same op makes of something else: from the results backwards.
fn align(a: &Half, b: &Half, [in_a, in_b]: &mut [Vec<usize>; 2]) {
    let mut shared: BTreeSet<usize> = {
        let all: BTreeSet<usize> = in_a.iter().copied().collect();
        in_b.iter()
            .copied()
            .filter(|key| all.contains(key))
            .collect()
    };
    let results = a.function.results.iter().zip(&b.function.results);
    let mut open: Vec<(ValueId, ValueId)> = results.map(|(a, b)| (*a, *b)).collect();
    while let Some((x, y)) = open.pop() {
        if shared.contains(&in_a[x.0]) || shared.contains(&in_b[y.0]) {
            continue;
        }
        let (of_a, of_b) = (&a.function.values[x.0], &b.function.values[y.0]);
        let (
            Def::Op {
                op,
                attrs,
                operands,
            },
            Def::Op {
                op: other,
                attrs: others,
                operands: below,
            },
        ) = (&of_a.def, &of_b.def)
        else {
            continue;
        };
        if op == other && attrs == others && of_a.ty == of_b.ty && operands.len() == below.len() {
            in_b[y.0] = in_a[x.0];
            shared.insert(in_a[x.0]);
            open.extend(operands.iter().copied().zip(below.iter().copied()));
        }
    }
}

fn function(a: &Side, b: &Side, name: &str) -> FunctionDiff {
    let halves = [a.at(name), b.at(name)];
    let both = |of: &dyn Fn(&Half) -> Figures| {
        let [a, b] = [0, 1].map(|i| halves[i].as_ref().map(of));
        Both { a, b }
    };
    let mut diff = FunctionDiff {
        name: name.to_string(),
        call: both(&|half| half.call()),
        step: both(&|half| half.step()),
        values_removed: vec![],
        values_added: vec![],
        moved: vec![],
        kernels: vec![],
    };
    match &halves {
        [Some(a), Some(b)] => {
            let keys = keys(a, b);
            diff.values_removed = a.alone(&keys[0], &keys[1]);
            diff.values_added = b.alone(&keys[1], &keys[0]);
            let became = became(a, b, &keys);
            diff.moved = moved(a, b, &keys, &became);
            diff.kernels = kernels(a, b, &keys, &became);
        }
        [Some(a), None] => {
            let all = 0..a.kernels.len();
            diff.kernels = all
                .map(|i| kernel(Some((a, i)), None, Change::Removed))
                .collect();
        }
        [None, Some(b)] => {
            let all = 0..b.kernels.len();
            diff.kernels = all
                .map(|i| kernel(None, Some((b, i)), Change::Added))
                .collect();
        }
        [None, None] => {}
    }
    diff
}

/// A kernel, by the halves and places that have it.
fn kernel(a: Option<(&Half, usize)>, b: Option<(&Half, usize)>, change: Change) -> KernelDiff {
    let name = |at: Option<(&Half, usize)>| at.map(|(half, i)| half.kernels[i].name.clone());
    let run = |at: Option<(&Half, usize)>| at.map(|(half, i)| half.runs[i]);
    KernelDiff {
        a: name(a),
        b: name(b),
        change,
        run: Both {
            a: run(a),
            b: run(b),
        },
    }
}

/// The kernels of both, those of A first.
fn kernels(
    a: &Half,
    b: &Half,
    keys: &[Vec<usize>; 2],
    became: &[Option<usize>],
) -> Vec<KernelDiff> {
    let mut all = Vec::new();
    for (i, place) in became.iter().enumerate() {
        let change = match place {
            None => Change::Removed,
            Some(j) if same(&a.kernels[i], &b.kernels[*j], keys) => Change::Same,
            Some(_) => Change::Changed,
        };
        all.push(kernel(Some((a, i)), place.map(|j| (b, j)), change));
    }
    let new = (0..b.kernels.len()).filter(|j| !became.contains(&Some(*j)));
    all.extend(new.map(|j| kernel(None, Some((b, j)), Change::Added)));
    all
}

/// Whether two kernels compute, read and write the same, by the same schedule.
fn same(x: &Kernel, y: &Kernel, [in_a, in_b]: &[Vec<usize>; 2]) -> bool {
    let lists = [
        (&x.values, &y.values),
        (&x.reads, &y.reads),
        (&x.outputs, &y.outputs),
    ];
    let mut lists = lists.into_iter();
    x.template == y.template && lists.all(|(x, y)| set(in_a, x) == set(in_b, y))
}

/// The values of both that are computed in other kernels than those that A's became.
fn moved(
    a: &Half,
    b: &Half,
    [in_a, in_b]: &[Vec<usize>; 2],
    became: &[Option<usize>],
) -> Vec<Moved> {
    let (from, to) = (a.computing(in_a), b.computing(in_b));
    let mut seen = BTreeSet::new();
    let values = b.function.values.iter().zip(in_b);
    let moved = values.filter_map(|(value, key)| {
        let (from, to) = (from.get(key)?, to.get(key)?);
        let expected: BTreeSet<Option<usize>> = from.iter().map(|i| became[*i]).collect();
        let found: BTreeSet<Option<usize>> = to.iter().map(|j| Some(*j)).collect();
        (expected != found && seen.insert(key)).then(|| Moved {
            value: value.name.clone(),
            from: a.named(from),
            to: b.named(to),
        })
    });
    moved.collect()
}
