//! Applying rules until nothing is new, or a limit is hit.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use egg::{Iteration, IterationData, Rewrite, Runner, SimpleScheduler, StopReason};

use super::analysis::{Facts, Graph};
use super::fold;
use super::node::Node;
use crate::rules::{self, RuleSet};

/// How far a search may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rounds of applying every rule.
    pub iterations: usize,
    /// Nodes in the e-graph, attributes included.
    pub nodes: usize,
    /// Time. A search that ends here may end elsewhere on another day; the other limits are hit first
    /// unless the machine is very slow.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            iterations: 30,
            nodes: 20_000,
            time: Duration::from_secs(10),
        }
    }
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// No rule gives anything new.
    Saturated,
    /// The limit on iterations was hit.
    Iterations,
    /// The limit on nodes was hit.
    Nodes,
    /// The limit on time was hit.
    Time,
}

/// How a search went.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The function.
    pub function: String,
    /// Rounds of applying every rule.
    pub iterations: usize,
    /// Nodes at the end, attributes included.
    pub nodes: usize,
    /// Classes at the end.
    pub classes: usize,
    /// Why it ended.
    pub stop: Stop,
    /// How many times each rule told something new, most first.
    pub fired: Vec<(String, usize)>,
    /// How many nodes each rule added, most first.
    pub grown: Vec<(String, usize)>,
    /// Each round by itself.
    pub rounds: Vec<Round>,
    /// Seconds that the function is thought to take as it came.
    pub cost_before: f64,
    /// Seconds that the function is thought to take as it was chosen.
    pub cost_after: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "fn {}: {} nodes in {} classes after {} iterations, ",
            self.function, self.nodes, self.classes, self.iterations
        )?;
        if self.stop == Stop::Saturated {
            return f.write_str(self.stop.name());
        }
        write!(f, "cut off by the limit on {}", self.stop.name())?;
        match self.grown.first() {
            Some((rule, nodes)) => write!(f, "; {rule} grew most, by {nodes} nodes"),
            None => Ok(()),
        }
    }
}

impl Stop {
    /// Its name: `saturated`, or that of the limit.
    pub fn name(self) -> &'static str {
        match self {
            Stop::Saturated => "saturated",
            Stop::Iterations => "iterations",
            Stop::Nodes => "nodes",
            Stop::Time => "time",
        }
    }
}

/// What a rule did in a round.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleGrowth {
    /// The rule.
    pub rule: String,
    /// How many times it told something new.
    pub fired: usize,
    /// How many nodes it added.
    pub nodes: usize,
}

/// A round of applying every rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Nodes after it, attributes included.
    pub nodes: usize,
    /// Classes after it.
    pub classes: usize,
    /// Seconds that it took.
    pub seconds: f64,
    /// The rules that did something, in the order of their names.
    pub rules: Vec<RuleGrowth>,
}

/// What is noted after each round.
pub(super) struct Noted {
    nodes: usize,
    classes: usize,
    /// How many nodes each rule has added so far.
    growth: BTreeMap<String, usize>,
}

impl IterationData<Node, Facts> for Noted {
    fn make(runner: &Search) -> Noted {
        Noted {
            nodes: runner.egraph.total_number_of_nodes(),
            classes: runner.egraph.number_of_classes(),
            growth: runner.egraph.analysis.growth.clone(),
        }
    }
}

/// A search.
pub(super) type Search = Runner<Node, Facts, Noted>;

/// Applies the rules.
pub(super) fn search(graph: Graph, rules: &RuleSet, limits: &Limits) -> Search {
    let mut rewrites: Vec<Rewrite<Node, Facts>> = Vec::new();
    rewrites.extend(rules.folding().map(|_| fold::rewrite()));
    rewrites.extend(rules.rules().iter().map(rules::rewrite));
    // Every rule in every round: a scheduler that holds rules back would cut off in silence.
    Search::new(Facts::default())
        .with_egraph(graph)
        .with_scheduler(SimpleScheduler)
        .with_iter_limit(limits.iterations)
        .with_node_limit(limits.nodes)
        .with_time_limit(limits.time)
        .run(&rewrites)
}

impl Report {
    /// What a finished run tells; the function's costs are not known yet, and 0.
    pub(super) fn new(function: &str, run: &Search) -> Report {
        let rounds = rounds(run);
        let mut fired: BTreeMap<String, usize> = BTreeMap::new();
        for rule in rounds.iter().flat_map(|round| &round.rules) {
            *fired.entry(rule.rule.clone()).or_default() += rule.fired;
        }
        let stop = match &run.stop_reason {
            Some(StopReason::Saturated) => Stop::Saturated,
            Some(StopReason::IterationLimit(_)) => Stop::Iterations,
            Some(StopReason::NodeLimit(_)) => Stop::Nodes,
            Some(StopReason::TimeLimit(_)) => Stop::Time,
            other => panic!("egg ended a search without a reason of ours: {other:?}"),
        };
        Report {
            function: function.into(),
            iterations: run.iterations.len(),
            nodes: run.egraph.total_number_of_nodes(),
            classes: run.egraph.number_of_classes(),
            stop,
            fired: most_first(fired),
            grown: most_first(run.egraph.analysis.growth.clone()),
            rounds,
            cost_before: 0.0,
            cost_after: 0.0,
        }
    }
}

/// What each round did, from what was noted after it and after the one before.
fn rounds(run: &Search) -> Vec<Round> {
    let mut before: BTreeMap<String, usize> = BTreeMap::new();
    let round = |iteration: &Iteration<Noted>| {
        let noted = &iteration.data;
        let mut rules: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (rule, times) in &iteration.applied {
            rules.entry(rule.as_str()).or_default().0 = *times;
        }
        for (rule, nodes) in &noted.growth {
            let had = before.get(rule).copied().unwrap_or(0);
            if *nodes > had {
                rules.entry(rule).or_default().1 = nodes - had;
            }
        }
        let rules = rules.into_iter().filter(|(_, did)| *did != (0, 0));
        let rules = rules.map(|(rule, (fired, nodes))| RuleGrowth {
            rule: rule.into(),
            fired,
            nodes,
        });
        let round = Round {
            nodes: noted.nodes,
            classes: noted.classes,
            seconds: iteration.total_time,
            rules: rules.collect(),
        };
        before.clone_from(&noted.growth);
        round
    };
    run.iterations.iter().map(round).collect()
}

fn most_first(counts: BTreeMap<String, usize>) -> Vec<(String, usize)> {
    let mut counts: Vec<_> = counts.into_iter().filter(|(_, n)| *n > 0).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}
