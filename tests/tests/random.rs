//! Random graphs give the interpreter's bits as Plans and as machine code, whatever of them is computed in place,
//! and in fast come as near to it as another order of sums may.
//!
//! `LAPIDARY_GRAPHS=1000..5000` runs those instead of the first few hundred, `LAPIDARY_OPS=60` larger ones. They
//! run in processes of their own, so that code that crashes is a failure like any other. What fails is made small
//! and left as a file for `ops/`.

use std::env;
use std::fs;
use std::ops::Range;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::thread;

use lapidary_tests::compiled::levels;
use lapidary_tests::random::graph;
use lapidary_tests::shrink::shrunk;
use lapidary_tests::suite::Case;
use lapidary_tests::ways::{Compared, Way, first_difference, ways};

const TEST: &str = "random_graphs_give_what_the_interpreter_gives_in_every_way";
/// Tells a process of the test's own what to do: the words of a [`Job`].
const JOB: &str = "LAPIDARY_GRAPHS_JOB";
/// Graphs of a process.
const CHUNK: u64 = 20;

/// What a process of the test's own does.
enum Job {
    /// Runs graphs, and prints `begin SEED` before each, `failed SEED WAY` where its way of that number fails.
    Graphs(Range<u64>),
    /// Runs a graph's file in one way, and prints how it fails, if it does.
    File {
        path: PathBuf,
        seed: u64,
        way: usize,
    },
}

impl Job {
    fn words(&self) -> String {
        match self {
            Job::Graphs(seeds) => format!("graphs {} {}", seeds.start, seeds.end),
            Job::File { path, seed, way } => format!("file {seed} {way} {}", path.display()),
        }
    }

    fn of(words: &str) -> Option<Job> {
        let mut parts = words.splitn(4, ' ');
        let (kind, a, b) = (parts.next()?, parts.next()?, parts.next()?);
        let (a, b) = (a.parse().ok()?, b.parse().ok()?);
        Some(match kind {
            "graphs" => Job::Graphs(a..b),
            _ => Job::File {
                seed: a,
                way: b as usize,
                path: parts.next()?.into(),
            },
        })
    }

    /// Runs it in a process of its own.
    fn start(&self) -> Output {
        let test = env::current_exe().expect("a test knows its file");
        let mut command = Command::new(test);
        command.args([TEST, "--exact", "--nocapture"]);
        let output = command.env(JOB, self.words()).output();
        output.expect("a test can be started")
    }

    /// Does it here. Panics of the compiler are what is looked for, and are not told one by one.
    fn run(&self) {
        panic::set_hook(Box::new(|_| {}));
        let mut compared = Compared::default();
        match self {
            Job::Graphs(seeds) => {
                for seed in seeds.clone() {
                    println!("begin {seed}");
                    if let Some(way) = failing(seed, &mut compared) {
                        println!("failed {seed} {way}");
                    }
                }
                let Compared {
                    plans,
                    bounded,
                    open,
                } = compared;
                println!("compared {plans} {bounded} {open}");
            }
            Job::File { path, seed, way } => {
                let text = fs::read_to_string(path).expect("the file was just written");
                let case = Case::read(path.clone(), text).expect("the file is a case");
                let way = [all_ways(*seed)[*way]];
                if let Ok(Some(found)) = first_difference(&case, &way, &mut compared) {
                    println!("differs {found}");
                }
            }
        }
    }
}

/// The graph of a seed, of up to 20 ops where no other number is asked for.
fn made(seed: u64) -> Case {
    let most = env::var("LAPIDARY_OPS").map_or(20, |most| {
        let most = most.parse().ok().filter(|most| *most > 0);
        most.expect("LAPIDARY_OPS is a number of ops")
    });
    graph(seed, 1 + (seed as usize * 7) % most)
}

fn all_ways(seed: u64) -> Vec<Way> {
    ways(seed, &levels())
}

/// The number of the way in which a graph fails, if it does.
fn failing(seed: u64, compared: &mut Compared) -> Option<usize> {
    let case = made(seed);
    let ways = all_ways(seed);
    let found = first_difference(&case, &ways, compared);
    let found = found.unwrap_or_else(|error| panic!("{error}\n{}", case.text()))?;
    ways.iter().position(|way| *way == found.way)
}

/// How a case fails in one way, in a process of its own; the case goes to this file.
fn fails(case: &Case, path: &Path, seed: u64, way: usize) -> Option<String> {
    fs::write(path, case.text()).expect("a folder that tests may write to");
    let path = path.into();
    let output = Job::File { path, seed, way }.start();
    let said = String::from_utf8_lossy(&output.stdout);
    let differs = said.lines().find_map(|line| line.strip_prefix("differs "));
    match (differs, output.status.code()) {
        (Some(found), _) => Some(found.into()),
        (None, Some(_)) => None,
        (None, None) => Some(format!("{}: {}", all_ways(seed)[way], output.status)),
    }
}

/// The smallest graph that fails as a graph does in one of these ways, with how it does.
fn smallest(seed: u64, ways: Range<usize>) -> Option<String> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("random_{seed}.lir"));
    let case = made(seed);
    for way in ways {
        if fails(&case, &path, seed, way).is_none() {
            continue;
        }
        let small = shrunk(&case, &mut |case| fails(case, &path, seed, way).is_some());
        let found = fails(&small, &path, seed, way)?;
        let file = path.display();
        return Some(format!("seed {seed}, {file}\n{found}\n{}", small.text()));
    }
    fs::remove_file(&path).ok()?;
    None
}

/// Runs graphs, as often as it takes to get behind those that crash.
fn failures(mut seeds: Range<u64>, compared: &mut Compared) -> Vec<String> {
    let mut found = Vec::new();
    while !seeds.is_empty() {
        let output = Job::Graphs(seeds.clone()).start();
        let said = String::from_utf8_lossy(&output.stdout);
        let mut last = seeds.start;
        for line in said.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |i: usize| words.get(i).and_then(|word| word.parse::<u64>().ok());
            match (words[0], number(1), number(2), number(3)) {
                ("begin", Some(seed), ..) => last = seed,
                ("failed", Some(seed), Some(way), _) => {
                    let way = way as usize;
                    let small = smallest(seed, way..way + 1);
                    found.push(small.unwrap_or_else(|| format!("seed {seed}, but not again")));
                }
                ("compared", Some(plans), Some(bounded), Some(open)) => {
                    compared.plans += plans as usize;
                    compared.bounded += bounded as usize;
                    compared.open += open as usize;
                }
                _ => {}
            }
        }
        seeds.start = match output.status.success() {
            true => seeds.end,
            false => {
                let ways = 0..all_ways(last).len();
                let status = output.status;
                let small = smallest(last, ways);
                found.push(small.unwrap_or_else(|| format!("seed {last}: {status}, not again")));
                last + 1
            }
        };
    }
    found
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
fn random_graphs_give_what_the_interpreter_gives_in_every_way() {
    if let Some(job) = env::var(JOB).ok().and_then(|words| Job::of(&words)) {
        return job.run();
    }
    levels();
    let seeds = seeds();
    println!("seeds {} to {}", seeds.start, seeds.end);
    let chunks = Mutex::new(seeds.clone().step_by(CHUNK as usize));
    let all = Mutex::new((Vec::new(), Compared::default()));
    let run = || {
        loop {
            let next = chunks.lock().expect("no panic passes").next();
            let Some(first) = next else { break };
            let mut compared = Compared::default();
            let chunk = first..seeds.end.min(first + CHUNK);
            let found = failures(chunk.clone(), &mut compared);
            println!("{chunk:?}: {} fail", found.len());
            let mut all = all.lock().expect("no panic passes");
            all.0.extend(found);
            all.1 += compared;
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(run);
        }
    });
    let (failures, compared) = all.into_inner().expect("no panic passes");
    println!("{compared}");
    assert!(
        failures.is_empty(),
        "{} graphs fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
