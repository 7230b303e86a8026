//! From choices to kernels: the regions connected by operands computed in place.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use ir::{Bindings, Def, Dim, Dims, Function, Op, Site, ValueId};

use super::cost::Machine;
use super::template::follows;
use super::uses::Edge;
use crate::plan::{Kernel, Template, space};

/// A set of a function's values, one bit for each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Set(Box<[u64]>);

impl Set {
    /// These of so many values.
    fn of(count: usize, values: impl IntoIterator<Item = usize>) -> Set {
        let mut set = Set(vec![0; count.div_ceil(64)].into());
        for value in values {
            set.0[value / 64] |= 1 << (value % 64);
        }
        set
    }

    /// Whether a value is in it.
    pub fn contains(&self, value: usize) -> bool {
        self.0[value / 64] >> (value % 64) & 1 == 1
    }

    /// The last of its values.
    pub fn last(&self) -> Option<usize> {
        let (i, word) = self.0.iter().enumerate().rfind(|(_, word)| **word != 0)?;
        Some(i * 64 + 63 - word.leading_zeros() as usize)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn is_within(&self, other: &Set) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    /// Each word made of those of this set and another.
    fn with(mut self, other: &Set, each: impl Fn(u64, u64) -> u64) -> Set {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word = each(*word, *other);
        }
        self
    }

    fn or(self, other: &Set) -> Set {
        self.with(other, |a, b| a | b)
    }

    fn and(self, other: &Set) -> Set {
        self.with(other, |a, b| a & b)
    }

    fn without(self, other: &Set) -> Set {
        self.with(other, |a, b| a & !b)
    }

    /// Its values, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let bits = |(i, word): (usize, &u64)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                let some = left != 0;
                left &= left.wrapping_sub(1);
                some.then_some(i * 64 + bit)
            })
        };
        self.0.iter().enumerate().flat_map(bits)
    }
}

/// What is known of a value.
pub struct Info {
    /// Its op; none for a parameter.
    pub op: Option<Op>,
    /// Its operands.
    pub operands: Vec<usize>,
    /// Its operands, as a set.
    used: Set,
    /// The iteration space of a kernel with this root: equal numbers for equal spaces.
    space: usize,
    /// How often each operand is evaluated, in a kernel that computes it in place, for this one's one.
    pub repeats: Vec<f64>,
    /// Floating-point operations to make it once.
    pub flops: f64,
    /// Bytes.
    pub bytes: f64,
    /// Whether it is computed wherever it is used: a constant, or of a block format.
    inlined: bool,
}

/// A function, ready to be cut into kernels.
pub struct Regions<'f> {
    function: &'f Function,
    /// What is known of each value.
    pub values: Vec<Info>,
    /// The operands for which there is a choice.
    pub edges: Vec<Edge>,
    /// The values that several dots take as their rows, for which there is a choice, too: whether these dots
    /// are one kernel.
    pub shares: Vec<usize>,
    /// For a consumer and an operand's place, the index of their edge.
    choice: BTreeMap<(usize, usize), usize>,
    /// The values that ops make.
    made: Set,
    /// The values that take arithmetic.
    work: Set,
    /// The results that ops make.
    results: Set,
    /// What was found of sets before: choices near one another have most sets in common.
    templates: RefCell<HashMap<Set, Option<Option<Template>>>>,
}

/// A kernel in the making.
#[derive(Clone, Debug)]
pub struct Group {
    /// What it computes.
    pub values: Set,
    /// What it reads.
    pub reads: Set,
    /// What it writes.
    pub outputs: Set,
    /// Its template.
    pub template: Option<Template>,
}

/// Why two kernels are made one.
#[derive(Clone, Copy)]
enum Join<'s> {
    /// One computes what the other writes anyway.
    Computed,
    /// They share work and the space of their last root.
    Work,
    /// Their dots take one of these values as their rows.
    Rows(&'s Set),
}

impl<'f> Regions<'f> {
    /// What is known of a function's values, on this machine.
    pub fn new(function: &'f Function, dims: &Dims, machine: &Machine) -> Regions<'f> {
        let bindings = dims.upper_bounds(&machine.bindings);
        let count = |dim: Dim| dim.eval(&bindings).unwrap_or(0) as f64;
        let all = function.values.len();
        let mut regions = Regions {
            function,
            values: Vec::new(),
            edges: Vec::new(),
            shares: Vec::new(),
            choice: BTreeMap::new(),
            made: Set::of(all, []),
            work: Set::of(all, []),
            results: Set::of(all, function.results.iter().map(|r| r.0)),
            templates: RefCell::default(),
        };
        let mut spaces: BTreeMap<Vec<Dim>, usize> = BTreeMap::new();
        for (v, value) in function.values.iter().enumerate() {
            let next = spaces.len();
            let mut info = Info {
                op: None,
                operands: vec![],
                used: Set::of(all, []),
                space: *spaces.entry(space(function, ValueId(v))).or_insert(next),
                repeats: vec![],
                flops: 0.0,
                bytes: count(value.ty.bytes()),
                inlined: false,
            };
            if let Def::Op {
                op,
                attrs,
                operands,
            } = &value.def
            {
                let types: Vec<_> = operands.iter().map(|o| &function.values[o.0].ty).collect();
                let site = Site {
                    def: op.def(),
                    attrs,
                    operands: &types,
                    dims,
                };
                // Indices and masks are made on the way, where they are used.
                let float = value.ty.dtype.is_float();
                info.flops = if float {
                    count(site.flops(&value.ty))
                } else {
                    0.0
                };
                info.op = Some(*op);
                info.operands = operands.iter().map(|o| o.0).collect();
                info.repeats = repeats(
                    &site,
                    &bindings,
                    machine.workers,
                    count(value.ty.elements()),
                );
                info.inlined = operands.is_empty() || value.ty.dtype.is_block();
                info.used = Set::of(all, operands.iter().map(|o| o.0));
            }
            for (operand, value) in info.operands.iter().copied().enumerate() {
                let used: &Info = &regions.values[value];
                let fixed = used.op.is_none_or(|op| op == Op::Put) || used.inlined;
                if !fixed {
                    regions.choice.insert((v, operand), regions.edges.len());
                    regions.edges.push(Edge {
                        consumer: v,
                        operand,
                        value,
                    });
                }
            }
            regions.values.push(info);
        }
        let that = |is: fn(&Info) -> bool| {
            let infos = regions.values.iter().enumerate();
            Set::of(all, infos.filter(|(_, info)| is(info)).map(|(v, _)| v))
        };
        regions.made = that(|info| info.op.is_some());
        regions.work = that(|info| info.flops > 0.0);
        regions.results = regions.results.and(&regions.made);
        let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
        for info in regions.values.iter().filter(|i| i.op == Some(Op::Dot)) {
            *rows.entry(info.operands[0]).or_default() += 1;
        }
        let several = rows.into_iter().filter(|(_, dots)| *dots > 1);
        regions.shares = several.map(|(value, _)| value).collect();
        regions
    }

    /// The kernels of a choice, `true` for an operand computed in place and for rows whose dots are one kernel,
    /// in an order in which they can run. Where that would follow no template, or compute something more than
    /// `most` times, an operand is read and dots stay apart.
    pub fn kernels(&self, choice: &[bool], most: f64) -> Vec<Group> {
        let regions = self.closures(choice, most);
        let mut written = self.results.clone();
        let mut open: Vec<usize> = written.iter().collect();
        let mut groups: Vec<Option<Group>> = Vec::new();
        while let Some(root) = open.pop() {
            let values = regions[root].clone();
            let template = self.follows(&values).flatten();
            let group = self.group(values, self.set([root]), template);
            let found = group.reads.clone().and(&self.made).without(&written);
            open.extend(found.iter());
            written = written.or(&found);
            groups.push(Some(group));
        }
        let mut roots: Vec<usize> = written.iter().collect();
        roots.reverse();
        let shared = self.shares.iter().zip(&choice[self.edges.len()..]);
        let shared = self.set(shared.filter(|(_, one)| **one).map(|(value, _)| *value));
        for join in [Join::Computed, Join::Work, Join::Rows(&shared)] {
            for root in &roots {
                self.join(*root, join, &mut groups);
            }
        }
        self.prune(&mut groups);
        let refs: Vec<Option<&Group>> = groups.iter().map(Option::as_ref).collect();
        let order = self.order(&refs);
        let order = order.expect("kernels were joined only where an order is left");
        order.into_iter().filter_map(|i| groups[i].take()).collect()
    }

    /// A plan's kernel.
    pub fn of_kernel(&self, kernel: &Kernel) -> Group {
        let set = |values: &[ValueId]| self.set(values.iter().map(|v| v.0));
        Group {
            values: set(&kernel.values),
            reads: set(&kernel.reads),
            outputs: set(&kernel.outputs),
            template: kernel.template,
        }
    }

    /// The choice that a plan's kernels show.
    pub fn choice_of(&self, kernels: &[Kernel]) -> Vec<bool> {
        let groups: Vec<Group> = kernels.iter().map(|k| self.of_kernel(k)).collect();
        let inlined = self.edges.iter().map(|edge| {
            let both = |g: &&Group| g.values.contains(edge.consumer);
            let mut computing = groups.iter().filter(both);
            computing.any(|g| g.values.contains(edge.value))
        });
        let together = self.shares.iter().map(|value| {
            let dots = |g: &&Group| self.rows(g).contains(*value);
            groups.iter().filter(dots).count() == 1
        });
        inlined.chain(together).collect()
    }

    fn set(&self, values: impl IntoIterator<Item = usize>) -> Set {
        Set::of(self.values.len(), values)
    }

    fn group(&self, values: Set, outputs: Set, template: Option<Template>) -> Group {
        let operands = values.iter().map(|v| &self.values[v].used);
        let operands = operands.fold(self.set([]), Set::or);
        Group {
            reads: operands.without(&values),
            values,
            outputs,
            template,
        }
    }

    fn follows(&self, set: &Set) -> Option<Option<Template>> {
        if let Some(found) = self.templates.borrow().get(set) {
            return *found;
        }
        let found = follows(self.function, set.iter());
        self.templates.borrow_mut().insert(set.clone(), found);
        found
    }

    /// What each value needs computed beside it, itself included.
    fn closures(&self, choice: &[bool], most: f64) -> Vec<Set> {
        let mut closures: Vec<Set> = Vec::new();
        // How often the most repeated work in each closure is done.
        let mut peaks: Vec<f64> = Vec::new();
        let mut dots: Vec<bool> = Vec::new();
        for (v, info) in self.values.iter().enumerate() {
            let mut set = self.set(info.op.map(|_| v));
            let mut peak = f64::from(info.flops > 0.0);
            let mut dot = info.op == Some(Op::Dot);
            for (i, operand) in info.operands.iter().enumerate() {
                let used = &self.values[*operand];
                let chosen = self.choice.get(&(v, i)).is_some_and(|c| choice[*c]);
                if !chosen && !used.inlined {
                    continue;
                }
                let joined = set.clone().or(&closures[*operand]);
                let above = peak.max(peaks[*operand] * info.repeats[i]);
                let legal = || {
                    above <= most && (!(dot || dots[*operand]) || self.follows(&joined).is_some())
                };
                if used.inlined || legal() {
                    (set, peak) = (joined, above);
                    dot |= dots[*operand];
                }
            }
            closures.push(set);
            peaks.push(peak);
            dots.push(dot);
        }
        closures
    }

    /// Makes the outputs of a root's kernel those of another. A kernel that would then wait for itself is
    /// passed over.
    fn join(&self, root: usize, join: Join, groups: &mut [Option<Group>]) {
        let makes = |g: &Option<Group>| g.as_ref().is_some_and(|g| g.outputs.contains(root));
        let own = groups.iter().position(makes);
        let own = own.expect("what is written has a kernel");
        for other in (0..groups.len()).filter(|other| *other != own) {
            let (Some(mine), Some(group)) = (&groups[own], &groups[other]) else {
                continue;
            };
            let related = match join {
                Join::Computed => mine.outputs.is_within(&group.values),
                Join::Work => {
                    let top = |g: &Group| g.outputs.last().map(|o| self.values[o].space);
                    let shared = || mine.values.clone().and(&group.values).and(&self.work);
                    top(mine) == top(group) && !shared().is_empty()
                }
                Join::Rows(shared) => {
                    let rows = |g: &Group| self.rows(g).and(shared);
                    !rows(mine).and(&rows(group)).is_empty()
                }
            };
            if !related {
                continue;
            }
            let values = group.values.clone().or(&mine.values);
            let Some(template) = self.follows(&values) else {
                continue;
            };
            let outputs = group.outputs.clone().or(&mine.outputs);
            let joined = self.group(values, outputs, template);
            let mut trial: Vec<Option<&Group>> = groups.iter().map(Option::as_ref).collect();
            trial[own] = None;
            trial[other] = Some(&joined);
            if self.order(&trial).is_some() {
                groups[own] = None;
                groups[other] = Some(joined);
                return;
            }
        }
    }

    /// What a kernel's dots take as their rows.
    fn rows(&self, group: &Group) -> Set {
        let dots = group.values.iter().map(|v| &self.values[v]);
        let dots = dots.filter(|info| info.op == Some(Op::Dot));
        self.set(dots.map(|info| info.operands[0]))
    }

    /// Drops outputs that are no results and that no kernel reads any more.
    fn prune(&self, groups: &mut [Option<Group>]) {
        loop {
            let reads = groups.iter().flatten().map(|g| &g.reads);
            let needed = reads.fold(self.results.clone(), Set::or);
            let mut changed = false;
            for slot in groups.iter_mut() {
                let Some(group) = slot else { continue };
                changed |= !group.outputs.is_within(&needed);
                group.outputs = group.outputs.clone().and(&needed);
                if group.outputs.is_empty() {
                    *slot = None;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// An order in which each kernel comes after those it reads from, if there is one.
    fn order(&self, groups: &[Option<&Group>]) -> Option<Vec<usize>> {
        // Of the kernels that can run, the one that the source comes to first.
        let mut waiting: Vec<(Option<usize>, usize, &Group)> = Vec::new();
        for (i, group) in groups.iter().enumerate() {
            waiting.extend(group.map(|g| (g.outputs.last(), i, g)));
        }
        waiting.sort_unstable_by_key(|(root, i, _)| (*root, *i));
        let mut missing = self.made.clone();
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let ready = |(_, _, group): &(_, _, &Group)| {
                let reads = group.reads.0.iter().zip(&missing.0);
                reads.into_iter().all(|(a, b)| a & b == 0)
            };
            let (_, next, group) = waiting.remove(waiting.iter().position(ready)?);
            missing = missing.without(&group.outputs);
            order.push(next);
        }
        Some(order)
    }
}

/// How often a consumer's operands are evaluated for its one evaluation, when computed in place.
///
/// The workers share a dot's batches first, then its longer free side: what makes the shorter side is
/// computed by each of them. A gather evaluates an operand for every element that it gives.
fn repeats(site: &Site, bindings: &Bindings, workers: f64, elements: f64) -> Vec<f64> {
    let length = |d: &Dim| d.eval(bindings).unwrap_or(0) as f64;
    let mut repeats = vec![1.0; site.operands.len()];
    match (site.def.op, site.operands) {
        (Op::Dot, [a, b]) => {
            let along = |axes: &[usize]| {
                axes.iter()
                    .map(|i| length(&a.dims[*i]))
                    .product::<f64>()
                    .max(1.0)
            };
            let (batch, contracted) = (along(site.axes(0)), along(site.axes(2)));
            let free = [a, b].map(|x| length(&x.elements()) / batch / contracted);
            let shorter = usize::from(free[0] >= free[1]);
            let tiles = (workers / batch).ceil().min(free[1 - shorter]);
            repeats[shorter] = tiles.max(1.0);
        }
        (Op::Take, [x, ..]) => {
            repeats[0] = (elements / length(&x.elements()).max(1.0)).max(1.0);
        }
        _ => {}
    }
    repeats
}
