//! Values of a graph's symbols, as a user gives them.

use ir::{Bindings, Dims, Sym};

use crate::error::Error;

/// The option that binds symbols: flatten it into the arguments of a command that runs or costs a graph.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct BindArgs {
    /// Values of the graph's symbols, such as R=1,K=128
    #[arg(long, value_name = "SYM=VALUE", value_delimiter = ',', value_parser = pair)]
    bind: Vec<(String, i64)>,
}

impl BindArgs {
    /// The symbols that were given a value; the others are left unbound.
    ///
    /// # Errors
    /// A symbol that the graph does not have, one that is given twice, and a value outside its range.
    pub fn bindings(&self, dims: &Dims) -> Result<Bindings, Error> {
        let mut bindings = Bindings::default();
        for (name, value) in &self.bind {
            let refuse = |why: String| Err(Error::Option(format!("--bind {name}={value}: {why}")));
            let sym = Sym::new(name);
            let Some((low, high)) = dims.range_of(&sym) else {
                let names = dims.ranges.iter().map(|(sym, ..)| sym.name());
                return match names.collect::<Vec<_>>().join(", ") {
                    names if names.is_empty() => refuse("the graph has no symbols".into()),
                    names => refuse(format!("no such symbol, expected one of {names}")),
                };
            };
            if !(low..=high).contains(value) {
                return refuse(format!("expected {low} to {high}"));
            }
            if bindings.bind(&sym, *value).is_some() {
                return refuse("the symbol is given twice".into());
            }
        }
        Ok(bindings)
    }
}

/// `R=3`
fn pair(text: &str) -> Result<(String, i64), String> {
    let pair = text.split_once('=');
    let bound = pair.and_then(|(name, value)| Some((name.trim(), value.trim().parse().ok()?)));
    match bound {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value)),
        _ => Err("expected a symbol and a whole number, such as R=3".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(pairs: &[&str]) -> Result<Bindings, String> {
        let mut dims = Dims::default();
        dims.declare("R", 1, 4);
        dims.declare("K", 0, 100);
        let bind = pairs.iter().map(|text| pair(text));
        let args = BindArgs {
            bind: bind.collect::<Result<_, String>>()?,
        };
        args.bindings(&dims).map_err(|error| error.to_string())
    }

    #[test]
    fn symbols_take_the_values_that_they_are_given() {
        assert_eq!(bound(&[]), Ok(Bindings::default()));
        let both = Bindings::new([("R", 1), ("K", 100)]);
        assert_eq!(bound(&["K=100", " R = 1 "]), Ok(both));
    }

    #[test]
    fn what_cannot_be_bound_is_refused() {
        for (pairs, expected) in [
            (
                vec!["N=1"],
                "--bind N=1: no such symbol, expected one of R, K",
            ),
            (vec!["R=5"], "--bind R=5: expected 1 to 4"),
            (vec!["R=2", "R=2"], "--bind R=2: the symbol is given twice"),
            (
                vec!["R"],
                "expected a symbol and a whole number, such as R=3",
            ),
            (
                vec!["=3"],
                "expected a symbol and a whole number, such as R=3",
            ),
        ] {
            assert_eq!(bound(&pairs), Err(expected.to_string()), "{pairs:?}");
        }
        let none = BindArgs {
            bind: vec![("R".into(), 1)],
        };
        let error = none.bindings(&Dims::default()).map_err(|e| e.to_string());
        assert_eq!(error, Err("--bind R=1: the graph has no symbols".into()));
    }
}
