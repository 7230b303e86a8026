//! Whether a program agrees with itself, its code and its weights.

use crate::{Address, Error, Program};

/// Checks all that would otherwise make a step read or write outside the program's memory.
///
/// # Errors
///
/// [`Error::Program`] with the first thing that is wrong.
pub(super) fn check(program: &Program, kernels: usize, weight_data: usize) -> Result<(), Error> {
    match fault(program, kernels, weight_data as u64) {
        Some(fault) => Err(Error::Program(fault)),
        None => Ok(()),
    }
}

fn fault(program: &Program, kernels: usize, weight_data: u64) -> Option<String> {
    let named = program.kernels.len();
    if named != kernels {
        return Some(format!("its code has {kernels} kernels, expected {named}"));
    }
    for symbol in &program.symbols {
        let (name, low, high) = (&symbol.name, symbol.low, symbol.high);
        if low > high {
            return Some(format!("symbol {name} is between {low} and {high}"));
        }
    }
    for weight in &program.weights {
        let (name, offset, bytes) = (&weight.name, weight.offset, weight.bytes);
        if !offset.is_multiple_of(64) {
            return Some(format!(
                "weight {name} begins at byte {offset}, expected a multiple of 64"
            ));
        }
        let end = offset.checked_add(bytes);
        if end.is_none_or(|end| end > weight_data) {
            return Some(format!(
                "weight {name} has {bytes} bytes from byte {offset} on, but the weight data have {weight_data}"
            ));
        }
    }
    for (index, launch) in program.launches.iter().enumerate() {
        if launch.kernel >= named {
            let kernel = launch.kernel;
            return Some(format!("launch {index} runs kernel {kernel} of {named}"));
        }
        if let Some(fault) = launch.args.iter().find_map(|at| outside(program, *at)) {
            let kernel = &program.kernels[launch.kernel];
            return Some(format!("launch {index} gives kernel {kernel} {fault}"));
        }
    }
    None
}

/// What is wrong with an address, if anything is.
fn outside(program: &Program, address: Address) -> Option<String> {
    let (kind, index, count) = match address {
        Address::Weight(index) => ("weight", index, program.weights.len()),
        Address::State(index) => ("state", index, program.states.len()),
        Address::Input(index) => ("input", index, program.inputs.len()),
        Address::Output(index) => ("output", index, program.outputs.len()),
        Address::Arena(offset) if offset > program.arena => {
            let has = program.arena;
            return Some(format!("byte {offset} of an arena of {has} bytes"));
        }
        Address::Arena(offset) if !offset.is_multiple_of(64) => {
            return Some(format!(
                "byte {offset} of the arena, expected a multiple of 64"
            ));
        }
        Address::Arena(_) => return None,
    };
    (index >= count).then(|| format!("{kind} {index} of {count}"))
}
