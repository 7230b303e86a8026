//! From choices to kernels: the regions connected by operands computed in place.

use std::collections::{BTreeMap, BTreeSet};

use ir::{Bindings, Def, Dim, Dims, Function, Op, Site, ValueId};

use super::cost::Machine;
use super::template::follows;
use super::uses::Edge;
use crate::plan::{Template, space};

/// A set of values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set(Vec<u64>);

impl Set {
    fn insert(&mut self, value: usize) {
        let word = value / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (value % 64);
    }

    /// Whether a value is in it.
    pub fn contains(&self, value: usize) -> bool {
        self.0
            .get(value / 64)
            .is_some_and(|w| w >> (value % 64) & 1 == 1)
    }

    fn extend(&mut self, other: &Set) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
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
    /// For a consumer and an operand's place, the index of their edge.
    choice: BTreeMap<(usize, usize), usize>,
}

/// A kernel in the making.
#[derive(Clone, Debug)]
pub struct Group {
    /// What it computes.
    pub values: Set,
    /// What it writes, in order.
    pub outputs: BTreeSet<usize>,
    /// Its template.
    pub template: Option<Template>,
}

impl Group {
    /// What it reads.
    pub fn reads(&self, regions: &Regions) -> impl Iterator<Item = usize> {
        let operands = self.values.iter().flat_map(|v| &regions.values[v].operands);
        let read: BTreeSet<usize> = operands
            .copied()
            .filter(|o| !self.values.contains(*o))
            .collect();
        read.into_iter()
    }
}

impl<'f> Regions<'f> {
    /// What is known of a function's values, on this machine.
    pub fn new(function: &'f Function, dims: &Dims, machine: &Machine) -> Regions<'f> {
        let bindings = dims.upper_bounds(&machine.bindings);
        let count = |dim: Dim| dim.eval(&bindings).unwrap_or(0) as f64;
        let mut regions = Regions {
            function,
            values: Vec::new(),
            edges: Vec::new(),
            choice: BTreeMap::new(),
        };
        for (v, value) in function.values.iter().enumerate() {
            let mut info = Info {
                op: None,
                operands: vec![],
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
                info.flops = count(site.flops(&value.ty));
                info.op = Some(*op);
                info.operands = operands.iter().map(|o| o.0).collect();
                info.repeats = repeats(
                    &site,
                    &bindings,
                    machine.workers,
                    count(value.ty.elements()),
                );
                info.inlined = operands.is_empty() || value.ty.dtype.is_block();
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
        regions
    }

    /// The kernels of a choice, `true` for an operand computed in place, in an order in which they can run.
    /// Where that would follow no template, or compute something more than `most` times, it is read.
    pub fn kernels(&self, choice: &[bool], most: f64) -> Vec<Group> {
        let regions = self.closures(choice, most);
        let params = |v: &usize| self.values[*v].op.is_some();
        let results: BTreeSet<usize> = self
            .function
            .results
            .iter()
            .map(|r| r.0)
            .filter(params)
            .collect();
        let mut written = results.clone();
        let mut open: Vec<usize> = results.iter().copied().collect();
        let mut groups: Vec<Option<Group>> = Vec::new();
        let mut maker: BTreeMap<usize, usize> = BTreeMap::new();
        while let Some(root) = open.pop() {
            let group = Group {
                values: regions[root].clone(),
                outputs: [root].into(),
                template: self.follows(&regions[root]).flatten(),
            };
            let reads = group.reads(self).filter(params);
            open.extend(reads.filter(|r| written.insert(*r)));
            maker.insert(root, groups.len());
            groups.push(Some(group));
        }
        for computed in [true, false] {
            for root in written.iter().rev() {
                self.join(*root, computed, &mut groups, &mut maker);
            }
        }
        self.prune(&mut groups, &results);
        let groups: Vec<Group> = groups.into_iter().flatten().collect();
        let makers = groups.iter().enumerate();
        let makers = makers.flat_map(|(i, g)| g.outputs.iter().map(move |o| (*o, i)));
        let refs: Vec<Option<&Group>> = groups.iter().map(Some).collect();
        let order = self.order(&refs, &makers.collect());
        let order = order.expect("kernels were joined only where an order is left");
        order.into_iter().map(|i| groups[i].clone()).collect()
    }

    fn follows(&self, set: &Set) -> Option<Option<Template>> {
        follows(self.function, set.iter())
    }

    /// What each value needs computed beside it, itself included.
    fn closures(&self, choice: &[bool], most: f64) -> Vec<Set> {
        let mut closures: Vec<Set> = Vec::new();
        // How often the most repeated work in each closure is done.
        let mut peaks: Vec<f64> = Vec::new();
        let mut dots: Vec<bool> = Vec::new();
        for (v, info) in self.values.iter().enumerate() {
            let mut set = Set::default();
            let mut peak = f64::from(info.flops > 0.0);
            let mut dot = info.op == Some(Op::Dot);
            if info.op.is_some() {
                set.insert(v);
            }
            for (i, operand) in info.operands.iter().enumerate() {
                let used = &self.values[*operand];
                let chosen = self.choice.get(&(v, i)).is_some_and(|c| choice[*c]);
                if !chosen && !used.inlined {
                    continue;
                }
                let mut joined = set.clone();
                joined.extend(&closures[*operand]);
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

    /// Makes the outputs of a root's kernel those of another: of one that computes them anyway (`computed`),
    /// or of one over the same space that shares work with it. A kernel that would then wait for itself is passed over.
    fn join(
        &self,
        root: usize,
        computed: bool,
        groups: &mut [Option<Group>],
        maker: &mut BTreeMap<usize, usize>,
    ) {
        let own = maker[&root];
        for other in 0..groups.len() {
            let (Some(mine), Some(group)) = (&groups[own], &groups[other]) else {
                continue;
            };
            if other == own {
                continue;
            }
            let top = |g: &Group| {
                g.outputs
                    .last()
                    .copied()
                    .map(|o| space(self.function, ValueId(o)))
            };
            let shared = |v: usize| group.values.contains(v) && self.values[v].flops > 0.0;
            let related = if computed {
                mine.outputs.iter().all(|o| group.values.contains(*o))
            } else {
                top(mine) == top(group) && mine.values.iter().any(shared)
            };
            if !related {
                continue;
            }
            let mut values = group.values.clone();
            values.extend(&mine.values);
            let Some(template) = self.follows(&values) else {
                continue;
            };
            let outputs = group.outputs.union(&mine.outputs).copied().collect();
            let joined = Group {
                values,
                outputs,
                template,
            };
            let mut trial: Vec<Option<&Group>> = groups.iter().map(Option::as_ref).collect();
            trial[own] = None;
            trial[other] = Some(&joined);
            let mut makers = maker.clone();
            for output in &mine.outputs {
                makers.insert(*output, other);
            }
            if self.order(&trial, &makers).is_some() {
                *maker = makers;
                groups[own] = None;
                groups[other] = Some(joined);
                return;
            }
        }
    }

    /// Drops outputs that are no results and that no kernel reads any more.
    fn prune(&self, groups: &mut [Option<Group>], results: &BTreeSet<usize>) {
        loop {
            let read: BTreeSet<usize> = groups
                .iter()
                .flatten()
                .flat_map(|g| g.reads(self))
                .collect();
            let mut changed = false;
            for slot in groups.iter_mut() {
                let Some(group) = slot else { continue };
                let before = group.outputs.len();
                group
                    .outputs
                    .retain(|o| results.contains(o) || read.contains(o));
                changed |= group.outputs.len() != before;
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
    fn order(
        &self,
        groups: &[Option<&Group>],
        maker: &BTreeMap<usize, usize>,
    ) -> Option<Vec<usize>> {
        let mut waiting: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (i, group) in groups.iter().enumerate() {
            if let Some(group) = group {
                let from = group.reads(self).filter_map(|r| maker.get(&r)).copied();
                waiting.insert(i, from.collect());
            }
        }
        let mut order = Vec::new();
        while !waiting.is_empty() {
            // Of those that can run, the one that the source comes to first.
            let ready = waiting.iter().filter(|(_, from)| from.is_empty());
            let root = |i: usize| groups[i].and_then(|g| g.outputs.last().copied());
            let next = *ready.min_by_key(|(i, _)| root(**i))?.0;
            waiting.remove(&next);
            for from in waiting.values_mut() {
                from.remove(&next);
            }
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
