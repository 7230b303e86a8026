//! A module and rules in, the module after the algebra stage out: the files of `algebra/`.

mod common;

use ir::text;
use lapidary_passes::pipeline::{self, Options, Stage};
use lapidary_passes::rules::RuleSet;

fn outcome(set: RuleSet, module: &str) -> String {
    let module = text::parse(module).unwrap_or_else(|e| panic!("{e}"));
    ir::verify(&module).unwrap_or_else(|e| panic!("{e}"));
    let (better, reports) = pipeline::algebra(&module, &Options::new(set));
    let mut out = text::print(&better);
    ir::verify(&better).unwrap_or_else(|e| panic!("{e}\n{out}"));
    for report in reports {
        out.push_str(&format!("\n// {report}\n"));
        for (rule, times) in &report.fired {
            out.push_str(&format!("// {rule}: {times}\n"));
        }
    }
    out
}

#[test]
fn every_file_comes_out_as_it_says() {
    common::every_file_comes_out_as_it_says("algebra", outcome);
}

#[test]
fn stages_are_found_by_their_names_in_order() {
    let names = Stage::ALL.map(Stage::name);
    assert_eq!(names, ["graph", "algebra", "plan"]);
    assert_eq!(names.map(Stage::from_name), Stage::ALL.map(Some));
    assert_eq!(Stage::from_name("graphs"), None);
}
