//! Choosing for every use whether it is read or computed in place.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ir::{Dims, Function, ValueId};

use super::cost::Machine;
use super::regions::{Group, Regions};
use super::uses::choices;
use crate::plan::Kernel;
use crate::random::Rng;

/// How the choice is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extract {
    /// From greedy, from everything and from nothing fused, one change at a time while the cost falls.
    #[default]
    Search,
    /// What is legal and computed only once is computed in place.
    Greedy,
    /// Every operand is read that can be.
    None,
    /// One change at a time while the cost rises.
    Worst,
    /// By lot.
    Random(u64),
}

/// A choice: `true` for a use computed in place, then `true` for rows whose dots are one kernel.
pub type Choice = Vec<bool>;

/// The search over the choices of one function.
pub struct Search<'f> {
    regions: Regions<'f>,
    machine: &'f Machine,
    /// What the e-graph offers at each use: to read, to compute in place; and for shared rows both.
    offered: Vec<[bool; 2]>,
    /// How many choices a search for the cheapest or the dearest may cost.
    tries: usize,
    tried: usize,
}

impl<'f> Search<'f> {
    /// The search over a function's uses on a machine.
    pub fn new(function: &'f Function, dims: &Dims, machine: &'f Machine) -> Search<'f> {
        let regions = Regions::new(function, dims, machine);
        let mut offered = choices(&regions.edges);
        offered.extend(regions.shares.iter().map(|_| [true; 2]));
        Search {
            regions,
            machine,
            offered,
            tries: usize::MAX,
            tried: 0,
        }
    }

    /// The search that costs no more than so many choices, then takes the best so far.
    pub fn limited(self, tries: usize) -> Search<'f> {
        Search { tries, ..self }
    }

    /// Whether it may cost no more choices.
    pub fn is_cut_off(&self) -> bool {
        self.tried >= self.tries
    }

    /// The function's values and uses.
    pub fn regions(&self) -> &Regions<'f> {
        &self.regions
    }

    /// How many choices have been costed.
    pub fn tried(&self) -> usize {
        self.tried
    }

    /// The kernels of a choice, in which nothing is computed more than `most` times.
    pub fn kernels(&self, choice: &[bool], most: f64) -> Vec<Group> {
        self.regions.kernels(choice, most)
    }

    /// Seconds of a choice.
    pub fn cost(&mut self, choice: &[bool], most: f64) -> f64 {
        self.tried += 1;
        self.machine
            .seconds(&self.regions, &self.kernels(choice, most))
    }

    /// A choice, and how many times its kernels may compute a value.
    pub fn extract(&mut self, extract: Extract) -> (Choice, f64) {
        let most = self.machine.recompute;
        let none: Choice = self.offered.iter().map(|[read, _]| !read).collect();
        match extract {
            Extract::None => (none, most),
            Extract::Greedy => (self.greedy(), 1.0),
            Extract::Random(seed) => (self.random(seed), most),
            Extract::Worst => (self.climb(none, most, -1.0).0, most),
            Extract::Search => {
                let greedy = self.greedy();
                let least = self.cost(&greedy, 1.0);
                let all = self.offered.iter().map(|[_, inline]| *inline).collect();
                let (mut best, mut limit, mut cost) = (greedy.clone(), 1.0, least);
                for start in [greedy, all, none] {
                    let (choice, found) = self.climb(start, most, 1.0);
                    if found < cost {
                        (best, limit, cost) = (choice, most, found);
                    }
                }
                let (best, _) = self.climb_by_two(best, limit, cost);
                (best, limit)
            }
        }
    }

    /// Everything computed in place that is then computed once, by one kernel.
    fn greedy(&self) -> Choice {
        let mut choice: Choice = self.offered.iter().map(|[_, inline]| *inline).collect();
        loop {
            let groups = self.kernels(&choice, 1.0);
            let times = |v: usize| groups.iter().filter(|g| g.values.contains(v)).count();
            // Of what is computed twice, that which a use makes so.
            let edges = self.regions.edges.iter();
            let again = edges.zip(&choice).position(|(edge, inline)| {
                let flops = self.regions.values[edge.value].flops > 0.0;
                *inline && flops && times(edge.value) > 1 && times(edge.consumer) <= 1
            });
            let Some(again) = again else { return choice };
            let value = self.regions.edges[again].value;
            for (edge, inline) in self.regions.edges.iter().zip(&mut choice) {
                *inline &= edge.value != value;
            }
        }
    }

    fn random(&self, seed: u64) -> Choice {
        let mut random = Rng::new(seed);
        let lot = |[read, inline]: &[bool; 2]| {
            let heads = random.bits() & 1 == 1;
            if *read && *inline { heads } else { *inline }
        };
        self.offered.iter().map(lot).collect()
    }

    /// One use, or all uses of a value.
    fn moves(&self, choices: usize) -> Vec<Vec<usize>> {
        let mut moves: Vec<Vec<usize>> = (0..choices).map(|i| vec![i]).collect();
        let mut of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, edge) in self.regions.edges.iter().enumerate() {
            of.entry(edge.value).or_default().push(i);
        }
        moves.extend(of.into_values().filter(|uses| uses.len() > 1));
        moves
    }

    /// A choice with these uses computed in place, or read, as far as that is offered.
    fn with(&self, choice: &Choice, uses: &[usize], inline: bool) -> Choice {
        let mut other = choice.clone();
        for i in uses {
            let [read, place] = self.offered[*i];
            other[*i] = if read && place { inline } else { place };
        }
        other
    }

    /// Climbs on from where no change alone makes the cost fall: by two changes that meet in a value.
    fn climb_by_two(&mut self, mut choice: Choice, most: f64, mut cost: f64) -> (Choice, f64) {
        let moves = self.moves(choice.len());
        let edges = &self.regions.edges;
        let ends = |uses: &Vec<usize>| -> BTreeSet<usize> {
            let ends = uses.iter().flat_map(|i| match edges.get(*i) {
                Some(edge) => vec![edge.consumer, edge.value],
                None => vec![self.regions.shares[*i - edges.len()]],
            });
            ends.collect()
        };
        let ends: Vec<BTreeSet<usize>> = moves.iter().map(ends).collect();
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        for a in 0..moves.len() {
            let meet = |b: &usize| !ends[a].is_disjoint(&ends[*b]);
            pairs.extend((a + 1..moves.len()).filter(meet).map(|b| (a, b)));
        }
        let mut at = 0;
        while at < pairs.len() && !self.is_cut_off() {
            let (a, b) = pairs[at];
            at += 1;
            for (first, second) in [(true, true), (true, false), (false, true), (false, false)] {
                let other = self.with(&choice, &moves[a], first);
                let other = self.with(&other, &moves[b], second);
                if other == choice {
                    continue;
                }
                let found = self.cost(&other, most);
                if found < cost {
                    (choice, cost) = self.climb(other, most, 1.0);
                    at = 0;
                    break;
                }
            }
        }
        (choice, cost)
    }

    /// Flips a use, or all uses of a value at once, while the cost falls, or with `sign` -1 rises. Uses
    /// near a change are looked at again.
    fn climb(&mut self, mut choice: Choice, most: f64, sign: f64) -> (Choice, f64) {
        let moves = self.moves(choice.len());
        let mut cost = self.cost(&choice, most) * sign;
        let mut work: VecDeque<usize> = (0..moves.len()).collect();
        while let Some(at) = work.pop_front().filter(|_| !self.is_cut_off()) {
            let uses = &moves[at];
            let values = if uses.len() > 1 {
                &[true, false][..]
            } else {
                &[!choice[uses[0]]]
            };
            for inline in values {
                let other = self.with(&choice, uses, *inline);
                if other == choice {
                    continue;
                }
                let found = self.cost(&other, most) * sign;
                if found < cost {
                    (choice, cost) = (other, found);
                    // A flip of one use can make any other worthwhile that is not waiting already.
                    let waiting: Vec<bool> = (0..moves.len()).map(|m| work.contains(&m)).collect();
                    work.extend((0..moves.len()).filter(|m| !waiting[*m]));
                    break;
                }
            }
        }
        (choice, cost * sign)
    }
}

/// A use as a plan has it, and what the function would take if that use alone were the other way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alternative {
    /// The value computed.
    pub consumer: ValueId,
    /// The operand's place in it.
    pub operand: usize,
    /// The value used.
    pub value: ValueId,
    /// Whether it is computed in place, rather than read.
    pub inlined: bool,
    /// Seconds of the function by the uses that its kernels show.
    pub cost: f64,
    /// Seconds with this use the other way; the same where the other way is not legal.
    pub other: f64,
}

/// The uses for which there is a choice, as a function's kernels have them.
///
/// # Panics
/// If the kernels are no plan of the function.
pub fn alternatives(
    function: &Function,
    dims: &Dims,
    machine: &Machine,
    kernels: &[Kernel],
) -> Vec<Alternative> {
    let mut search = Search::new(function, dims, machine);
    let most = machine.recompute;
    let mut choice = search.regions.choice_of(kernels);
    let cost = search.cost(&choice, most);
    let edges = search.regions.edges.clone();
    let each = edges.iter().enumerate().map(|(i, edge)| {
        choice[i] ^= true;
        let other = search.cost(&choice, most);
        choice[i] ^= true;
        Alternative {
            consumer: ValueId(edge.consumer),
            operand: edge.operand,
            value: ValueId(edge.value),
            inlined: choice[i],
            cost,
            other,
        }
    });
    each.collect()
}
