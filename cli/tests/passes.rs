//! The options that choose kernels: how they are searched for, and a plan that is given.

mod common;

use std::fs;
use std::path::PathBuf;

use common::*;
use tempfile::TempDir;

/// A graph, and its plan by `opt`.
struct Planned {
    dir: TempDir,
    graph: String,
}

impl Planned {
    fn of(op: &str) -> Planned {
        Planned {
            dir: folder(),
            graph: format!("{}/../tests/ops/{op}.lir", env!("CARGO_MANIFEST_DIR")),
        }
    }

    /// The plan's text by these options.
    fn plan(&self, options: &[&str]) -> String {
        let opt = ["opt", &self.graph, "--until", "plan"];
        says(&[&opt, options].concat())
    }

    fn write(&self, plan: &str) -> PathBuf {
        let path = self.dir.path().join("my.plan");
        fs::write(&path, plan).expect("a file");
        path
    }

    /// What comes of giving this plan.
    fn given(&self, plan: &str, options: &[&str]) -> String {
        let path = self.write(plan);
        self.plan(&[&["--plan", text(&path)], options].concat())
    }

    /// The message, without the file's name, when this plan is refused.
    fn refused(&self, plan: &str, options: &[&str]) -> String {
        let path = self.write(plan);
        let opt = ["opt", &self.graph, "--until", "plan", "--plan", text(&path)];
        let message = refused(2, &[&opt, options].concat());
        let start = format!("error: {}: ", path.display());
        assert_eq!(message.matches('\n').count(), 1, "{message}");
        let rest = message.trim_end().strip_prefix(&start);
        rest.unwrap_or_else(|| panic!("{message}")).into()
    }
}

fn kernels(plan: &str) -> usize {
    plan.matches("\n  kernel ").count()
}

#[test]
fn kernels_are_chosen_in_the_way_that_is_asked_for() {
    let geglu = Planned::of("geglu");
    let search = geglu.plan(&[]);
    assert_eq!(kernels(&search), 2);
    assert_eq!(geglu.plan(&["--extract", "search"]), search);
    let none = geglu.plan(&["--extract", "none"]);
    assert!(kernels(&none) > 6, "{none}");
    for how in ["greedy", "worst", "random:7"] {
        let plan = geglu.plan(&["--extract", how]);
        assert!((2..=kernels(&none)).contains(&kernels(&plan)), "{how}");
        assert_eq!(geglu.plan(&["--extract", how]), plan, "{how}");
    }
    let lots: Vec<String> = ["random:1", "random:2", "random:3"]
        .map(|how| geglu.plan(&["--extract", how]))
        .into();
    assert!(lots[0] != lots[1] || lots[1] != lots[2]);
    let opt = ["opt", &geglu.graph, "--extract", "best"];
    let message = refused(2, &opt);
    assert!(
        message.contains("expected search, greedy, none, worst or random:SEED"),
        "{message}"
    );
}

#[test]
fn the_kernels_of_a_plan_are_taken_as_they_are_given() {
    let geglu = Planned::of("geglu");
    let search = geglu.plan(&[]);
    assert_eq!(geglu.given(&search, &[]), search);
    let none = geglu.plan(&["--extract", "none"]);
    assert_eq!(geglu.given(&none, &[]), none);
    let renamed = search.replace("kernel k.gated ", "kernel first ");
    assert_ne!(renamed, search);
    assert_eq!(geglu.given(&renamed, &[]), renamed);
}

#[test]
fn a_plan_of_the_graph_as_it_came_is_as_good_as_one_of_its_algebra() {
    let softmax = Planned::of("softmax");
    let source = softmax.plan(&["--no-rule", "*"]);
    let better = softmax.plan(&["--fidelity", "fast"]);
    for fidelity in ["exact", "fast"] {
        let options = ["--fidelity", fidelity];
        assert_eq!(softmax.given(&source, &options), source);
    }
    assert_eq!(softmax.given(&better, &["--fidelity", "fast"]), better);
}

#[test]
fn an_illegal_edit_is_refused_with_the_kernel_the_value_and_the_reason() {
    let geglu = Planned::of("geglu");
    let plan = geglu.plan(&[]);
    let edited = |from: &str, to: &str| {
        let edited = plan.replacen(from, to, 1);
        assert_ne!(edited, plan, "{from}");
        geglu.refused(&edited, &[])
    };
    assert_eq!(
        edited("read %x, %gate, %up\n", "read %x, %gate\n"),
        "fn f, kernel k.gated, %up: it is used, and neither read nor computed before"
    );
    assert_eq!(
        edited("read %down, %gated\n", "read %down, %gated, %g\n"),
        "fn f, kernel k.y, %g: it is read before a kernel writes it"
    );
    assert_eq!(
        edited("template dot", "template attention"),
        "fn f, kernel k.gated, %gated: the region follows another schedule template"
    );
}

#[test]
fn values_may_not_be_edited() {
    let geglu = Planned::of("geglu");
    let plan = geglu.plan(&[]);
    let edited = |from: &str, to: &str| {
        let edited = plan.replace(from, to);
        assert_ne!(edited, plan, "{from}");
        geglu.refused(&edited, &[])
    };
    let refusal = |difference: &str| {
        format!("not a plan of this graph: {difference}; kernels may be edited, values may not")
    };
    assert_eq!(
        edited("values = [0.5]", "values = [0.25]"),
        refusal("fn f, %half: it is computed otherwise")
    );
    assert_eq!(
        edited("%half", "%quarter"),
        refusal("fn f: expected %half, found %quarter")
    );
    assert_eq!(
        edited("dim R in 1..4", "dim R in 1..5"),
        refusal("the symbols differ")
    );
    assert_eq!(
        edited("module geglu", "module glu"),
        refusal("expected module geglu, found glu")
    );
    let other = Planned::of("softmax").plan(&[]);
    assert!(
        geglu
            .refused(&other, &[])
            .starts_with("not a plan of this graph: "),
        "{other}"
    );
}

#[test]
fn a_plan_is_of_one_fidelity_where_that_changes_what_is_kept() {
    let dir = folder();
    let path = dir.path().join("tiny.plan");
    let tiny = tiny();
    let opt = ["opt", &tiny, "--until", "plan", "--fidelity", "fast", "-o"];
    says(&[&opt[..], &[text(&path)]].concat());
    let run = ["run", &tiny, "--temperature", "0", "--plan", text(&path)];
    assert_eq!(says(&[&run[..], &[QUESTION]].concat()), ANSWER);
    let exact = refused(2, &[&run[..], &["--fidelity", "exact", QUESTION]].concat());
    let difference = "%keys: expected f32[1, 576, 2, 32], found bf16[1, 576, 2, 32]";
    assert!(exact.contains(difference), "{exact}");
}

#[test]
fn what_cannot_be_used_is_refused() {
    let tiny = tiny();
    let dir = folder();
    let plan = dir.path().join("tiny.plan");
    let plan = text(&plan);
    says(&["opt", &tiny, "--until", "plan", "-o", plan]);
    let cases: [(&[&str], &str); 6] = [
        (
            &["opt", &tiny, "--no-rule", "*"],
            "--no-rule: no passes run before stage graph, give --until algebra or plan",
        ),
        (
            &["opt", plan, "--extract", "none"],
            "--extract: the kernels of a plan's text are chosen already",
        ),
        (
            &["run", &tiny, "--growth", "g.json", QUESTION],
            "--growth: a program that is found in the cache is not searched for again, give it to compile or opt",
        ),
        (
            &[
                "run",
                &tiny,
                "--backend",
                "interp",
                "--extract",
                "none",
                QUESTION,
            ],
            "--extract: the interpreter plans nothing, give --backend cpu",
        ),
        (
            &["verify", &tiny, "--plan", "tiny.plan"],
            "--plan: verify's step gives out the residual stream too, and no plan that opt writes is of it",
        ),
        (
            &["opt", &tiny, "--until", "plan", "--plan", "no.plan"],
            "no.plan: No such file or directory (os error 2)",
        ),
    ];
    for (args, expected) in cases {
        let message = refused(2, args);
        let last = message.lines().last().expect("a line");
        assert_eq!(last, format!("error: {expected}"));
    }
}
