//! What makes a plan legal.

use std::collections::HashSet;

use ir::{Function, Op, ValueId, Violation};

use super::{FunctionPlan, Kernel, Plan, buffers, op, space};
use crate::fusion::template_of;

/// Why a plan is refused.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Its module is not well-formed.
    #[error(transparent)]
    Module(#[from] Violation),
    /// It plans another number of functions than the module has.
    #[error("expected {expected} plans, one for each function, found {found}")]
    Functions {
        /// Functions of the module.
        expected: usize,
        /// Functions planned.
        found: usize,
    },
    /// A kernel cannot be run.
    #[error("fn {function}, kernel {kernel}, %{value}: {reason}")]
    Kernel {
        /// The function.
        function: String,
        /// The kernel.
        kernel: String,
        /// The value that shows it.
        value: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A function's plan as a whole is wrong at a value.
    #[error("fn {function}, %{value}: {reason}")]
    Value {
        /// The function.
        function: String,
        /// The value.
        value: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A kernel stands twice, or writes nothing.
    #[error("fn {function}, kernel {kernel}: {reason}")]
    Name {
        /// The function.
        function: String,
        /// The kernel.
        kernel: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Checks a plan: every read is made earlier, every result is written, one template in a kernel, no state
/// written twice, no two live values in one place.
pub fn verify(plan: &Plan) -> Result<(), PlanError> {
    ir::verify(&plan.module)?;
    let (expected, found) = (plan.module.functions.len(), plan.functions.len());
    if expected != found {
        return Err(PlanError::Functions { expected, found });
    }
    for (index, planned) in plan.functions.iter().enumerate() {
        let function = &plan.module.functions[index];
        verify_function(function, planned)?;
        let refused = buffers::check(&plan.module, index, &planned.kernels, &planned.buffers);
        if let Err((value, reason)) = refused {
            return Err(at(function, value, reason));
        }
    }
    Ok(())
}

fn name(function: &Function, value: ValueId) -> String {
    let found = function.values.get(value.0);
    found.map_or_else(|| format!("#{}", value.0), |v| v.name.clone())
}

fn at(function: &Function, value: ValueId, reason: &'static str) -> PlanError {
    PlanError::Value {
        function: function.name.clone(),
        value: name(function, value),
        reason,
    }
}

fn verify_function(function: &Function, planned: &FunctionPlan) -> Result<(), PlanError> {
    let mut ready: HashSet<ValueId> = (0..function.params().len()).map(ValueId).collect();
    let mut names = HashSet::new();
    let mut puts = HashSet::new();
    for kernel in &planned.kernels {
        let named = |reason| PlanError::Name {
            function: function.name.clone(),
            kernel: kernel.name.clone(),
            reason,
        };
        if !names.insert(&kernel.name) {
            return Err(named("a kernel of that name stands above"));
        }
        let Some(root) = kernel.outputs.last() else {
            return Err(named("it writes nothing"));
        };
        verify_kernel(function, kernel, *root, &ready).map_err(|(value, reason)| {
            PlanError::Kernel {
                function: function.name.clone(),
                kernel: kernel.name.clone(),
                value: name(function, value),
                reason,
            }
        })?;
        for value in &kernel.values {
            let put = matches!(op(function, *value), Some((Op::Put, _)));
            if put && !puts.insert(*value) {
                return Err(at(function, *value, "a state is written by two kernels"));
            }
        }
        for output in &kernel.outputs {
            if !ready.insert(*output) {
                return Err(at(function, *output, "it is written twice"));
            }
        }
    }
    match function.results.iter().find(|r| !ready.contains(r)) {
        Some(result) => Err(at(function, *result, "a result that no kernel writes")),
        None => Ok(()),
    }
}

fn verify_kernel(
    function: &Function,
    kernel: &Kernel,
    root: ValueId,
    ready: &HashSet<ValueId>,
) -> Result<(), (ValueId, &'static str)> {
    let mut used = HashSet::new();
    let mut made = HashSet::new();
    let everything = [&kernel.reads, &kernel.values, &kernel.outputs];
    let mut everything = everything.into_iter().flatten();
    if let Some(none) = everything.find(|v| v.0 >= function.values.len()) {
        return Err((*none, "the function has no such value"));
    }
    if let Some(read) = kernel.reads.iter().find(|r| !ready.contains(r)) {
        return Err((*read, "it is read before a kernel writes it"));
    }
    for value in &kernel.values {
        let Some((_, operands)) = op(function, *value) else {
            return Err((*value, "a parameter is read, not computed"));
        };
        if kernel.reads.contains(value) || !made.insert(*value) {
            return Err((*value, "it is read or computed already"));
        }
        for operand in operands.iter().filter(|o| !made.contains(o)) {
            if !kernel.reads.contains(operand) {
                return Err((*operand, "it is used, and neither read nor computed before"));
            }
            used.insert(*operand);
        }
    }
    if let Some(idle) = kernel.reads.iter().find(|r| !used.contains(r)) {
        return Err((*idle, "it is read and not used"));
    }
    for output in &kernel.outputs {
        if !made.contains(output) {
            return Err((*output, "it is written and not computed"));
        }
        let block = function.values[output.0].ty.dtype.is_block();
        if block && !function.results.contains(output) {
            return Err((*output, "a block format stays with its dequant"));
        }
    }
    if space(function, root) != kernel.space {
        return Err((root, "the iteration space is not the root's"));
    }
    match template_of(function, &kernel.values) {
        None => Err((root, "the region follows no schedule template")),
        Some(template) if template != kernel.template => {
            Err((root, "the region follows another schedule template"))
        }
        Some(_) => Ok(()),
    }
}
