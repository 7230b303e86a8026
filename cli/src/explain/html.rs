//! `explain` as a page: the report within a template, with its style and its script, that needs nothing else.

use std::io::{self, Write};

use super::report::Report;

const TEMPLATE: &str = include_str!("page/template.html");
const STYLE: &str = include_str!("page/style.css");

/// The script, a part in each file; a part uses those before it.
const SCRIPT: &str = concat!(
    include_str!("page/data.js"),
    include_str!("page/layout.js"),
    include_str!("page/pane.js"),
    include_str!("page/detail.js"),
    include_str!("page/page.js"),
);

/// Writes a report as a page.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    // A `<` occurs in strings alone, where it may be escaped, and must be: it could end the element.
    let data = serde_json::to_string(report)?.replace('<', "\\u003c");
    let mut rest = TEMPLATE;
    for (mark, text) in [
        ("{{style}}", STYLE),
        ("{{report}}", &data),
        ("{{script}}", SCRIPT),
    ] {
        let (before, after) = rest.split_once(mark).expect("the template has each mark");
        write!(out, "{before}{text}")?;
        rest = after;
    }
    out.write_all(rest.as_bytes())
}
