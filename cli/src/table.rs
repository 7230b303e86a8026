//! Tables on standard output.

use std::io::{self, Write};

/// Prints rows with their columns aligned: the first to the left, the others to the right.
pub fn print(out: &mut dyn Write, rows: &[Vec<String>]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        let cells = rows.iter().filter_map(|r| r.get(c));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (c, (cell, width)) in row.iter().zip(&widths).enumerate() {
            line += &match c {
                0 => format!("{cell:<width$}"),
                _ => format!("   {cell:>width$}"),
            };
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Bytes in the unit that reads best: `654.3 MB`, by powers of 1000.
pub fn bytes(n: usize) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        _ => format!("{value:.1} {}", units[unit]),
    }
}

/// Seconds in the unit that reads best: `12.3 µs`.
pub fn seconds(s: f64) -> String {
    let units = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs")];
    let (unit, name) = units
        .into_iter()
        .find(|(unit, _)| s >= 0.9995 * unit)
        .unwrap_or((1e-9, "ns"));
    let value = s / unit;
    match value {
        _ if value < 9.995 => format!("{value:.2} {name}"),
        _ if value < 99.95 => format!("{value:.1} {name}"),
        _ => format!("{value:.0} {name}"),
    }
}

/// Floating-point operations in the unit that reads best: `4.2 Mflop`, by powers of 1000.
pub fn flops(n: f64) -> String {
    let units = ["flop", "kflop", "Mflop", "Gflop", "Tflop", "Pflop"];
    let mut value = n;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n:.0} flop"),
        _ => format!("{value:.1} {}", units[unit]),
    }
}

/// An integer with its thousands apart: `2,614,341,888`.
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let first = (digits.len() - 1) % 3 + 1;
    let (head, tail) = digits.split_at(first);
    let groups = tail.as_bytes().chunks(3);
    groups.fold(head.to_string(), |text, group| {
        let group: String = group.iter().map(|b| *b as char).collect();
        text + "," + &group
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_the_unit_that_reads_best() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(999_960), "1.0 MB");
        assert_eq!(bytes(5_228_683_776), "5.2 GB");
    }

    #[test]
    fn seconds_and_operations_are_shown_in_the_unit_that_reads_best() {
        assert_eq!(seconds(0.0), "0.00 ns");
        assert_eq!(seconds(2e-6), "2.00 µs");
        assert_eq!(seconds(12.34e-6), "12.3 µs");
        assert_eq!(seconds(0.9999e-3), "1.00 ms");
        assert_eq!(seconds(123.4), "123 s");
        assert_eq!(flops(0.0), "0 flop");
        assert_eq!(flops(38_400.0), "38.4 kflop");
        assert_eq!(flops(5.3e9), "5.3 Gflop");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(2_614_341_888), "2,614,341,888");
    }
}
