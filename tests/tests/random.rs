//! Random graphs, whatever of them is chosen to be computed in place, give the interpreter's bits as Plans
//! and as machine code.
//!
//! `LAPIDARY_GRAPHS=1000..5000` runs those instead of the first few hundred.

use std::env;
use std::ops::Range;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::thread;

use lapidary_tests::executors::{EXECUTORS, Planned};
use lapidary_tests::random::graph;
use lapidary_tests::suite::Case;
use passes::fusion::Extract;
use runtime::Level;

/// Most ops of a graph.
const OPS: usize = 20;

/// What differs between the interpreter and what is planned in this way; the case with what is expected.
fn differences(seed: u64, ops: usize) -> (Case, Vec<String>) {
    let mut case = graph(seed, ops);
    let expected = EXECUTORS[0].run(&case);
    case.expect(expected.unwrap_or_else(|error| panic!("{error}\n{}", case.text())));
    let extract = match seed % 4 {
        0 => Extract::Search,
        1 => Extract::Worst,
        _ => Extract::Random(seed),
    };
    let levels = [None, Some(Level::V3), Some(Level::V4)];
    let levels = levels
        .into_iter()
        .filter(|l| l.is_none_or(|l| l.lacks().is_none()));
    let differences = levels.flat_map(|level| {
        let threads = 1 + (seed / 4 % 2) as usize;
        case.differences(&Planned {
            extract,
            level,
            threads,
        })
    });
    let differences = differences.collect();
    (case, differences)
}

/// The differences that a graph shows, with as few ops as they take.
fn check(seed: u64) -> Option<String> {
    let ops = 1 + (seed as usize * 7) % OPS;
    let found = report(seed, ops)?;
    Some((1..ops).find_map(|ops| report(seed, ops)).unwrap_or(found))
}

/// A graph and its differences, if it has any; what panics differs, too.
fn report(seed: u64, ops: usize) -> Option<String> {
    match catch_unwind(|| differences(seed, ops)) {
        Ok((_, differences)) if differences.is_empty() => None,
        Ok((case, differences)) => Some(format!("{}{}\n", case.text(), differences.join("\n"))),
        Err(_) => Some(format!("{}it panics\n", graph(seed, ops).text())),
    }
}

/// The graphs to be run: those that are named, or the first few hundred.
fn seeds() -> Range<u64> {
    let Ok(named) = env::var("LAPIDARY_GRAPHS") else {
        return 0..300;
    };
    let ends = named.split_once("..");
    let range = ends.and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    range.expect("LAPIDARY_GRAPHS is written as first..last")
}

#[test]
fn random_graphs_give_the_interpreters_bits_in_any_kernels() {
    let seeds = Mutex::new(seeds());
    let next = || seeds.lock().expect("no panic passes").next();
    let run = || {
        let found = std::iter::from_fn(next).filter_map(check);
        found.collect::<Vec<String>>()
    };
    let found = thread::scope(|scope| {
        let other = scope.spawn(run);
        let mut found = run();
        found.extend(other.join().expect("no panic passes"));
        found
    });
    if let Some(shortest) = found.iter().min_by_key(|text| text.len()) {
        panic!("{} graphs, of which one is\n{shortest}", found.len());
    }
}
