//! Terms that share what is equal: a whole function's values fit, each once.

use std::collections::HashMap;

use ir::{Attr, Breach, Def, Dims, Function, Op, Site, Type};

use crate::rules;

/// A term of [`Terms`]. Two terms are the same tree where their ids are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TermId(pub(super) usize);

/// A term's root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// A parameter of the function, by its place.
    Param(usize),
    /// An op.
    Op {
        /// The op.
        op: Op,
        /// Its attributes, in its row's order.
        attrs: Vec<Attr>,
        /// Its operands.
        operands: Vec<TermId>,
    },
}

/// Terms over a function's parameters.
#[derive(Clone, Debug)]
pub struct Terms {
    dims: Dims,
    terms: Vec<(Root, Type)>,
    known: HashMap<Root, TermId>,
}

impl Terms {
    /// The parameters of a function over these symbols, and no other terms yet.
    pub fn new(function: &Function, dims: &Dims) -> Terms {
        let mut terms = Terms {
            dims: dims.clone(),
            terms: Vec::new(),
            known: HashMap::new(),
        };
        for (i, param) in function.params().iter().enumerate() {
            terms.push(Root::Param(i), param.ty.clone());
        }
        terms
    }

    fn push(&mut self, root: Root, ty: Type) -> TermId {
        let id = TermId(self.terms.len());
        self.known.insert(root.clone(), id);
        self.terms.push((root, ty));
        id
    }

    /// What is known of the symbols.
    pub fn dims(&self) -> &Dims {
        &self.dims
    }

    /// The term of a parameter, if the function has it.
    pub fn param(&self, place: usize) -> Option<TermId> {
        self.known.get(&Root::Param(place)).copied()
    }

    /// The term of an op over terms.
    ///
    /// # Errors
    /// The constraint that it breaks.
    pub fn op(
        &mut self,
        op: Op,
        attrs: Vec<Attr>,
        operands: Vec<TermId>,
    ) -> Result<TermId, Breach> {
        let root = Root::Op {
            op,
            attrs,
            operands,
        };
        if let Some(id) = self.known.get(&root) {
            return Ok(*id);
        }
        let Root::Op {
            attrs, operands, ..
        } = &root
        else {
            panic!("it was made an op just above");
        };
        let types: Vec<&Type> = operands.iter().map(|o| self.ty(*o)).collect();
        let site = Site {
            def: op.def(),
            attrs,
            operands: &types,
            dims: &self.dims,
        };
        let ty = ir::infer(&site)?;
        Ok(self.push(root, ty))
    }

    /// The terms of a function's values, in their order; its parameters are those of these terms.
    ///
    /// # Errors
    /// The constraint that a value breaks.
    pub fn of_function(&mut self, function: &Function) -> Result<Vec<TermId>, Breach> {
        let mut made: Vec<TermId> = Vec::new();
        for (i, value) in function.values.iter().enumerate() {
            made.push(match &value.def {
                Def::Param => self
                    .param(i)
                    .expect("the functions have the same parameters"),
                Def::Op {
                    op,
                    attrs,
                    operands,
                } => {
                    let operands = operands.iter().map(|o| made[o.0]).collect();
                    self.op(*op, attrs.clone(), operands)?
                }
            });
        }
        Ok(made)
    }

    /// A term's root.
    pub fn root(&self, term: TermId) -> &Root {
        &self.terms[term.0].0
    }

    /// A term's type.
    pub fn ty(&self, term: TermId) -> &Type {
        &self.terms[term.0].1
    }

    /// A term's operands.
    pub fn operands(&self, term: TermId) -> &[TermId] {
        match self.root(term) {
            Root::Param(_) => &[],
            Root::Op { operands, .. } => operands,
        }
    }

    /// What stands at a position: operand after operand from the root on.
    pub fn at(&self, whole: TermId, position: &[usize]) -> Option<TermId> {
        position.iter().try_fold(whole, |term, operand| {
            self.operands(term).get(*operand).copied()
        })
    }

    /// The whole with this term at a position; nothing if there is no such position, or the term does
    /// not fit there.
    pub fn replaced(&mut self, whole: TermId, position: &[usize], by: TermId) -> Option<TermId> {
        let mut spine = vec![whole];
        for operand in position {
            spine.push(*self.operands(*spine.last()?).get(*operand)?);
        }
        let mut made = by;
        for (parent, operand) in spine.iter().zip(position).rev() {
            let Root::Op {
                op,
                attrs,
                mut operands,
            } = self.root(*parent).clone()
            else {
                return None;
            };
            *operands.get_mut(*operand)? = made;
            made = self.op(op, attrs, operands).ok()?;
        }
        Some(made)
    }
}

/// How terms are written: those that have a name by it.
pub struct Writer<'t> {
    terms: &'t Terms,
    names: &'t HashMap<TermId, String>,
}

/// Numbers of a constant that are written out.
const SHOWN: usize = 6;

impl<'t> Writer<'t> {
    /// A writer of these terms, by these names.
    pub fn new(terms: &'t Terms, names: &'t HashMap<TermId, String>) -> Writer<'t> {
        Writer { terms, names }
    }

    /// A term, by its name if it has one.
    pub fn name(&self, term: TermId) -> String {
        match self.names.get(&term) {
            Some(name) => format!("%{name}"),
            None => self.one(term),
        }
    }

    /// A term's root, written out, over operands by name.
    pub fn one(&self, term: TermId) -> String {
        let names = self.terms.operands(term).iter().map(|o| self.name(*o));
        self.over(term, names.collect())
    }

    /// A term, written out as far as a side of a rule sees it.
    pub fn as_seen(&self, term: TermId, by: Option<&rules::Term>) -> String {
        match by {
            None => self.one(term),
            Some(rules::Term::Var(_)) => self.name(term),
            Some(rules::Term::Op { operands, .. }) => {
                let here = self.terms.operands(term);
                if here.len() != operands.len() {
                    return self.one(term);
                }
                let each = here.iter().zip(operands);
                let each = each.map(|(term, by)| self.as_seen(*term, Some(by)));
                self.over(term, each.collect())
            }
        }
    }

    /// A term, written out down to a position, where another text stands.
    pub fn around(&self, term: TermId, position: &[usize], text: String) -> String {
        let Some((first, rest)) = position.split_first() else {
            return text;
        };
        let operands = self.terms.operands(term);
        let mut names: Vec<String> = operands.iter().map(|o| self.name(*o)).collect();
        if let (Some(name), Some(operand)) = (names.get_mut(*first), operands.get(*first)) {
            *name = self.around(*operand, rest, text);
        }
        self.over(term, names)
    }

    fn over(&self, term: TermId, operands: Vec<String>) -> String {
        let (op, attrs) = match self.terms.root(term) {
            Root::Param(i) => return format!("param{i}"),
            Root::Op { op, attrs, .. } => (*op, attrs),
        };
        // A constant filled with one number is written as the number, as in a rule.
        if let [Attr::To(_), Attr::Dims(_), Attr::Literals(values)] = &attrs[..]
            && let [value] = &values[..]
        {
            return value.to_string();
        }
        let text = |attr: &Attr| match attr {
            Attr::Literals(values) if values.len() > SHOWN => {
                let shown: Vec<String> = values.iter().take(SHOWN).map(|v| v.to_string()).collect();
                format!("[{}, …]", shown.join(", "))
            }
            _ => attr.to_string(),
        };
        let named = op.def().attrs.iter().zip(attrs);
        let attrs: Vec<String> = named
            .map(|((name, _), a)| format!("{name} = {}", text(a)))
            .collect();
        let call = format!("{}({})", op.def().name, operands.join(", "));
        match attrs.is_empty() {
            true => call,
            false => format!("{call} {{{}}}", attrs.join(", ")),
        }
    }
}
