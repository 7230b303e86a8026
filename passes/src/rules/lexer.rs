//! A line of a rules file to tokens.

/// A token, and its byte offset in the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token<'t> {
    pub kind: Kind,
    pub text: &'t str,
    pub at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A rule's name, an op, a function, a dtype, a keyword. Hyphens may stand within.
    Word,
    /// `?name`
    Var,
    /// `12`
    Integer,
    /// `0.5`, `1e-6`
    Real,
    /// One of [`MARKS`].
    Mark,
    /// Nothing is left of the line.
    End,
}

/// Longer marks stand before those that they begin with.
const MARKS: [&str; 16] = [
    "=>", "==", "<=", "(", ")", "[", "]", "{", "}", ",", ":", "=", "<", "+", "-", "*",
];

fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Splits a line, or gives the offset of what is no token. The last token is the end.
pub(super) fn tokens(line: &str) -> Result<Vec<Token<'_>>, usize> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = line[at..].chars().next() {
        let rest = &line[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let run = |from: usize, allowed: fn(char) -> bool| {
            let tail = &rest[from..];
            from + tail.find(|c| !allowed(c)).unwrap_or(tail.len())
        };
        let (kind, length) = if c.is_ascii_alphabetic() {
            // A hyphen belongs to a word where a letter follows: `slice-of-slice`, but `n - 1`.
            let mut end = run(0, in_word);
            while rest[end..].starts_with('-')
                && rest[end + 1..].starts_with(|c: char| c.is_ascii_alphabetic())
            {
                end = run(end + 1, in_word);
            }
            (Kind::Word, end)
        } else if c == '?' {
            (Kind::Var, run(1, in_word))
        } else if c.is_ascii_digit() {
            number(rest)
        } else if let Some(mark) = MARKS.iter().find(|m| rest.starts_with(**m)) {
            (Kind::Mark, mark.len())
        } else {
            return Err(at);
        };
        if kind == Kind::Var && length == 1 {
            return Err(at);
        }
        tokens.push(Token {
            kind,
            text: &rest[..length],
            at,
        });
        at += length;
    }
    tokens.push(Token {
        kind: Kind::End,
        text: "",
        at,
    });
    Ok(tokens)
}

/// The number at the front.
fn number(text: &str) -> (Kind, usize) {
    let digits = |from: usize| {
        let tail = &text[from..];
        from + tail
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(tail.len())
    };
    let mut end = digits(0);
    let mut kind = Kind::Integer;
    if text[end..].starts_with('.') {
        (kind, end) = (Kind::Real, digits(end + 1));
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            (kind, end) = (Kind::Real, exponent);
        }
    }
    (kind, end)
}
