//! The interpreter: the specification of what a module computes.
//!
//! Plain loops over whole tensors, one op after the other, chosen for reading. Every other executor
//! must give the same bits as the f32 run; the f64 run is the truth that errors are measured from.
//!
//! - Arithmetic is IEEE f32, each operation rounded once to nearest even, subnormals kept, nothing
//!   contracted. `exp`, `log`, `tanh`, `sin` and `cos` are those of [`crate::math`].
//! - Sums have one order ([`lanes`]): element k goes to lane k mod 16, each lane takes its elements in
//!   increasing k from +0, and the lanes are combined pairwise, i with i+8, then +4, +2, +1. `dot`
//!   takes a product in by fused multiply-add, `reduce_sum` by add. k counts row-major over the axes in
//!   the order in which the op lists them.
//! - A term of 0 therefore leaves a sum as it is. A score masked to -inf becomes a weight of 0, so a masked
//!   key can be skipped, or a tail padded, and the bits are the same, as long as what the weight
//!   multiplies is finite.
//!
//! In the f64 run every f32 is an f64, and [`crate::math`] gives way to the standard library; storage
//! dtypes (bf16, f16, block formats) round as in the f32 run.

mod block;
mod eval;
pub mod lanes;
mod real;
mod tensor;

use std::sync::Arc;

use crate::dim::Bindings;
use crate::graph::{Call, Def, Function, Module, Place, State, StateId, WeightSource};
use crate::ty::Type;
use crate::type_rules::Site;
use crate::verify::{self, Violation};

pub use real::Real;
pub use tensor::{Data, Tensor};

/// Why a module could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The module is not well-formed.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// A weight is missing, or its bytes are not as many as its type says.
    #[error("weight @{name}: expected {expected} bytes, found {found}")]
    Weight {
        /// The weight.
        name: String,
        /// Bytes of its type.
        expected: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// A dim is unbound or out of its range.
    #[error("{0}")]
    Dims(String),
    /// A step was given another number of inputs than it has.
    #[error("expected {expected} inputs, found {found}")]
    Inputs {
        /// How many the module has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// An input of the step does not have its type.
    #[error("input %{name}: expected {expected}, found {found}")]
    Input {
        /// The input.
        name: String,
        /// Its type in the module.
        expected: String,
        /// The type of what was given.
        found: String,
    },
    /// A state was given that does not have its type.
    #[error("state ${name}: expected {expected}, found {found}")]
    State {
        /// The state.
        name: String,
        /// Its type in the module.
        expected: String,
        /// The type of what was given.
        found: String,
    },
    /// An index read from a tensor is outside the axis it indexes.
    #[error("fn {function}, %{value}: index {index} is outside 0..{length}")]
    Index {
        /// The function.
        function: String,
        /// The value being made.
        value: String,
        /// The index.
        index: i32,
        /// Length of the axis.
        length: usize,
    },
}

/// Executes a module's steps, at the precision `F` for what is f32.
pub struct Interpreter<'w, F> {
    module: Module,
    weights: Vec<Arc<Tensor<'w, F>>>,
    states: Vec<Arc<Tensor<'w, F>>>,
    threads: usize,
}

type Tensors<'w, F> = Vec<Arc<Tensor<'w, F>>>;

impl<'w, F: Real> Interpreter<'w, F> {
    /// An interpreter of a module whose stored weights `stored` finds by name, as little-endian bytes of
    /// the weight's type. Runs `prepare`; states begin as zeros. `threads` share the work of a `dot`.
    pub fn new(
        module: Module,
        stored: impl Fn(&str) -> Option<&'w [u8]>,
        threads: usize,
    ) -> Result<Interpreter<'w, F>, RunError> {
        verify::verify(&module)?;
        let unbound = Bindings::default();
        let mut weights = Vec::new();
        for w in &module.weights {
            let (dtype, shape) = (w.ty.dtype, constant_shape(&w.ty));
            let expected = dtype.bytes(&shape).unwrap_or(usize::MAX);
            weights.push(Arc::new(match w.source {
                WeightSource::Prepared => Tensor::zeros(dtype, &[]),
                WeightSource::Stored => match stored(&w.name) {
                    Some(bytes) if bytes.len() == expected => Tensor::stored(dtype, shape, bytes),
                    found => {
                        return Err(RunError::Weight {
                            name: w.name.clone(),
                            expected,
                            found: found.map_or(0, <[u8]>::len),
                        });
                    }
                },
            }));
        }
        let mut interpreter = Interpreter {
            states: zero_states(&module),
            weights,
            threads,
            module,
        };
        let calls = std::mem::take(&mut interpreter.module.prepare);
        for call in &calls {
            interpreter.call(call, &unbound, &mut [])?;
        }
        interpreter.module.prepare = calls;
        Ok(interpreter)
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// What the next step finds as a state of the module.
    ///
    /// # Panics
    /// If there is no such state.
    pub fn state(&self, id: StateId) -> &Tensor<'w, F> {
        &self.states[id.0]
    }

    /// Has the next step find this as a state of the module.
    ///
    /// # Errors
    /// [`RunError::State`] for a tensor that is not of the state's type.
    ///
    /// # Panics
    /// If there is no such state.
    pub fn set_state(&mut self, id: StateId, value: Tensor<'w, F>) -> Result<(), RunError> {
        let state = &self.module.states[id.0];
        let shape = constant_shape(&state.ty);
        if value.dtype != state.ty.dtype || value.shape != shape || !value.is_whole() {
            return Err(RunError::State {
                name: state.name.clone(),
                expected: format!("{}{shape:?}", state.ty.dtype),
                found: value.type_text(),
            });
        }
        self.states[id.0] = Arc::new(value);
        Ok(())
    }

    /// Runs one step on inputs in the module's order, and gives the outputs in its order.
    ///
    /// After [`RunError::Index`] the states are zeros again.
    pub fn step(
        &mut self,
        bindings: &Bindings,
        inputs: Vec<Tensor<'w, F>>,
    ) -> Result<Tensors<'w, F>, RunError> {
        bindings.check(&self.module.dims).map_err(RunError::Dims)?;
        let step = &self.module.step;
        let (expected, found) = (step.inputs, inputs.len());
        if found != expected {
            return Err(RunError::Inputs { expected, found });
        }
        for (local, input) in step.input_locals().iter().zip(&inputs) {
            let shape = local.ty.shape(bindings);
            let shape = shape.expect("the bindings are checked against the module's symbols");
            if input.dtype != local.ty.dtype || input.shape != shape || !input.is_whole() {
                return Err(RunError::Input {
                    name: local.name.clone(),
                    expected: format!("{}{shape:?}", local.ty.dtype),
                    found: input.type_text(),
                });
            }
        }
        let mut locals: Vec<Option<Arc<Tensor<F>>>> = vec![None; step.locals.len()];
        for (local, input) in locals.iter_mut().zip(inputs) {
            *local = Some(Arc::new(input));
        }
        let calls = std::mem::take(&mut self.module.step.calls);
        let ran = calls
            .iter()
            .try_for_each(|call| self.call(call, bindings, &mut locals));
        self.module.step.calls = calls;
        if ran.is_err() {
            self.states = zero_states(&self.module);
        }
        ran?;
        let outputs = self.module.step.outputs.iter();
        Ok(outputs
            .map(|o| locals[o.0].clone())
            .collect::<Option<_>>()
            .expect("a verified step makes its outputs"))
    }

    fn call(
        &mut self,
        call: &Call,
        bindings: &Bindings,
        locals: &mut [Option<Arc<Tensor<'w, F>>>],
    ) -> Result<(), RunError> {
        let args = call.args.iter().map(|place| match place {
            Place::Local(id) => locals[id.0].clone(),
            Place::Weight(id) => Some(self.weights[id.0].clone()),
            Place::State(id) => Some(self.states[id.0].clone()),
        });
        let args: Option<Tensors<F>> = args.collect();
        let args = args.expect("a verified call reads what is made");
        for place in &call.results {
            // The state leaves its place, so that its next value can be made in the same memory.
            if let Place::State(id) = place {
                self.states[id.0] = Arc::new(Tensor::zeros(crate::DType::Bool, &[]));
            }
        }
        let function = &self.module.functions[call.function.0];
        let results = run_function(function, args, &self.module.dims, bindings, self.threads)?;
        for (place, result) in call.results.iter().zip(results) {
            match place {
                Place::Local(id) => locals[id.0] = Some(result),
                Place::Weight(id) => self.weights[id.0] = result,
                Place::State(id) => self.states[id.0] = result,
            }
        }
        Ok(())
    }
}

/// The states that a verified module begins with.
fn zero_states<'w, F: Real>(module: &Module) -> Tensors<'w, F> {
    let zero = |s: &State| Arc::new(Tensor::zeros(s.ty.dtype, &constant_shape(&s.ty)));
    module.states.iter().map(zero).collect()
}

/// The shape of a weight or a state of a verified module.
fn constant_shape(ty: &Type) -> Vec<usize> {
    ty.shape(&Bindings::default())
        .expect("weights and states have constant shapes in a verified module")
}

/// Runs one function on its own, as [`crate::FunctionBuilder::finish`] makes it, on operands of its
/// parameters' types.
///
/// # Panics
/// If a symbol is unbound, or an operand is not of its parameter's type.
pub fn run<'w, F: Real>(
    function: &Function,
    operands: Vec<Arc<Tensor<'w, F>>>,
    dims: &crate::Dims,
    bindings: &Bindings,
) -> Result<Vec<Arc<Tensor<'w, F>>>, RunError> {
    run_function(function, operands, dims, bindings, 1)
}

/// Runs a verified function. A value is let go at its last use.
fn run_function<'w, F: Real>(
    function: &Function,
    args: Tensors<'w, F>,
    dims: &crate::Dims,
    bindings: &Bindings,
    threads: usize,
) -> Result<Tensors<'w, F>, RunError> {
    let operands = |def: &Def| match def {
        Def::Param => vec![],
        Def::Op { operands, .. } => operands.clone(),
    };
    let mut uses = vec![0usize; function.values.len()];
    let used = function.values.iter().flat_map(|v| operands(&v.def));
    for id in used.chain(function.results.iter().copied()) {
        uses[id.0] += 1;
    }
    let mut made: Vec<Option<Arc<Tensor<F>>>> = args.into_iter().map(Some).collect();
    let take = |made: &mut Vec<Option<Arc<Tensor<'w, F>>>>, uses: &mut Vec<usize>, i: usize| {
        uses[i] -= 1;
        let value = if uses[i] == 0 {
            made[i].take()
        } else {
            made[i].clone()
        };
        value.expect("a verified function uses what is made")
    };
    for value in &function.values[made.len()..] {
        let Def::Op {
            op,
            attrs,
            operands,
        } = &value.def
        else {
            panic!("a verified function has its parameters first");
        };
        let types: Vec<_> = operands
            .iter()
            .map(|id| &function.values[id.0].ty)
            .collect();
        let site = Site {
            def: op.def(),
            attrs,
            operands: &types,
            dims,
        };
        let shape = value.ty.shape(bindings);
        let shape = shape.expect("a step binds every symbol of a verified module");
        let operands: Tensors<F> = operands
            .iter()
            .map(|id| take(&mut made, &mut uses, id.0))
            .collect();
        let result = eval::eval(*op, &site, operands, shape, bindings, threads).map_err(
            |eval::OutOfRange { index, length }| RunError::Index {
                function: function.name.clone(),
                value: value.name.clone(),
                index,
                length,
            },
        )?;
        made.push(Some(Arc::new(result)));
    }
    Ok(function
        .results
        .iter()
        .map(|id| take(&mut made, &mut uses, id.0))
        .collect())
}
