//! Every stage computes the same model.

use lapidary_tests::executors::{exact_algebra, exact_plan};
use lapidary_tests::feed::feed_prompt;
use lapidary_tests::golden::{max_error, recorded};
use models::{Interpreted, gemma2};
use passes::pipeline::{self, Options, PlanOptions};
use passes::rules::RuleSet;

#[test]
fn exact_rules_and_plans_keep_every_bit_and_other_rules_the_bound() {
    for golden in recorded() {
        let (checkpoint, tokens) = (&golden.checkpoint, &golden.golden.tokens);
        let chunk = tokens.len().div_ceil(2);
        let dtype_of = |name: &str| checkpoint.tensor(name).expect("a weight").dtype;
        let module = gemma2(checkpoint.config(), dtype_of, &golden.shape(chunk));
        let module = module.unwrap_or_else(|error| panic!("{error}"));
        let logits = |module| {
            let model = Interpreted::<f32>::of_module(module, checkpoint, 2);
            let mut model = model.unwrap_or_else(|error| panic!("{error}"));
            feed_prompt(&mut model, tokens, chunk)
        };
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();

        let exact = exact_algebra(&module);
        assert_ne!(exact, module, "no rule fired in {}", golden.name());
        let source = logits(module.clone());
        assert_eq!(bits(&logits(exact)), bits(&source), "{}", golden.name());
        let planned = bits(&logits(exact_plan(&module)));
        assert_eq!(planned, bits(&source), "{}", golden.name());

        let (fast, _) = pipeline::algebra(&module, &Options::new(RuleSet::shipped()));
        let (plan, _) = pipeline::plan(&fast, &PlanOptions::default());
        let fast = logits(fast);
        let planned = bits(&logits(passes::plan::lower(&plan).module));
        assert_eq!(planned, bits(&fast), "{}", golden.name());
        assert_ne!(bits(&fast), bits(&source), "{}", golden.name());
        let error = max_error(&fast, &golden.golden.logits_f64);
        assert!(error <= golden.bound(), "{}: {error:e}", golden.name());
    }
}
