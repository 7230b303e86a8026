//! A plan's calls as launches: which kernel runs when, over which memory.

use std::collections::{BTreeMap, HashMap};

use ir::{Call, Def, Function, LocalId, Module, Op, Place, Type};
use passes::plan::Lowered;
use passes::plan::buffers::{ALIGN, Life, Packing};
use runtime::{Address, Buffer, Launch, Program, Symbol, Weight};

use crate::Error;

/// The program of a lowered plan whose kernels need so much scratch memory.
///
/// # Errors
/// [`Error::Unsupported`] for weights that are to be prepared, and for a step that returns what it is given.
pub fn program(lowered: &Lowered, scratch: u64) -> Result<Program, Error> {
    let module = &lowered.module;
    if !module.prepare.is_empty() {
        return Err(Error::Unsupported("weights made by `prepare`".into()));
    }
    let bytes = |ty: &Type| {
        let (_, most) = module.dims.range(&ty.bytes()).unwrap_or_default();
        u64::try_from(most).unwrap_or(0)
    };
    let buffer = |name: &str, ty: &Type| Buffer {
        name: name.into(),
        bytes: bytes(ty),
    };
    let mut end = 0;
    let weights = module.weights.iter().map(|w| {
        let weight = Weight {
            name: w.name.clone(),
            offset: end,
            bytes: bytes(&w.ty),
        };
        end = (end + weight.bytes).next_multiple_of(ALIGN);
        weight
    });
    let step = &module.step;
    let outputs = &step.outputs;
    for (i, output) in outputs.iter().enumerate() {
        if output.0 < step.inputs || outputs[..i].contains(output) {
            let name = &step.locals[output.0].name;
            let what = format!("%{name} as an output: it is an input, or stands twice");
            return Err(Error::Unsupported(what));
        }
    }
    let (places, arena) = arena(lowered, &bytes);
    let address = |place: &Place| match place {
        Place::Weight(id) => Address::Weight(id.0),
        Place::State(id) => Address::State(id.0),
        Place::Local(id) => match outputs.iter().position(|o| o == id) {
            Some(i) => Address::Output(i),
            None if id.0 < step.inputs => Address::Input(id.0),
            None => Address::Arena(places[id]),
        },
    };
    let launch = |call: &Call| Launch {
        kernel: call.function.0,
        args: call.args.iter().chain(&call.results).map(address).collect(),
    };
    let symbol = |(sym, low, high): &(ir::Sym, i64, i64)| Symbol {
        name: sym.name().into(),
        low: *low,
        high: *high,
    };
    Ok(Program {
        symbols: module.dims.ranges.iter().map(symbol).collect(),
        inputs: step
            .input_locals()
            .iter()
            .map(|l| buffer(&l.name, &l.ty))
            .collect(),
        outputs: outputs
            .iter()
            .map(|o| buffer(&step.locals[o.0].name, &step.locals[o.0].ty))
            .collect(),
        states: module
            .states
            .iter()
            .map(|s| buffer(&s.name, &s.ty))
            .collect(),
        weights: weights.collect(),
        arena,
        scratch,
        kernels: module.functions.iter().map(|f| f.name.clone()).collect(),
        launches: step.calls.iter().map(launch).collect(),
    })
}

/// Where the step's locals lie in the arena, and its size: first what the plan placed for the kernels of
/// one call, behind that all others, each as long as it is needed.
fn arena(lowered: &Lowered, bytes: &dyn Fn(&Type) -> u64) -> (HashMap<LocalId, u64>, u64) {
    let step = &lowered.module.step;
    let mut lives: BTreeMap<LocalId, Life> = BTreeMap::new();
    for (i, call) in step.calls.iter().enumerate() {
        for place in call.args.iter().chain(&call.results) {
            if let Place::Local(id) = place {
                lives.entry(*id).or_insert((i, i)).1 = i;
            }
        }
    }
    let planned = lowered
        .slots
        .values()
        .map(|(offset, bytes)| offset + bytes)
        .max();
    let base = planned.unwrap_or(0).next_multiple_of(ALIGN);
    let mut places: HashMap<LocalId, u64> = HashMap::new();
    let mut free: Vec<(LocalId, Life)> = Vec::new();
    for (id, life) in lives {
        match lowered.slots.get(&id) {
            Some((offset, _)) => {
                places.insert(id, *offset);
            }
            None if id.0 >= step.inputs && !step.outputs.contains(&id) => free.push((id, life)),
            None => {}
        }
    }
    free.sort_by_key(|(_, life)| life.0);
    let mut packing = Packing::default();
    for (id, life) in free {
        let size = bytes(&step.locals[id.0].ty)
            .next_multiple_of(ALIGN)
            .max(ALIGN);
        places.insert(id, base + packing.place(life, size));
    }
    (places, base + packing.bytes)
}

/// Whether every call of a function has its puts written into the memory of the state that they replace.
pub fn in_place(module: &Module, index: usize) -> bool {
    let function: &Function = &module.functions[index];
    let puts = function
        .results
        .iter()
        .enumerate()
        .filter_map(|(i, result)| match &function.values[result.0].def {
            Def::Op {
                op: Op::Put,
                operands,
                ..
            } => Some((i, operands[0].0)),
            _ => None,
        });
    let puts: Vec<(usize, usize)> = puts.collect();
    let calls = module.step.calls.iter().filter(|c| c.function.0 == index);
    let mut same = calls.flat_map(|call| {
        let places = puts
            .iter()
            .map(|(result, state)| (&call.results[*result], call.args.get(*state)));
        places.collect::<Vec<_>>()
    });
    same.all(|(to, from)| Some(to) == from)
}
