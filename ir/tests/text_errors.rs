//! What is said of text that is no module, and that nothing read as text makes the reader panic.

use lapidary_ir::text::{TextError, parse, print};
use lapidary_ir::{Module, verify};
use proptest::prelude::*;

const EVERY_OP: &str = include_str!("every_op.lir");

const SECTION: &str =
    "'dim', 'where', 'weight', 'prepared', 'state', 'fn', 'prepare' or one 'step'";

/// Broken texts, and where and why they are refused; `SECTION` stands for the list of sections.
#[rustfmt::skip]
const TABLE: &[[&str; 2]] = &[
    ["", "line 1, column 1: expected 'module', found the end of the text"],
    ["modul m", "line 1, column 1: expected 'module', found 'modul'"],
    ["module %m", "line 1, column 8: expected the module's name, found '%m'"],
    ["module m", "line 1, column 9: expected SECTION, found the end of the text"],
    ["module m\ndimension R", "line 2, column 1: expected SECTION, found 'dimension'"],
    ["module m step() { return }\nstep() { return }", "line 2, column 1: expected SECTION, found 'step'"],
    ["module m\n\n  # a comment", "line 3, column 3: expected a token, found '#'"],
    ["module m\nstep(%x: f32[%]) { return }", "line 2, column 14: expected a name behind '%', found none"],
    ["module m /* é */", "line 1, column 13: expected a token, found 'é'"],
    ["module m // é\n/", "line 2, column 1: expected SECTION, found '/'"],
    ["module m\ndim R 1..8", "line 2, column 7: expected 'in', found '1'"],
    ["module m\ndim @R in 1..8", "line 2, column 5: expected a symbol, found '@R'"],
    ["module m\ndim R in -1..8", "line 2, column 10: expected an integer below 2^63, found '-'"],
    ["module m\ndim R in 1.5..8", "line 2, column 10: expected an integer below 2^63, found '1.5'"],
    ["module m\ndim R in 0..9223372036854775808",
     "line 2, column 13: expected an integer below 2^63, found '9223372036854775808'"],
    ["module m\nwhere R < 3", "line 2, column 9: expected a token, found '<'"],
    ["module m\nwhere R * * 2 <= 3", "line 2, column 11: expected a dim: an integer or a symbol, found '*'"],
    ["module m\nweight $w: f32[2]", "line 2, column 8: expected a weight, '@name', found '$w'"],
    ["module m\nstate k: f32[2]", "line 2, column 7: expected a state, '$name', found 'k'"],
    ["module m\nweight @w f32[2]", "line 2, column 11: expected ':', found 'f32'"],
    ["module m\nweight @w: f64[2]",
     "line 2, column 12: expected a dtype (f32, bf16, f16, i32, bool, q8_0, q4_0), found 'f64'"],
    ["module m\nweight @w: f32[2 3]", "line 2, column 18: expected ',' or ']', found '3'"],
    ["module m\nweight @w: f32[2,]", "line 2, column 18: expected a dim: an integer or a symbol, found ']'"],
    ["module m\nweight @w: f32[R + ]", "line 2, column 20: expected a dim: an integer or a symbol, found ']'"],
    ["module m\nfn f(x: f32[2]) {", "line 2, column 6: expected a value, '%name', found 'x'"],
    ["module m\nfn f() {\n  %y: f32[2] = fma()", "line 3, column 16: expected an op, found 'fma'"],
    ["module m\nfn f() {\n  %y: f32[2] = neg(%x)",
     "line 3, column 20: expected a value made above, '%name', found '%x'"],
    ["module m\nfn f() {\n  %y: f32[2] = neg(%y)",
     "line 3, column 20: expected a value made above, '%name', found '%y'"],
    ["module m\nfn f(%x: f32[2]) {\n  %y: f32[] = reduce_sum(%x)\n  return %y }",
     "line 4, column 3: expected '{', found 'return'"],
    ["module m\nfn f(%x: f32[2]) {\n  %y: f32[] = reduce_sum(%x) {axis = 0}",
     "line 3, column 31: expected attribute 'axes', found 'axis'"],
    ["module m\nfn f(%x: f32[2]) {\n  %y: f32[] = reduce_sum(%x) {axes = 0}",
     "line 3, column 38: expected '[', found '0'"],
    ["module m\nfn f(%x: f32[2]) {\n  %y: f32[] = reduce_sum(%x) {axes = [-1]}",
     "line 3, column 39: expected an axis, found '-'"],
    ["module m\nfn f(%x: f32[2]) {\n  %y: f32[1] = slice(%x) {axis = 0, stop = 1, start = 0}",
     "line 3, column 37: expected attribute 'start', found 'stop'"],
    ["module m\nfn f() {\n  %y: f32[1] = const() {to = f32, shape = [1], values = [infinity]}",
     "line 3, column 58: expected a number, found 'infinity'"],
    ["module m\nfn f(%x: f32[2]) {\n  %y: f32[2] = neg(%x) {}", "line 3, column 24: expected a value, '%name', or 'return', found '{'"],
    ["module m\nfn f() {", "line 2, column 9: expected a value, '%name', or 'return', found the end of the text"],
    ["module m\nfn f(%x: f32[2]) { return %x %x }", "line 2, column 30: expected ',' or '}', found '%x'"],
    ["module m\nfn f() { return }\nstep() { g() return }", "line 3, column 10: expected a function defined above, found 'g'"],
    ["module m\nfn f() { return }\nstep() { %y: f32[2] f() return }", "line 3, column 21: expected ',' or '=', found 'f'"],
    ["module m\nfn f() { return }\nstep() { = f() return }",
     "line 3, column 10: expected a call: results, '=', a function, found '='"],
    ["module m\nfn f(%x: f32[2]) { return }\nstep() { f(@w) return }",
     "line 3, column 12: expected a '%value', '@weight' or '$state' declared above, found '@w'"],
    ["module m\nstep() { return %x }", "line 2, column 17: expected a value made above, '%name', found '%x'"],
    ["module m\nstep() { return", "line 2, column 16: expected a value made above, '%name', found the end of the text"],
];

fn refusal(text: &str) -> TextError {
    parse(text).expect_err("the text is no module")
}

#[test]
fn an_error_gives_line_column_what_was_expected_and_what_was_found() {
    for [text, message] in TABLE {
        let expected = message.replace("SECTION", SECTION);
        assert_eq!(refusal(text).to_string(), expected, "{text}");
    }
}

#[test]
fn an_error_spans_the_bytes_of_what_was_found() {
    for [text, _] in TABLE {
        let TextError { span, found, .. } = refusal(text);
        let spanned = text.get(span.0..span.0 + span.1);
        let spanned = spanned.expect("a span lies in the text, between characters");
        let stands = found == format!("'{spanned}'");
        assert!(
            stands || found == "none" || (spanned.is_empty() && found == "the end of the text"),
            "{text}: {found} at '{spanned}'"
        );
    }
}

#[test]
fn columns_count_characters_and_spans_count_bytes() {
    let error = refusal("module m // é\n/*é*/");
    assert_eq!((error.line, error.column, error.span), (2, 3, (17, 2)));
    let error = refusal("module m \u{2003}\u{2003}#");
    assert_eq!((error.line, error.column, error.span), (1, 12, (15, 1)));
}

#[test]
fn an_error_about_a_long_token_stays_short() {
    for token in [
        "9".repeat(1 << 20),
        "x".repeat(1 << 20),
        format!("%{}", "x".repeat(1 << 20)),
    ] {
        let message = refusal(&format!("module m dim R in {token}")).to_string();
        assert!(message.len() < 200, "{} bytes", message.len());
        assert!(message.starts_with("line 1, column 19: expected an integer below 2^63, found '"));
    }
}

#[test]
fn nesting_that_the_grammar_lacks_ends_at_once() {
    let many = |text: &str| text.repeat(1 << 20);
    let message = |text: &str| refusal(text).to_string();
    assert_eq!(
        message(&many("[")),
        "line 1, column 1: expected 'module', found '['"
    );
    assert_eq!(
        message(&format!("module m weight @w: f32{}", many("["))),
        "line 1, column 25: expected a dim: an integer or a symbol, found '['"
    );
    assert_eq!(
        message(&format!("module m where {}", many("-"))),
        "line 1, column 17: expected a dim: an integer or a symbol, found '-'"
    );
    assert_eq!(
        message(&format!("module m step{}", many("("))),
        "line 1, column 15: expected a value, '%name', found '('"
    );
}

/// The module whose one `where` line begins with this dim.
fn where_at_most_3(dim: &str) -> Module {
    parse(&format!("module m where {dim} <= 3 step() {{ return }}")).expect("the text is a module")
}

#[test]
fn a_dim_of_very_many_terms_or_factors_is_read_without_delay() {
    let names: Vec<String> = (0..50_000).map(|i| format!("S{i}")).collect();
    let sum = where_at_most_3(&names.join(" + "));
    assert_eq!(sum.dims.known[0].0.syms().count(), 50_000);
    let product = where_at_most_3(&vec!["R"; 50_000].join(" * "));
    assert_eq!(product.dims.known[0].0.syms().count(), 50_000);
    let cancelled = where_at_most_3(&format!("{} - {}", names.join(" + "), names.join(" - ")));
    assert_eq!(cancelled.dims.known[0].0.to_string(), "0");
}

/// A text that is read, verified and printed without a panic; what passes reads back.
fn survives(text: &str) {
    if let Ok(module) = parse(text)
        && verify(&module).is_ok()
    {
        let printed = print(&module);
        assert_eq!(parse(&printed).as_ref(), Ok(&module), "{text}\n{printed}");
    }
}

/// Tokens that a mutation puts in.
const TOKENS: [&str; 43] = [
    "module",
    "dim",
    "where",
    "weight",
    "prepared",
    "state",
    "fn",
    "prepare",
    "step",
    "return",
    "in",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    "+",
    "-",
    "*",
    "..",
    "<=",
    "%x",
    "%y",
    "@w",
    "$keys",
    "R",
    "N",
    "f32",
    "bf16",
    "q8_0",
    "0",
    "1",
    "9223372036854775807",
    "1e999",
    "nan",
    "inf",
    "concat",
    "neg",
    "slice",
];

/// What kind of word this is, with the mark behind it.
fn kind(word: &str) -> (Option<char>, Option<char>) {
    let first = word.chars().next().map(|c| match c {
        '0'..='9' => '0',
        'a'..='z' | 'A'..='Z' => 'a',
        other => other,
    });
    (first, word.chars().last().filter(|c| !c.is_alphanumeric()))
}

/// A valid text with words cut out, doubled, put in, or replaced by others, mostly of the same kind.
fn mutated() -> impl Strategy<Value = String> {
    let index = || any::<prop::sample::Index>();
    let edit = (
        index(),
        index(),
        0usize..4,
        0usize..12,
        prop::sample::select(&TOKENS[..]),
    );
    prop::collection::vec(edit, 1..4).prop_map(|edits| {
        let mut words: Vec<&str> = EVERY_OP.split(' ').collect();
        for (at, other, length, change, token) in edits {
            let at = at.index(words.len());
            let piece: Vec<&str> = words[at..].iter().take(length).copied().collect();
            let end = at + piece.len();
            match change {
                0 => drop(words.drain(at..end)),
                1 => drop(words.splice(at..at, piece)),
                2 => drop(words.splice(at..end, [token])),
                _ => {
                    let same = |w: &&str| kind(w) == kind(words[at]);
                    let like: Vec<&str> = words.iter().copied().filter(same).collect();
                    words[at] = like[other.index(like.len())];
                }
            }
            words.push("");
        }
        words.join(" ")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_tokens_are_read_or_refused(tokens in prop::collection::vec(prop::sample::select(&TOKENS[..]), 0..60)) {
        survives(&format!("module m {}", tokens.join(" ")));
    }

    #[test]
    fn a_mutated_text_is_read_or_refused(text in mutated()) {
        survives(&text);
    }

    #[test]
    fn a_text_cut_anywhere_is_refused_at_its_end(at in 0..EVERY_OP.len()) {
        prop_assume!(EVERY_OP[at..].trim().len() > 1);
        let error = refusal(&EVERY_OP[..at]);
        prop_assert!(error.span.0 + error.span.1 <= at);
    }
}
