//! Where in a worker's scratch memory the values of stages lie.

use ir::{Dims, Function};

use super::{Home, Nest, Stage, Work, space};

/// Alignment of what lies in scratch memory, in bytes.
const ALIGN: u64 = 64;
/// Elements that a row is padded to: whole vectors, so that rows begin aligned.
const ROW: i64 = 32;

/// Gives every stage's value that is kept in scratch memory its place there.
pub fn layout(nest: &mut Nest, function: &Function, dims: &Dims) {
    let mut end = 0;
    let mut place = |bytes: i64, strides: Vec<i64>| {
        let offset = end;
        end += (bytes as u64).next_multiple_of(ALIGN);
        Home::Scratch { offset, strides }
    };
    for i in 0..nest.stages.len() {
        let stage = &nest.stages[i];
        let bytes = bytes(nest, function, dims, stage);
        let strides = strides(nest, function, dims, stage).split_off(1);
        let most = nest.sweep.as_ref().map(|sweep| sweep.most);
        if most == Some(stage.value) && stage.work == Work::Reduce {
            let places = [(); 2].map(|()| place(bytes, strides.clone()));
            if let Some(sweep) = &mut nest.sweep {
                [sweep.shift, sweep.decay] = places;
            }
        }
        if let Home::Scratch { .. } = nest.stages[i].to {
            nest.stages[i].to = place(bytes, strides);
        }
    }
    nest.scratch = end;
}

/// Bytes of what a tile, or a block of it, has of a stage's value.
pub fn bytes(nest: &Nest, function: &Function, dims: &Dims, stage: &Stage) -> i64 {
    let element = match stage.work {
        Work::Narrow => 2,
        _ => function.values[stage.value.0].ty.dtype.block_bytes(),
    };
    strides(nest, function, dims, stage)[0] * element as i64
}

/// The elements of the part of a stage's value that a tile needs, then how many of them lie from one index to the
/// next along each axis.
fn strides(nest: &Nest, function: &Function, dims: &Dims, stage: &Stage) -> Vec<i64> {
    let most = |dim| {
        let range = dims.range(dim);
        range
            .expect("every symbol of a verified module has a range")
            .1
    };
    let space = space(function, stage.value);
    let lengths = stage.parts.iter().zip(space).map(|(part, dim)| {
        let all = most(dim);
        part.map_or(all, |part| {
            let tile = nest.tile(part.tile);
            let units = (most(&tile.extent) + part.of - 1) / part.of;
            (tile.size.min(units * part.of) / part.of * part.per).min(all)
        })
    });
    let mut lengths: Vec<i64> = lengths.collect();
    if let Some(last) = lengths.last_mut() {
        *last = (*last + ROW - 1) / ROW * ROW;
    }
    let mut strides = vec![1];
    for length in lengths.iter().rev() {
        strides.push(strides[strides.len() - 1] * length);
    }
    strides.reverse();
    strides[0] = strides[0].max(1);
    strides
}
