//! Names as a user gives them: patterns, and what was meant by one that is not there.

/// Whether a pattern is this name; in it `*` stands for any characters, and `?` for one.
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // How the pattern read so far fits each beginning of the name, the empty one first.
    let mut fits = vec![false; name.len() + 1];
    fits[0] = true;
    for p in pattern {
        let mut next = vec![false; name.len() + 1];
        for end in 0..=name.len() {
            next[end] = match p {
                '*' => fits[end] || end > 0 && next[end - 1],
                '?' => end > 0 && fits[end - 1],
                c => end > 0 && fits[end - 1] && name[end - 1] == c,
            };
        }
        fits = next;
    }
    fits[name.len()]
}

/// The names nearest to one that is not among them, the nearest first, equally near ones by their letters; at
/// most three.
pub fn nearest<'n>(name: &str, among: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let plain: String = name.chars().filter(|c| !matches!(c, '*' | '?')).collect();
    let among = among.into_iter();
    let mut all: Vec<(usize, &str)> = among.map(|n| (distance(&plain, n), n)).collect();
    all.sort();
    all.dedup();
    all.into_iter().take(3).map(|(_, n)| n).collect()
}

/// The edit distance: how many characters are inserted, removed or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in (1..).zip(a.chars()) {
        let mut before = row[0];
        row[0] = i;
        for (j, y) in b.iter().enumerate() {
            let replaced = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = replaced.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
        for pattern in ["take-of-sum", "take-*", "*sum", "*", "t*-*m", "take-of-s?m"] {
            assert!(matches(pattern, "take-of-sum"), "{pattern}");
        }
        for pattern in ["take", "*max", "", "take-of-sum?", "sum*"] {
            assert!(!matches(pattern, "take-of-sum"), "{pattern}");
        }
        assert!(matches("", ""));
    }

    #[test]
    fn the_nearest_names_differ_in_the_fewest_characters() {
        let names = ["neg-of-neg", "not-of-not", "add-of-neg", "take-of-sum"];
        let found = nearest("neg-of-nag", names);
        assert_eq!(found, ["neg-of-neg", "add-of-neg", "not-of-not"]);
        assert_eq!(nearest("take-of-*um", names)[0], "take-of-sum");
    }
}
