//! Where values lie: an arena for what kernels hand to one another, and states written in place.

use std::collections::BTreeMap;

use ir::{Dims, Module, Op, Place, Type, ValueId};

use super::{Kernel, op};

/// First and last of the kernels or calls, by place, between which a value is needed.
pub type Life = (usize, usize);
/// Offset and bytes in the arena.
type Slot = (u64, u64);

/// Offsets in the arena are multiples of this, in bytes.
pub const ALIGN: u64 = 64;

/// Where a function's written values lie. Results that are no states lie where the caller says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buffers {
    /// Bytes of the arena.
    pub arena: u64,
    /// Written values that are no results: offset and bytes in the arena, at the dims' upper bounds.
    pub slots: BTreeMap<ValueId, (u64, u64)>,
    /// Puts that are results: whether they write into the old state's memory (nobody reads it later), or
    /// into a copy of it.
    pub in_place: BTreeMap<ValueId, bool>,
}

/// The most bytes that a type can have.
fn bytes(ty: &Type, dims: &Dims) -> u64 {
    let (_, most) = dims.range(&ty.bytes()).unwrap_or_default();
    u64::try_from(most).unwrap_or(0)
}

/// Places in memory, where lives that meet have places apart.
#[derive(Clone, Debug, Default)]
pub struct Packing {
    placed: Vec<(Life, Slot)>,
    /// Bytes from the first place to the end of the last.
    pub bytes: u64,
}

impl Packing {
    /// The first place with so many bytes free for this life: its offset.
    pub fn place(&mut self, life: Life, size: u64) -> u64 {
        let meets = |other: &Life| other.0 <= life.1 && life.0 <= other.1;
        let taken = self.placed.iter().filter(|(other, _)| meets(other));
        let mut taken: Vec<Slot> = taken.map(|(_, slot)| *slot).collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, length) in taken {
            if offset + size <= start {
                break;
            }
            offset = offset.max(start + length);
        }
        self.placed.push((life, (offset, size)));
        self.bytes = self.bytes.max(offset + size);
        offset
    }
}

/// The life of a written value.
fn lifetime(kernels: &[Kernel], value: ValueId) -> Option<Life> {
    let made = kernels.iter().position(|k| k.outputs.contains(&value))?;
    let read = kernels.iter().rposition(|k| k.reads.contains(&value));
    Some((made, read.unwrap_or(made).max(made)))
}

/// Plans the buffers of the function at `index`: first fit in the order of the kernels.
pub fn plan(module: &Module, index: usize, kernels: &[Kernel]) -> Buffers {
    let function = &module.functions[index];
    let mut buffers = Buffers::default();
    let mut packing = Packing::default();
    for value in kernels.iter().flat_map(|k| &k.outputs) {
        if function.results.contains(value) {
            if matches!(op(function, *value), Some((Op::Put, _))) {
                let in_place = may_write_in_place(module, index, kernels, *value);
                buffers.in_place.insert(*value, in_place);
            }
            continue;
        }
        let Some(life) = lifetime(kernels, *value) else {
            continue;
        };
        let size = bytes(&function.values[value.0].ty, &module.dims).next_multiple_of(ALIGN);
        let offset = packing.place(life, size);
        buffers.slots.insert(*value, (offset, size));
    }
    buffers.arena = packing.bytes;
    buffers
}

/// Whether a put may write into the old state: its state is a parameter, which every call binds to the
/// state that the result goes to, and which no other value of the kernel, nor a later kernel, nor the
/// caller reads.
fn may_write_in_place(module: &Module, index: usize, kernels: &[Kernel], put: ValueId) -> bool {
    let function = &module.functions[index];
    let Some((Op::Put, [state, operands @ ..])) = op(function, put) else {
        return false;
    };
    let Some((at, _)) = lifetime(kernels, put) else {
        return false;
    };
    let own = kernels[at].values.iter().filter(|v| **v != put);
    let mut own = own.filter_map(|v| op(function, *v));
    let read = own.any(|(_, operands)| operands.contains(state))
        || operands.contains(state)
        || kernels[at + 1..].iter().any(|k| k.reads.contains(state))
        || function.results.contains(state);
    let result = function.results.iter().position(|r| *r == put);
    let calls = module.prepare.iter().chain(&module.step.calls);
    let mut calls = calls.filter(|c| c.function.0 == index);
    let bound = calls.all(|call| {
        let to = result.and_then(|r| call.results.get(r));
        let from = call.args.get(state.0);
        let once = call.args.iter().filter(|a| Some(*a) == from).count() == 1;
        matches!(from, Some(Place::State(_))) && from == to && once
    });
    state.0 < function.params().len() && !read && bound
}

/// Checks buffers against kernels, or gives the value and what is wrong with it.
pub fn check(
    module: &Module,
    index: usize,
    kernels: &[Kernel],
    buffers: &Buffers,
) -> Result<(), (ValueId, &'static str)> {
    let function = &module.functions[index];
    let mut placed: Vec<(Life, Slot)> = Vec::new();
    for value in kernels.iter().flat_map(|k| &k.outputs) {
        if function.results.contains(value) {
            if buffers.slots.contains_key(value) {
                return Err((
                    *value,
                    "a result lies where the caller says, not in the arena",
                ));
            }
            if matches!(op(function, *value), Some((Op::Put, _))) {
                match buffers.in_place.get(value) {
                    None => return Err((*value, "in place or a copy, the plan does not say")),
                    Some(true) if !may_write_in_place(module, index, kernels, *value) => {
                        return Err((*value, "it is written in place, and the old state is read"));
                    }
                    Some(_) => {}
                }
            }
            continue;
        }
        let Some((offset, size)) = buffers.slots.get(value).copied() else {
            return Err((*value, "it has no place in the arena"));
        };
        if offset % ALIGN != 0 || size < bytes(&function.values[value.0].ty, &module.dims) {
            return Err((*value, "its place is not aligned to 64 bytes, or too small"));
        }
        if offset
            .checked_add(size)
            .is_none_or(|end| end > buffers.arena)
        {
            return Err((*value, "its place ends behind the arena"));
        }
        let Some(life) = lifetime(kernels, *value) else {
            continue;
        };
        for (other, (start, length)) in &placed {
            let together = other.0 <= life.1 && life.0 <= other.1;
            if together && offset < start + length && *start < offset + size {
                return Err((*value, "it lies where another live value lies"));
            }
        }
        placed.push((life, (offset, size)));
    }
    let slots = buffers.slots.keys().chain(buffers.in_place.keys());
    let written = |v: &ValueId| kernels.iter().any(|k| k.outputs.contains(v));
    let mut puts = buffers.in_place.keys();
    let is_put =
        |v: &ValueId| v.0 < function.values.len() && matches!(op(function, *v), Some((Op::Put, _)));
    if let Some(other) = puts.find(|v| !is_put(v)) {
        return Err((
            *other,
            "only what a put makes is written in place or copied",
        ));
    }
    match slots.into_iter().find(|v| !written(v)) {
        Some(idle) => Err((*idle, "it has a place, and no kernel writes it")),
        None => Ok(()),
    }
}
