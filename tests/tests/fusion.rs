//! Graphs that are not Gemma 2: each file says into how many kernels its functions are fused, and why. Their
//! bits are checked with the op suite's.

use std::collections::BTreeMap;

use lapidary_tests::executors::exact_algebra;
use lapidary_tests::suite::{Case, cases};
use passes::pipeline::{self, PlanOptions};
use passes::plan;

/// What the lines `// kernels FUNCTION = COUNT` of a file state.
fn stated(case: &Case) -> BTreeMap<String, usize> {
    let lines = case.text().lines();
    let lines = lines.filter_map(|line| line.strip_prefix("// kernels "));
    let stated = lines.map(|line| {
        let (function, count) = line.split_once(" = ").expect("FUNCTION = COUNT");
        (function.into(), count.parse().expect("a count"))
    });
    stated.collect()
}

#[test]
fn every_graph_is_fused_into_as_many_kernels_as_its_file_says() {
    let cases = cases("fusion").unwrap_or_else(|error| panic!("{error}"));
    assert!(!cases.is_empty());
    for case in cases {
        let module = exact_algebra(&case.module);
        let (plan, _) = pipeline::plan(&module, &PlanOptions::default());
        plan::verify(&plan).unwrap_or_else(|error| panic!("{}: {error}", case.path.display()));
        let functions = module.functions.iter().zip(&plan.functions);
        let found = functions.map(|(f, planned)| (f.name.clone(), planned.kernels.len()));
        assert_eq!(
            found.collect::<BTreeMap<_, _>>(),
            stated(&case),
            "{}",
            case.path.display()
        );
    }
}
