//! `lapidary explain -o html`: the page in Chromium, which shows what the JSON says. Without Chromium, nothing is tested.

mod common;

use std::fs;

use common::browser::Browser;
use common::{folder, says, text, tiny};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Two kernels, and a value that a rule makes.
const GRAPH: &str = "module scaled

dim R in 1..8

weight @w: f32[6, 4]

fn f(%x: f32[R, 4], %w: f32[6, 4]) {
  %0: f32[R, 4] = const() {to = f32, shape = [R, 4], values = [16.0]}
  %1: f32[R, 4] = div(%x, %0)
  %2: f32[R] = reduce_sum(%1) {axes = [1]}
  %y: f32[R, 6] = dot(%1, %w) {a_batch = [], b_batch = [], a_contract = [1], b_contract = [1]}
  return %2, %y
}

step(%x: f32[R, 4]) {
  %s: f32[R], %y: f32[R, 6] = f(%x, @w)
  return %s, %y
}
";

/// What a page says of an element's figures: the field, the number behind it, and the text for the eye.
const FIGURES: &str = "(root) => [...root.querySelectorAll('.figure')].map((figure) => {
    const [attribute] = figure.getAttributeNames().filter((name) => name.startsWith('data-'));
    return [attribute.slice(5).replaceAll('-', '_'), figure.getAttribute(attribute), figure.textContent];
})";

/// A page in its file.
struct Page {
    dir: TempDir,
    html: String,
}

impl Page {
    fn of(args: &[&str]) -> Page {
        let html = says(&[&["explain", "-o", "html"], args].concat());
        let dir = folder();
        fs::write(dir.path().join("page.html"), &html).expect("it can be written");
        Page { dir, html }
    }

    fn open(&self) -> Option<Browser> {
        Browser::open(&self.url())
    }

    fn url(&self) -> String {
        format!("file://{}/page.html", self.dir.path().display())
    }

    /// The report that the page carries.
    fn report(&self) -> Value {
        let (_, rest) = self.html.split_once("id=\"report\">").expect("a report");
        let (report, _) = rest.split_once("</script>").expect("its end");
        serde_json::from_str(report).expect("it is JSON")
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn string(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// The figures of the element that a selector names.
fn figures(browser: &mut Browser, selector: &str) -> Vec<Value> {
    let selector = json!(selector);
    let shown = browser.value(&format!("({FIGURES})(document.querySelector({selector}))"));
    list(&shown).to_vec()
}

/// Checks figures against the fields of what they are said of, and that no field of these is left out.
fn check(shown: &[Value], of: &Value, fields: &[&str]) {
    for field in fields {
        assert!(shown.iter().any(|f| f[0] == *field), "{field} of {of}");
    }
    for figure in shown {
        let (field, exact) = (string(&figure[0]), number(&of[string(&figure[0])]));
        let carried: f64 = string(&figure[1]).parse().expect("a number");
        assert_eq!(carried, exact, "{field}");
        assert_rounded(string(&figure[2]), exact);
    }
}

/// Checks that a text such as `5.42 µs` is a number rounded to its last digit.
fn assert_rounded(text: &str, exact: f64) {
    let (digits, unit) = text.split_once(' ').unwrap_or((text, ""));
    let scale = match unit {
        "" | "s" | "B" | "flop" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        "ns" => 1e-9,
        "kB" | "kflop" => 1e3,
        "MB" | "Mflop" => 1e6,
        "GB" | "Gflop" => 1e9,
        _ => panic!("{text}: what unit is this?"),
    };
    let decimals = digits.split_once('.').map_or(0, |(_, after)| after.len());
    let shown: f64 = digits.parse().expect("a number");
    let most = 0.5001 * 10f64.powi(-(decimals as i32));
    assert!((shown - exact / scale).abs() <= most, "{text} for {exact}");
}

/// Clicks through every kernel of every function and checks all numbers that the page shows against a report.
fn check_numbers(browser: &mut Browser, report: &Value) {
    check(
        &figures(browser, "#step"),
        &report["step"],
        &["predicted_s", "launches", "bytes", "flops"],
    );
    for function in list(&report["functions"]) {
        let name = string(&function["name"]);
        browser.click(&format!("[data-function='{name}']"));
        let tab = figures(browser, &format!("[data-function='{name}']"));
        check(&tab, &function["step"], &[]);
        assert_eq!(tab.len(), 1);
        check(
            &figures(browser, "#after-count"),
            &function["call"],
            &["bytes"],
        );
        let drawn = browser
            .value("[...document.querySelectorAll('#after .kernel')].map((k) => k.dataset.kernel)");
        let kernels = list(&function["kernels"]);
        let named: Vec<&Value> = kernels.iter().map(|k| &k["name"]).collect();
        assert_eq!(json!(named), drawn);
        for kernel in kernels {
            check_kernel(browser, kernel);
        }
    }
}

/// Opens a kernel of the function that is shown and checks what is said of it.
fn check_kernel(browser: &mut Browser, kernel: &Value) {
    let name = string(&kernel["name"]);
    let mut all = vec!["predicted_s", "bytes", "flops"];
    if !kernel["measured_s"].is_null() {
        all.push("measured_s");
    }
    let on_box = figures(browser, &format!("#after [data-kernel='{name}']"));
    check(&on_box, kernel, &all);
    let ops = browser.value(&format!(
        "[...document.querySelectorAll(\"#after [data-kernel='{name}'] .chip\")]
            .map(({{ dataset }}) => ({{ op: dataset.op, count: Number(dataset.count) }}))"
    ));
    assert_eq!(ops, kernel["ops"]);

    browser.click(&format!("#strip [data-kernel='{name}']"));
    assert_eq!(
        browser.value("document.querySelector('#detail h2').textContent"),
        format!("kernel {name}")
    );
    all.extend(["memory_s", "arithmetic_s", "launch_s"]);
    check(&figures(browser, "#detail .time"), kernel, &all);
    assert_eq!(
        browser.value("document.querySelector('#detail [data-bound]').dataset.bound"),
        kernel["bound"]
    );
    for (kind, operands) in [("read", &kernel["reads"]), ("write", &kernel["writes"])] {
        let rows = browser.value(&format!(
            "[...document.querySelectorAll('#detail [data-{kind}]')].map((row) =>
                [row.dataset.{kind}, Number(row.querySelector('.figure').dataset.bytes)])"
        ));
        let said = list(operands)
            .iter()
            .map(|o| json!([o["name"], o["bytes"]]));
        assert_eq!(rows, said.collect::<Value>());
    }
    let values = browser.value(
        "[...document.querySelectorAll('#detail [data-computes]')].map((row) => row.dataset.computes)",
    );
    assert_eq!(values, kernel["values"]);
    let uses = browser.value(
        "Object.fromEntries([...document.querySelectorAll('#detail [data-use]')].map((row) => {
            const cost = (when) => {
                const cell = row.querySelector(`[data-${when}-chosen-s]`);
                const number = (name) => cell.hasAttribute(name) ? Number(cell.getAttribute(name)) : null;
                return { chosen_s: number(`data-${when}-chosen-s`), other_s: number(`data-${when}-other-s`) };
            };
            const choice = row.querySelector('.choice').textContent;
            return [row.dataset.use, { choice, planned: cost('planned'), here: cost('here') }];
        }))",
    );
    for said in list(&kernel["uses"]) {
        let shown = &uses[format!("{} {}", string(&said["consumer"]), said["operand"])];
        assert_eq!(shown["choice"], said["choice"]);
        for when in ["planned", "here"] {
            for cost in ["chosen_s", "other_s"] {
                assert_eq!(shown[when][cost].as_f64(), said[when][cost].as_f64());
            }
        }
    }
    assert_eq!(
        uses.as_object().map(|uses| uses.len()),
        Some(list(&kernel["uses"]).len())
    );
}

/// Whether an element has a class.
fn has_class(browser: &mut Browser, selector: &str, class: &str) -> bool {
    let (selector, class) = (json!(selector), json!(class));
    let has = browser.value(&format!(
        "document.querySelector({selector}).classList.contains({class})"
    ));
    has == json!(true)
}

#[test]
fn the_page_of_a_checkpoint_is_one_file_whose_numbers_are_those_of_the_json() {
    let page = Page::of(&[&tiny()]);
    let report = says(&["explain", "-o", "json", &tiny()]);
    let report: Value = serde_json::from_str(&report).expect("the answer is JSON");
    assert_eq!(page.report(), report);
    assert!(page.html.len() < 1_500_000, "{} bytes", page.html.len());

    let Some(mut browser) = page.open() else {
        return;
    };
    check_numbers(&mut browser, &report);
    assert_eq!(browser.requests(), [page.url()]);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn measured_times_are_shown_beside_the_predicted_ones() {
    let dir = folder();
    let graph = dir.path().join("scaled.lir");
    fs::write(&graph, GRAPH).expect("it can be written");
    let page = Page::of(&["--measure", text(&graph)]);
    let report = page.report();
    assert!(report["step"]["measured_s"].is_number());

    let Some(mut browser) = page.open() else {
        return;
    };
    let step = figures(&mut browser, "#step");
    check(&step, &report["step"], &["measured_s", "ratio"]);
    check_numbers(&mut browser, &report);
    for field in ["measured_s", "spread_s", "ratio"] {
        let figures = figures(&mut browser, "#detail .time");
        assert!(figures.iter().any(|f| f[0] == field), "{field}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_click_on_a_kernel_opens_its_explanation_and_a_value_leads_to_what_it_was() {
    let page = Page::of(&[&tiny()]);
    let report = page.report();
    let Some(mut browser) = page.open() else {
        return;
    };
    browser.click("[data-function='layer.full']");
    let functions = list(&report["functions"]);
    let function = functions.iter().find(|f| f["name"] == "layer.full");
    let function = function.expect("a checkpoint has full layers");
    let first = &function["kernels"][0];
    let name = string(&first["name"]);
    let hidden = "document.querySelector('#detail').hidden";
    assert_eq!(browser.value(hidden), json!(true));

    browser.click(&format!("#after [data-kernel='{name}'] .open"));
    let heading = "document.querySelector('#detail h2').textContent";
    assert_eq!(browser.value(heading), format!("kernel {name}"));
    assert_eq!(
        browser.value("location.hash"),
        format!("#layer.full/{name}")
    );
    let explanation = browser.value("document.querySelector('#detail').innerText");
    let values = list(&function["values"]);
    for value in list(&first["values"]) {
        let value = values.iter().find(|v| v["name"] == *value);
        let value = value.expect("a kernel's values are the function's");
        assert!(string(&explanation).contains(string(&value["text"])));
    }

    // A value that stands in the source under another name.
    let renamed = list(&first["values"]).iter().find_map(|name| {
        let value = values.iter().find(|v| v["name"] == *name)?;
        let origin = &value["origin"];
        let other = origin["kind"] == "source" && origin["value"] != *name;
        other.then(|| (string(name), string(&origin["value"])))
    });
    let (after, before) = renamed.expect("rules shift the numbers of what is unnamed");
    let row = format!("#detail [data-computes='{after}'] code > .value:first-child");
    browser.value(&format!(
        "document.querySelector(\"{row}\").scrollIntoView({{ block: 'center' }})"
    ));
    browser.click(&row);
    assert!(has_class(
        &mut browser,
        &format!("[data-source='{before}']"),
        "chosen"
    ));

    browser.key("ArrowRight");
    let second = string(&function["kernels"][1]["name"]);
    assert_eq!(browser.value(heading), format!("kernel {second}"));
    browser.key("Escape");
    assert_eq!(browser.value(hidden), json!(true));
    assert_eq!(browser.value("location.hash"), json!("#layer.full"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_search_by_op_marks_it_before_and_after() {
    let page = Page::of(&[&tiny()]);
    let report = page.report();
    let Some(mut browser) = page.open() else {
        return;
    };
    browser.key("/");
    browser.type_text("rsqrt");
    for (function, source) in list(&report["functions"])
        .iter()
        .zip(list(&report["source"]))
    {
        let name = string(&function["name"]);
        browser.click(&format!("[data-function='{name}']"));
        let values = list(&source["values"]).iter();
        let values = values
            .filter(|v| v["op"] == "rsqrt")
            .map(|v| v["name"].clone());
        let found =
            "[...document.querySelectorAll('#before .found')].map((node) => node.dataset.source)";
        assert_eq!(browser.value(found), values.collect::<Value>());
        let kernels = list(&function["kernels"]).iter();
        let kernels = kernels.filter(|k| list(&k["ops"]).iter().any(|o| o["op"] == "rsqrt"));
        let found =
            "[...document.querySelectorAll('#after .kernel.found .chip.found')].map((chip) =>
            [chip.closest('.kernel').dataset.kernel, chip.dataset.op])";
        let chips = kernels.map(|k| json!([k["name"], "rsqrt"]));
        assert_eq!(browser.value(found), chips.collect::<Value>());
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_page_of_one_kernel_opens_with_its_explanation() {
    let page = Page::of(&["--kernel", "layer.full.k.o", &tiny()]);
    let Some(mut browser) = page.open() else {
        return;
    };
    assert_eq!(
        browser.value("document.querySelector('#detail h2').textContent"),
        json!("kernel k.o")
    );
    assert_eq!(
        browser.value("document.querySelectorAll('#after .kernel').length"),
        json!(1)
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
