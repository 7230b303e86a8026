//! Text to tokens.

use super::TextError;

/// A token and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub kind: Kind,
    /// The token's text; a name's without its sigil.
    pub text: &'t str,
    /// Byte offset and length, sigil included.
    pub span: (usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, an op, a function, a symbol, a dtype.
    Word,
    /// `%name`
    Local,
    /// `@name`
    Weight,
    /// `$name`
    State,
    /// Digits, perhaps with a fraction and an exponent.
    Number,
    /// One of [`PUNCTUATION`].
    Mark,
    /// Nothing is left.
    End,
}

/// Longer marks stand before those that they begin with.
const PUNCTUATION: [&str; 15] = [
    "..", "<=", "(", ")", "[", "]", "{", "}", ",", ":", "=", "+", "-", "*", "/",
];

/// Whether a character can be in a name.
pub(super) fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}

/// Whether a character can begin a word.
pub(super) fn starts_word(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

/// Splits a text into tokens, the last of which is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, TextError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let sigil = match c {
            '%' => Some(Kind::Local),
            '@' => Some(Kind::Weight),
            '$' => Some(Kind::State),
            _ => None,
        };
        let (kind, skip, length) = if let Some(kind) = sigil {
            (kind, 1, 1 + run(&rest[1..], in_name))
        } else if starts_word(c) {
            (Kind::Word, 0, run(rest, in_name))
        } else if c.is_ascii_digit() {
            (Kind::Number, 0, number(rest))
        } else if let Some(mark) = PUNCTUATION.iter().find(|m| rest.starts_with(**m)) {
            (Kind::Mark, 0, mark.len())
        } else {
            let span = (at, c.len_utf8());
            return Err(error(text, span, "a token", &format!("'{c}'")));
        };
        if length == skip {
            let expected = format!("a name behind '{c}'");
            return Err(error(text, (at, 1), &expected, "none"));
        }
        tokens.push(Token {
            kind,
            text: &rest[skip..length],
            span: (at, length),
        });
        at += length;
    }
    tokens.push(Token {
        kind: Kind::End,
        text: "",
        span: (at, 0),
    });
    Ok(tokens)
}

fn run(text: &str, allowed: impl Fn(char) -> bool) -> usize {
    text.find(|c| !allowed(c)).unwrap_or(text.len())
}

/// Length of the number at the front: `12`, `0.5`, `1e-6`, but `1` of `1..8`.
fn number(text: &str) -> usize {
    let digits = |from: usize| from + run(&text[from..], |c| c.is_ascii_digit());
    let mut end = digits(0);
    if text[end..].starts_with('.') && !text[end..].starts_with("..") {
        end = digits(end + 1);
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}

/// The error at a span of the text.
pub(super) fn error(text: &str, span: (usize, usize), expected: &str, found: &str) -> TextError {
    let before = &text[..span.0];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    TextError {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        span,
        expected: expected.into(),
        found: found.into(),
    }
}
