//! The rules that a user asks for: the shipped ones or others, more, fewer.

use std::path::PathBuf;

use passes::RulesError;
use passes::rules::check::{Effort, Flaw, check_family};
use passes::rules::{Folding, Rule, RuleClass, RuleSet, SHIPPED};
use runtime::bundle::Hash;

use super::lines;
use crate::backend::Fidelity;
use crate::error::Error;
use crate::input::Source;
use crate::names::{matches, nearest};

/// The options that choose rewrite rules.
#[derive(clap::Args, Clone, Debug)]
pub struct RuleArgs {
    /// Add the rewrite rules of FILE, each of which is tested first; may be repeated
    #[arg(long, value_name = "FILE")]
    rules: Vec<PathBuf>,

    /// Leave out the rewrite rules of this name, in which * stands for any characters and ? for one; may be repeated
    #[arg(long, value_name = "NAME|GLOB")]
    no_rule: Vec<String>,

    /// Use the rewrite rules of FILE, each of which is tested first, instead of the shipped ones
    #[arg(long, value_name = "FILE")]
    only: Option<PathBuf>,

    /// Take the rules of --rules and --only without testing them
    #[arg(long)]
    unchecked: bool,
}

/// Where rules come from, the files read: two that are equal give the same rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSources {
    /// What takes the place of the shipped rules.
    only: Option<Source>,
    /// What is added.
    more: Vec<Source>,
    /// Patterns of the names of rules left out.
    without: Vec<String>,
    /// Whether the user's rules are taken untested.
    unchecked: bool,
}

impl RuleArgs {
    /// Reads the files that the options name, and warns of rules that are taken untested.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(&self) -> Result<RuleSources, Error> {
        let read = |path: &PathBuf| Source::read(path);
        let sources = RuleSources {
            only: self.only.as_ref().map(read).transpose()?,
            more: self.rules.iter().map(read).collect::<Result<_, _>>()?,
            without: self.no_rule.clone(),
            unchecked: self.unchecked,
        };
        if self.unchecked {
            for source in sources.own() {
                eprintln!("warning: {}: its rules are taken unchecked", source.name());
            }
        }
        Ok(sources)
    }

    /// Each option, and whether it was given.
    pub fn given(&self) -> [(&'static str, bool); 4] {
        [
            ("--rules", !self.rules.is_empty()),
            ("--no-rule", !self.no_rule.is_empty()),
            ("--only", self.only.is_some()),
            ("--unchecked", self.unchecked),
        ]
    }
}

impl RuleSources {
    /// The rules, of every class; the user's own are tested unless that is switched off.
    ///
    /// # Errors
    /// A text that is not rules, a rule that fails its test, two of one name, a pattern that is no rule's name.
    pub fn all(&self) -> Result<RuleSet, Error> {
        let own = |source| match self.unchecked {
            true => parse(source),
            false => tested(source),
        };
        let mut rules = match &self.only {
            None => RuleSet::shipped(),
            Some(source) => own(source)?,
        };
        for source in &self.more {
            rules.add(own(source)?).map_err(named)?;
        }
        without(rules, &self.without)
    }

    /// The rules of a fidelity: in exact, exact ones alone; which of the user's that leaves out is said on standard error.
    ///
    /// # Errors
    /// Those of [`RuleSources::all`].
    pub fn of(&self, fidelity: Fidelity) -> Result<RuleSet, Error> {
        let rules = self.all()?;
        if fidelity == Fidelity::Fast {
            return Ok(rules);
        }
        let inexact = rules.rules().iter().filter(|r| r.class != RuleClass::Exact);
        let own = inexact.filter(|rule| self.is_own(rule));
        let names: Vec<&str> = own.map(|rule| rule.name.as_str()).collect();
        if !names.is_empty() {
            let names = names.join(", ");
            eprintln!("note: exact uses exact rules alone, and leaves out {names}");
        }
        Ok(rules.exact())
    }

    /// A hash of the rules of a fidelity, which changes with any of them.
    pub fn hash(&self, fidelity: Fidelity) -> Hash {
        let shipped = self.only.is_none().then_some(SHIPPED);
        let own: Vec<&str> = self.own().map(|source| source.text.as_str()).collect();
        let all = format!("{:?}", (shipped, own, &self.without, fidelity));
        Hash::of(all.as_bytes())
    }

    /// The user's own files.
    fn own(&self) -> impl Iterator<Item = &Source> {
        self.only.iter().chain(&self.more)
    }

    /// Whether a rule is of one of the user's files.
    fn is_own(&self, rule: &Rule) -> bool {
        let file = rule.place.rsplit_once(':').map(|(file, _)| file);
        self.own()
            .any(|source| Some(source.name().as_str()) == file)
    }
}

/// The rules of a text.
///
/// # Errors
/// It is not rules: the line, the column, and what was expected there.
pub fn parse(source: &Source) -> Result<RuleSet, Error> {
    RuleSet::parse(&source.text, &source.name()).map_err(|error| match &error {
        RulesError::Syntax { span, expected, .. } => {
            source.bad(span.clone(), expected, error.to_string())
        }
        RulesError::Duplicate { .. } | RulesError::Read { .. } => named(error),
    })
}

fn named(error: RulesError) -> Error {
    Error::Option(error.to_string())
}

/// The rules of a text, each of which passed its test.
fn tested(source: &Source) -> Result<RuleSet, Error> {
    let rules = parse(source)?;
    let file = source.name();
    for (_, line) in lines(rules.rules()) {
        let Err(flaw) = check_family(line, &Effort::default()) else {
            continue;
        };
        let (place, class, name) = (&line[0].place, line[0].class, flaw.rule());
        let wrong = match &flaw {
            Flaw::Counterexample(_) => {
                format!("is not {class}, as lapidary rules check {file} shows")
            }
            Flaw::Untested { .. } => "could not be tested, as no instances were found".into(),
        };
        return Err(Error::Option(format!(
            "{place}: rule {name} {wrong}; expected sound rules, or --unchecked"
        )));
    }
    Ok(rules)
}

/// Leaves out the rules whose name, or whose family's, is of a pattern.
fn without(mut rules: RuleSet, patterns: &[String]) -> Result<RuleSet, Error> {
    let of = |pattern: &str, rule: &Rule| {
        matches(pattern, &rule.name) || matches(pattern, family(&rule.name))
    };
    for pattern in patterns {
        let folding = rules.folding().is_some() && matches(pattern, Folding::NAME);
        if folding || rules.rules().iter().any(|rule| of(pattern, rule)) {
            continue;
        }
        let names = rules.rules().iter().map(|rule| family(&rule.name));
        let names = names.chain(rules.folding().map(|_| Folding::NAME));
        let expected = match nearest(pattern, names).join(", ") {
            none if none.is_empty() => "there are no rules".into(),
            names => format!("the nearest are {names}"),
        };
        return Err(Error::Option(format!(
            "--no-rule {pattern}: no rule has this name; {expected}"
        )));
    }
    if patterns.iter().any(|p| matches(p, Folding::NAME)) {
        rules = rules.without_folding();
    }
    Ok(rules.filtered(|rule| !patterns.iter().any(|p| of(p, rule))))
}

/// The name in the file, of a rule or of the family that it is a member of.
pub fn family(name: &str) -> &str {
    name.split_once('/').map_or(name, |(family, _)| family)
}
