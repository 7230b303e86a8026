//! Chains of rules: what they say, that all of them replay, and that none that is wrong does.
//!
//! The files of `explain/` expect the chains of every value that rules made; their form is in `common`.

mod common;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use common::{files, parts, rules};
use ir::{Attr, Dims, Function, FunctionBuilder, Literal, Module, Op, Type, text};
use lapidary_passes::explain::{
    Chain, First, Origin, Provenance, Reason, Step, TermId, Terms, provenance, replay,
};
use lapidary_passes::pipeline::{self, Options};
use lapidary_passes::rules::RuleSet;

/// The functions of a module, what the rules make of each, and where its values come from.
fn explained(module: &Module, rules: &RuleSet) -> Vec<(Function, Provenance)> {
    let options = Options::new(rules.clone());
    let (better, _) = pipeline::algebra(module, &options);
    let pairs = module.functions.iter().zip(better.functions);
    let each = pairs.map(|(source, target)| {
        let found = provenance(source, &target, &module.dims, rules, &options.limits);
        (target, found)
    });
    each.collect()
}

fn outcome(set: RuleSet, module: &str) -> String {
    let module = text::parse(module).unwrap_or_else(|e| panic!("{e}"));
    let mut out = String::new();
    for (source, (target, found)) in module.functions.iter().zip(explained(&module, &set)) {
        writeln!(out, "fn {}", target.name).expect("a string takes it");
        for (value, origin) in target.values.iter().zip(&found.origins) {
            let told = match origin {
                Origin::Param | Origin::Source(_) => continue,
                Origin::Unknown => "unknown\n".to_string(),
                Origin::Rules(chain) => told(source, &target, &found, chain, &set),
            };
            write!(out, "%{}: {told}", value.name).expect("a string takes it");
        }
    }
    out
}

fn told(
    source: &Function,
    target: &Function,
    found: &Provenance,
    chain: &Chain,
    rules: &RuleSet,
) -> String {
    assert_eq!(chain.checked, Ok(()));
    let was = match chain.from {
        First::Source(value) => format!("the source's %{}", source.values[value.0].name),
        First::Part { of, step } => {
            format!(
                "a part of %{} after step {}",
                target.values[of.0].name,
                step + 1
            )
        }
    };
    let mut out = format!("{was}, {}\n", found.text(chain.first));
    for (step, text) in chain.steps.iter().zip(found.steps(chain, rules)) {
        let way = if step.forward { "" } else { ", backwards" };
        writeln!(
            out,
            "  {} at {:?}{way}\n    {} => {}\n    {}",
            step.rule, step.position, text.before, text.after, text.whole
        )
        .expect("a string takes it");
    }
    out
}

#[test]
fn every_file_comes_out_as_it_says() {
    common::every_file_comes_out_as_it_says("explain", outcome);
}

/// Checks that every value of what the rules make of a module is explained, and every chain replays; how
/// many chains there were.
fn all_replay(module: &Module, rules: &RuleSet) -> usize {
    let mut chains = 0;
    for (target, found) in explained(module, rules) {
        for (value, origin) in target.values.iter().zip(&found.origins) {
            match origin {
                Origin::Unknown => panic!("fn {}, %{}: no origin", target.name, value.name),
                Origin::Rules(chain) => {
                    assert_eq!(chain.checked, Ok(()), "fn {}, %{}", target.name, value.name);
                    chains += 1;
                }
                Origin::Param | Origin::Source(_) => {}
            }
        }
    }
    chains
}

#[test]
fn every_chain_of_gemma_2_replays_in_both_fidelities() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gemma2.lir");
    let module = fs::read_to_string(file).expect("it can be read");
    let module = text::parse(&module).unwrap_or_else(|e| panic!("{e}"));
    assert!(all_replay(&module, &RuleSet::shipped().exact()) > 5);
    assert!(all_replay(&module, &RuleSet::shipped()) > 5);
}

#[test]
fn every_chain_of_the_algebra_tests_replays() {
    for path in files("algebra") {
        let text = fs::read_to_string(&path).expect("it can be read");
        let Some([set, module, _]) = parts(&text) else {
            panic!("{}: a part is missing", path.display());
        };
        let module = text::parse(module).unwrap_or_else(|e| panic!("{e}"));
        all_replay(&module, &rules(set));
    }
}

#[test]
fn a_function_that_the_rules_do_not_lead_to_is_not_explained() {
    let dims = Dims::default();
    let one = |op: Op| {
        let b = FunctionBuilder::new("f", &dims);
        let x = b.param("x", Type::new(ir::DType::F32, [4usize]));
        let y = b.op(op, &[x], vec![]);
        b.finish(&[y]).expect("it is well-typed")
    };
    let rules = RuleSet::shipped();
    let limits = Options::new(rules.clone()).limits;
    let found = provenance(&one(Op::Neg), &one(Op::Exp), &dims, &rules, &limits);
    assert!(matches!(
        found.origins[..],
        [Origin::Param, Origin::Unknown]
    ));
}

/// `x: f32[2, 2]`, and terms over it.
struct Bench {
    terms: Terms,
    x: TermId,
}

impl Bench {
    fn new() -> Bench {
        let dims = Dims::default();
        let b = FunctionBuilder::new("f", &dims);
        let x = b.param("x", Type::new(ir::DType::F32, [2usize, 2]));
        let function = b.finish(&[x]).expect("it is well-typed");
        let terms = Terms::new(&function, &dims);
        let x = terms.param(0).expect("there is a parameter");
        Bench { terms, x }
    }

    fn op(&mut self, op: Op, operands: &[TermId], attrs: Vec<Attr>) -> TermId {
        let made = self.terms.op(op, attrs, operands.to_vec());
        made.expect("it is well-typed")
    }

    fn number(&mut self, value: f64) -> TermId {
        let attrs = vec![
            Attr::To(ir::DType::F32),
            Attr::Dims(vec![2i64.into(), 2i64.into()]),
            Attr::Literals(vec![Literal(value)]),
        ];
        self.op(Op::Const, &[], attrs)
    }

    fn replay(&mut self, from: TermId, steps: &[Step], to: TermId) -> Result<(), Reason> {
        let replayed = replay(&mut self.terms, &RuleSet::shipped(), from, steps, to);
        replayed.map(|_| ()).map_err(|refusal| refusal.reason)
    }
}

fn step(rule: &str, forward: bool, position: &[usize], before: TermId, after: TermId) -> Step {
    Step {
        rule: rule.into(),
        forward,
        position: position.to_vec(),
        before,
        after,
    }
}

#[test]
fn a_step_replays_forwards_and_backwards_at_the_root_and_below() {
    let mut b = Bench::new();
    let x = b.x;
    let inner = b.op(Op::Neg, &[x], vec![]);
    let twice = b.op(Op::Neg, &[inner], vec![]);
    let (of_twice, of_x) = (b.op(Op::Exp, &[twice], vec![]), b.op(Op::Exp, &[x], vec![]));
    let there = step("neg-of-neg", true, &[], twice, x);
    assert_eq!(b.replay(twice, &[there], x), Ok(()));
    let below = step("neg-of-neg", true, &[0], twice, x);
    assert_eq!(b.replay(of_twice, &[below], of_x), Ok(()));
    let back = step("neg-of-neg", false, &[0], x, twice);
    assert_eq!(b.replay(of_x, &[back], of_twice), Ok(()));
}

#[test]
fn a_forged_step_is_refused_with_its_reason() {
    let mut b = Bench::new();
    let x = b.x;
    let neg = b.op(Op::Neg, &[x], vec![]);
    let twice = b.op(Op::Neg, &[neg], vec![]);
    let exp = b.op(Op::Exp, &[x], vec![]);
    let turned = b.op(Op::Transpose, &[x], vec![Attr::Axes(vec![1, 0])]);
    let (three, third) = (b.number(3.0), b.number(1.0 / 3.0));
    let (divided, multiplied) = (
        b.op(Op::Div, &[x, three], vec![]),
        b.op(Op::Mul, &[x, third], vec![]),
    );
    let larger = b.op(Op::Max, &[x, neg], vec![]);
    let (six, seven) = (b.number(6.0), b.number(7.0));
    let sum = b.op(Op::Add, &[three, three], vec![]);
    let steps = |steps: &[Step]| steps.to_vec();
    for (reason, from, chain, to) in [
        // A rule that nobody wrote.
        (
            Reason::NoRule,
            twice,
            steps(&[step("neg-is-nothing", true, &[], neg, x)]),
            x,
        ),
        // A position that is not there, and a term that does not stand at it.
        (
            Reason::Position,
            neg,
            steps(&[step("neg-of-neg", true, &[1], twice, x)]),
            x,
        ),
        (
            Reason::Position,
            exp,
            steps(&[step("neg-of-neg", true, &[], twice, x)]),
            x,
        ),
        // A left side that is none, and a variable that would stand for two things.
        (
            Reason::Match,
            neg,
            steps(&[step("neg-of-neg", true, &[], neg, x)]),
            x,
        ),
        (
            Reason::Match,
            larger,
            steps(&[step("max-of-same", true, &[], larger, x)]),
            x,
        ),
        // Guards: axes that are not in order, a divisor that is no power of two.
        (
            Reason::Guard,
            turned,
            steps(&[step("transpose-identity", true, &[], turned, x)]),
            x,
        ),
        (
            Reason::Guard,
            divided,
            steps(&[step("div-by-power-of-two", true, &[], divided, multiplied)]),
            multiplied,
        ),
        // Another right side, and a step the wrong way round.
        (
            Reason::Replacement,
            twice,
            steps(&[step("neg-of-neg", true, &[], twice, exp)]),
            exp,
        ),
        (
            Reason::Match,
            twice,
            steps(&[step("neg-of-neg", false, &[], twice, x)]),
            x,
        ),
        // 3 + 3 is 6; what is not constant cannot be folded.
        (
            Reason::Constant,
            sum,
            steps(&[step("fold-constants", true, &[], sum, seven)]),
            seven,
        ),
        (
            Reason::Match,
            neg,
            steps(&[step("fold-constants", true, &[], neg, seven)]),
            seven,
        ),
        // A chain that stops short.
        (Reason::End, twice, steps(&[]), x),
        (
            Reason::End,
            sum,
            steps(&[step("fold-constants", true, &[], sum, six)]),
            seven,
        ),
    ] {
        // Some of these start elsewhere than their step says.
        let from = match reason {
            Reason::NoRule => chain[0].before,
            _ => from,
        };
        assert_eq!(b.replay(from, &chain, to), Err(reason), "{chain:?}");
    }
    let folded = step("fold-constants", true, &[], sum, six);
    assert_eq!(b.replay(sum, &[folded], six), Ok(()));
}

#[test]
fn a_step_that_was_left_out_of_a_real_chain_is_missed() {
    let text = "module m
        fn f(%x: f32[4]) {
          %0: f32[4] = const() {to = f32, shape = [4], values = [4.0]}
          %1: f32[4] = neg(%x)
          %2: f32[4] = neg(%1)
          %3: f32[4] = exp(%2)
          %y: f32[4] = div(%3, %0)
          %4: f32[4] = neg(%y)
          %z: f32[4] = neg(%4)
          return %z
        }
        step() {
          return
        }";
    let module = text::parse(text).unwrap_or_else(|e| panic!("{e}"));
    let rules = RuleSet::shipped();
    let mut seen = 0;
    for (_, found) in explained(&module, &rules) {
        for origin in &found.origins {
            let Origin::Rules(chain) = origin else {
                continue;
            };
            let mut terms = found.terms.clone();
            let last = chain.wholes.last().copied().unwrap_or(chain.first);
            for at in 0..chain.steps.len() {
                let mut steps = chain.steps.clone();
                steps.remove(at);
                assert!(replay(&mut terms, &rules, chain.first, &steps, last).is_err());
                seen += 1;
            }
            let whole = replay(&mut terms, &rules, chain.first, &chain.steps, last);
            assert_eq!(whole, Ok(chain.wholes.clone()));
        }
    }
    assert!(seen > 0);
}

#[test]
fn a_function_that_is_thousands_of_ops_deep_is_explained() {
    let dims = Dims::default();
    let b = FunctionBuilder::new("f", &dims);
    let mut x = b.param("x", Type::new(ir::DType::F32, [4usize]));
    for _ in 0..3000 {
        x = b.op(Op::Exp, &[x], vec![]);
    }
    let inner = b.op(Op::Neg, &[x], vec![]);
    let outer = b.op(Op::Neg, &[inner], vec![]);
    let y = b.op(Op::Tanh, &[outer], vec![]);
    let module = Module {
        functions: vec![b.finish(&[y]).expect("it is well-typed")],
        ..Module::default()
    };
    assert_eq!(all_replay(&module, &RuleSet::shipped()), 1);
}
