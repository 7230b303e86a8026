//! A program: functions over tensors, and the calls that make a step of them.

use crate::attr::Attr;
use crate::dim::Dims;
use crate::ops::Op;
use crate::ty::Type;

/// Declares an index into one of a module's lists.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub usize);
    )*};
}

ids! {
    /// A value of a function.
    ValueId;
    /// A function of a module.
    FunctionId;
    /// A weight of a module.
    WeightId;
    /// A state of a module.
    StateId;
    /// A value of a step: an input or a call's result.
    LocalId;
}

/// A whole program.
///
/// Weights are constant, states live from step to step, and a step runs the calls of [`Step`] in
/// order. Symbols are the module's: in every function `R` is the same `R`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// The symbols and what is known of them.
    pub dims: Dims,
    /// Constant tensors.
    pub weights: Vec<Weight>,
    /// Tensors that a step reads and replaces, all zero at first.
    pub states: Vec<State>,
    /// Functions that calls name.
    pub functions: Vec<Function>,
    /// Calls from weights to prepared weights, run once, when a program is compiled or loaded.
    pub prepare: Vec<Call>,
    /// What one step does.
    pub step: Step,
}

/// A constant tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Its name: the checkpoint's, where it is stored.
    pub name: String,
    /// Dtype and constant dims.
    pub ty: Type,
    /// Where it comes from.
    pub source: WeightSource,
}

/// Where a weight comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightSource {
    /// The checkpoint has it.
    Stored,
    /// `prepare` makes it.
    Prepared,
}

/// A tensor that lives from step to step.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Its name.
    pub name: String,
    /// Dtype and constant dims, the first of which is the sequence slot.
    pub ty: Type,
}

/// A function: values in the order they are made, the parameters first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Parameters, then what ops make.
    pub values: Vec<Value>,
    /// What it returns.
    pub results: Vec<ValueId>,
}

/// A value of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Its name in the text form, without `%`.
    pub name: String,
    /// Dtype and dims.
    pub ty: Type,
    /// What makes it.
    pub def: Def,
}

/// What makes a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Def {
    /// The caller.
    Param,
    /// An op over earlier values.
    Op {
        /// The op.
        op: Op,
        /// Its attributes, in its row's order.
        attrs: Vec<Attr>,
        /// Its operands.
        operands: Vec<ValueId>,
    },
}

/// What one step does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Inputs, then what calls make.
    pub locals: Vec<Local>,
    /// How many of the locals are inputs.
    pub inputs: usize,
    /// Calls, in order; a call sees the states as the calls before it left them.
    pub calls: Vec<Call>,
    /// What the step gives back.
    pub outputs: Vec<LocalId>,
}

/// A value of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Local {
    /// Its name in the text form, without `%`.
    pub name: String,
    /// Dtype and dims.
    pub ty: Type,
}

/// Where a call's argument comes from, or its result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A value of the step.
    Local(LocalId),
    /// A weight.
    Weight(WeightId),
    /// A state: its present value as an argument, its next as a result.
    State(StateId),
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Where the function's results go.
    pub results: Vec<Place>,
    /// The function.
    pub function: FunctionId,
    /// The function's arguments.
    pub args: Vec<Place>,
}

impl Module {
    /// The function of that name.
    pub fn function(&self, name: &str) -> Option<FunctionId> {
        let at = self.functions.iter().position(|f| f.name == name)?;
        Some(FunctionId(at))
    }

    /// The weight of that name.
    pub fn weight(&self, name: &str) -> Option<WeightId> {
        let at = self.weights.iter().position(|w| w.name == name)?;
        Some(WeightId(at))
    }

    /// The state of that name.
    pub fn state(&self, name: &str) -> Option<StateId> {
        let at = self.states.iter().position(|s| s.name == name)?;
        Some(StateId(at))
    }

    /// The type of what a place holds, if the module has that place.
    pub fn type_of(&self, place: Place) -> Option<&Type> {
        match place {
            Place::Local(id) => self.step.locals.get(id.0).map(|l| &l.ty),
            Place::Weight(id) => self.weights.get(id.0).map(|w| &w.ty),
            Place::State(id) => self.states.get(id.0).map(|s| &s.ty),
        }
    }
}

impl Function {
    /// The parameters.
    pub fn params(&self) -> &[Value] {
        let params = self.values.iter().take_while(|v| v.def == Def::Param);
        &self.values[..params.count()]
    }

    /// The value of that name.
    pub fn value(&self, name: &str) -> Option<ValueId> {
        let at = self.values.iter().position(|v| v.name == name)?;
        Some(ValueId(at))
    }

    /// The types of the results that exist.
    pub fn result_types(&self) -> impl Iterator<Item = &Type> {
        self.results
            .iter()
            .filter_map(|id| self.values.get(id.0).map(|v| &v.ty))
    }
}

impl Step {
    /// The step's inputs.
    pub fn input_locals(&self) -> &[Local] {
        &self.locals[..self.inputs]
    }

    /// The local of that name.
    pub fn local(&self, name: &str) -> Option<LocalId> {
        let at = self.locals.iter().position(|l| l.name == name)?;
        Some(LocalId(at))
    }

    /// Adds a local.
    pub fn add_local(&mut self, name: impl Into<String>, ty: Type) -> LocalId {
        self.locals.push(Local {
            name: name.into(),
            ty,
        });
        LocalId(self.locals.len() - 1)
    }
}
