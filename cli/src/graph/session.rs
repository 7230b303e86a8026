//! What runs a graph's step, again and again.

use std::sync::Arc;

use backends::{Options, compile};
use ir::interp::{Interpreter, Tensor};
use ir::{Bindings, Module, StateId};
use passes::plan::Plan;
use runtime::{Code, Machine, Weight, Weights};

use super::given::{Given, state_name};
use super::tensors::Named;
use crate::backend::Fidelity;
use crate::compile::best_here;
use crate::error::Error;
use crate::progress::Progress;

/// A plan compiled for this machine and loaded.
pub struct Compiled {
    plan: Plan,
    machine: Machine,
}

/// A graph that is ready to run, and what it is run on.
pub struct Session<'g> {
    given: &'g Given<'g>,
    runner: Runner<'g>,
}

enum Runner<'g> {
    Compiled(Box<Compiled>),
    Interpreted {
        interpreter: Box<Interpreter<'g, f32>>,
        /// What the last step gave.
        outputs: Vec<Arc<Tensor<'g, f32>>>,
    },
}

impl Compiled {
    /// Compiles a plan for this machine's best level, and loads it with the weights for these places.
    ///
    /// # Errors
    /// What the backend has no code for, what the runtime refuses, and those of `weights`.
    pub fn new(
        plan: Plan,
        fidelity: Fidelity,
        threads: usize,
        progress: &Progress,
        weights: impl FnOnce(&[Weight]) -> Result<Weights, Error>,
    ) -> Result<Compiled, Error> {
        let options = Options {
            levels: vec![best_here("--backend cpu")?],
            fidelity: match fidelity {
                Fidelity::Exact => backends::Fidelity::Exact,
                Fidelity::Fast => backends::Fidelity::Fast,
            },
            tune_for_host: false,
        };
        let kernels = plan.functions.iter().map(|f| f.kernels.len());
        let phase = progress.kernels("code", kernels.sum());
        let compiled = compile(&plan, &options, &mut |done, of| {
            phase.at(done as u64, of as u64);
        })?;
        drop(phase);
        let [image] = &compiled.images[..] else {
            panic!("one level was asked for, and one image is there");
        };
        // SAFETY: the image is the compiler's own, made for this program and for a level that this machine has.
        let code = unsafe { Code::from_image(image) }?;
        let weights = weights(&compiled.program.weights)?;
        Ok(Compiled {
            plan,
            machine: Machine::new(compiled.program, code, weights, threads)?,
        })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Has the next steps run on these inputs.
    ///
    /// # Panics
    /// If they are not of the plan's module.
    pub fn set_inputs(&mut self, given: &Given<'_>) {
        for (i, input) in given.inputs.iter().enumerate() {
            let bytes = input.to_bytes();
            self.machine.input_mut(i)[..bytes.len()].copy_from_slice(&bytes);
        }
    }

    /// Has the next step begin with these states.
    ///
    /// # Panics
    /// If they are not of the plan's module.
    pub fn set_states(&mut self, given: &Given<'_>) {
        for (i, state) in given.states.iter().enumerate() {
            let memory = self.machine.state_mut(i);
            match state {
                Some(state) => memory.copy_from_slice(&state.to_bytes()),
                None => memory.fill(0),
            }
        }
    }

    /// Runs a step.
    ///
    /// # Errors
    /// An index read outside its axis.
    ///
    /// # Panics
    /// If a symbol is unbound.
    pub fn step(&mut self, bindings: &Bindings) -> Result<(), Error> {
        let symbols = self.symbols(bindings);
        Ok(self.machine.step(&symbols)?)
    }

    /// Runs a step, and gives the seconds of each launch and which kernel of the lowered plan it is of.
    ///
    /// # Errors
    /// An index read outside its axis.
    ///
    /// # Panics
    /// If a symbol is unbound.
    pub fn step_timed(&mut self, bindings: &Bindings) -> Result<Vec<(usize, f64)>, Error> {
        let symbols = self.symbols(bindings);
        let seconds = self.machine.step_timed(&symbols)?;
        let launches = self.machine.program().launches.iter();
        Ok(launches.map(|launch| launch.kernel).zip(seconds).collect())
    }

    /// What the last step gave, then the states.
    fn results(&self, bindings: &Bindings) -> Vec<Named> {
        let module = &self.plan.module;
        let step = &module.step;
        let outputs = step.outputs.iter().map(|o| &step.locals[o.0].ty);
        let outputs = outputs
            .enumerate()
            .map(|(i, ty)| (ty, self.machine.output(i)));
        let states = module.states.iter().map(|s| &s.ty);
        let states = states
            .enumerate()
            .map(|(i, ty)| (ty, self.machine.state(i)));
        let tensors = outputs.chain(states).map(|(ty, bytes)| {
            let shape = ty.shape(bindings).expect("a step's symbols are bound");
            let length = ty.dtype.bytes(&shape);
            let length = length.expect("a verified tensor's bytes can be counted");
            Tensor::stored(ty.dtype, shape, bytes[..length].to_vec())
        });
        let named = names(module).zip(tensors);
        named.map(|(name, tensor)| Named { name, tensor }).collect()
    }

    fn symbols(&self, bindings: &Bindings) -> Vec<i64> {
        let ranges = self.plan.module.dims.ranges.iter();
        let value = |sym| bindings.get(sym).expect("a step's symbols are bound");
        ranges.map(|(sym, ..)| value(sym)).collect()
    }
}

/// Weights at these places, from their bytes by name.
///
/// # Errors
/// Memory that the system refuses.
///
/// # Panics
/// If a weight's bytes are not as many as its place has.
pub fn packed<'w>(
    places: &[Weight],
    stored: impl Fn(&str) -> Option<&'w [u8]>,
) -> Result<Weights, Error> {
    let end = |place: &Weight| (place.offset + place.bytes) as usize;
    let bytes = places.iter().map(end).max().unwrap_or(0);
    let weights = Weights::filled(bytes, |memory| {
        for place in places {
            let bytes = stored(&place.name).expect("every stored weight was found");
            memory[place.offset as usize..end(place)].copy_from_slice(bytes);
        }
    });
    Ok(weights?)
}

impl<'g> Session<'g> {
    /// A compiled plan to run on this.
    pub fn compiled(mut compiled: Compiled, given: &'g Given<'g>) -> Session<'g> {
        compiled.set_inputs(given);
        Session {
            given,
            runner: Runner::Compiled(Box::new(compiled)),
        }
    }

    /// A module to interpret on this.
    ///
    /// # Errors
    /// What the interpreter refuses.
    pub fn interpreted(
        module: Module,
        given: &'g Given<'g>,
        threads: usize,
    ) -> Result<Session<'g>, Error> {
        let interpreter = Interpreter::new(module, |name| given.weight(name), threads)?;
        Ok(Session {
            given,
            runner: Runner::Interpreted {
                interpreter: Box::new(interpreter),
                outputs: vec![],
            },
        })
    }

    /// Has the next step begin with the states that were given.
    ///
    /// # Errors
    /// What the interpreter refuses.
    pub fn restart(&mut self) -> Result<(), Error> {
        match &mut self.runner {
            Runner::Compiled(compiled) => compiled.set_states(self.given),
            Runner::Interpreted { interpreter, .. } => {
                for (i, state) in self.given.states.iter().enumerate() {
                    let now = interpreter.state(StateId(i));
                    let zeros = || Tensor::zeros(now.dtype, &now.shape);
                    let state = state.as_ref().map_or_else(zeros, borrowed);
                    interpreter.set_state(StateId(i), state)?;
                }
            }
        }
        Ok(())
    }

    /// Runs a step.
    ///
    /// # Errors
    /// An index read outside its axis.
    pub fn step(&mut self) -> Result<(), Error> {
        let Given {
            bindings, inputs, ..
        } = self.given;
        match &mut self.runner {
            Runner::Compiled(compiled) => compiled.step(bindings)?,
            Runner::Interpreted {
                interpreter,
                outputs,
            } => {
                *outputs = interpreter.step(bindings, inputs.iter().map(borrowed).collect())?;
            }
        }
        Ok(())
    }

    /// What the last step gave, and behind it the states as they are now, under the names that they have in a file.
    pub fn results(&self) -> Vec<Named> {
        match &self.runner {
            Runner::Compiled(compiled) => compiled.results(&self.given.bindings),
            Runner::Interpreted {
                interpreter,
                outputs,
            } => {
                let module = interpreter.module();
                let states = (0..module.states.len()).map(|i| interpreter.state(StateId(i)));
                let tensors = outputs.iter().map(|output| &**output).chain(states);
                let named = names(module).zip(tensors).map(|(name, tensor)| {
                    let (dtype, shape) = (tensor.dtype, tensor.shape.clone());
                    let bytes = tensor.to_bytes().into_owned();
                    let tensor = Tensor::stored(dtype, shape, bytes);
                    Named { name, tensor }
                });
                named.collect()
            }
        }
    }

    /// Runs a step, and gives what [`Compiled::step_timed`] gives; nothing where there are no kernels.
    ///
    /// # Errors
    /// An index read outside its axis.
    pub fn step_timed(&mut self) -> Result<Vec<(usize, f64)>, Error> {
        match &mut self.runner {
            Runner::Compiled(compiled) => compiled.step_timed(&self.given.bindings),
            Runner::Interpreted { .. } => self.step().map(|()| vec![]),
        }
    }

    /// The plan that was compiled, if one was.
    pub fn plan(&self) -> Option<&Plan> {
        match &self.runner {
            Runner::Compiled(compiled) => Some(compiled.plan()),
            Runner::Interpreted { .. } => None,
        }
    }
}

/// Names of a step's outputs, then of the states, as they are in a file.
fn names(module: &Module) -> impl Iterator<Item = String> {
    let step = &module.step;
    let outputs = step.outputs.iter().map(|o| step.locals[o.0].name.clone());
    outputs.chain(module.states.iter().map(|s| state_name(&s.name)))
}

/// The same tensor, without a copy of its elements.
fn borrowed<'t>(tensor: &'t Tensor<'_, f32>) -> Tensor<'t, f32> {
    Tensor::stored(tensor.dtype, tensor.shape.clone(), tensor.to_bytes())
}
