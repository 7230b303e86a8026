//! Where along an axis the lanes of a vector stand.

use inkwell::types::VectorType;
use inkwell::values::{BasicValueEnum, IntValue, VectorValue};

use super::flow::Flow;
use crate::llvm::lanes::written;

/// Lanes of a vector.
pub const LANES: i64 = 16;

/// An index along one axis, for one element or for a vector of [`LANES`] of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place<'c> {
    /// `base + stride * lane`; the same for all lanes where the stride is 0.
    Affine {
        /// The first lane's index.
        base: IntValue<'c>,
        /// From one lane to the next.
        stride: i64,
        /// A number that is known to divide the base.
        align: i64,
    },
    /// Any index for each lane, as `<16 x i64>`.
    Any(VectorValue<'c>),
}

/// An index along one axis, and the innermost scope that it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Index<'c> {
    /// Where it stands.
    pub place: Place<'c>,
    /// The scope.
    pub depth: usize,
}

pub fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl<'c> Index<'c> {
    /// One index, for all lanes.
    pub fn uniform(base: IntValue<'c>, align: i64, depth: usize) -> Index<'c> {
        Index {
            place: Place::Affine {
                base,
                stride: 0,
                align,
            },
            depth,
        }
    }

    /// A run of indices, lane after lane.
    pub fn run(base: IntValue<'c>, align: i64, depth: usize) -> Index<'c> {
        Index {
            place: Place::Affine {
                base,
                stride: 1,
                align,
            },
            depth,
        }
    }

    /// Whether it is one index.
    pub fn is_uniform(self) -> bool {
        matches!(self.place, Place::Affine { stride: 0, .. })
    }
}

/// Sums of indices times strides, and their division: how views move indices.
impl<'c> Flow<'_, 'c> {
    /// Every lane's index.
    pub fn lanes_of(&mut self, index: Index<'c>) -> VectorValue<'c> {
        match index.place {
            Place::Any(lanes) => lanes,
            Place::Affine { base, stride, .. } => {
                let steps: Vec<IntValue> = (0..LANES).map(|i| self.i64(i * stride)).collect();
                let steps = VectorType::const_vector(&steps);
                let base = self.splat(base.into());
                self.int_add(base, steps.into()).into_vector_value()
            }
        }
    }

    /// Each lane's index as i32.
    pub fn index_as_i32(&mut self, index: Index<'c>) -> BasicValueEnum<'c> {
        let i32s = self.context.i32_type();
        if let Place::Affine {
            base, stride: 0, ..
        } = index.place
        {
            return written(self.builder.build_int_truncate(base, i32s, "")).into();
        }
        let lanes = self.lanes_of(index);
        let narrow = self
            .builder
            .build_int_truncate(lanes, i32s.vec_type(LANES as u32), "");
        written(narrow).into()
    }

    /// `a + b`.
    pub fn index_add(&mut self, a: Index<'c>, b: Index<'c>) -> Index<'c> {
        let depth = a.depth.max(b.depth);
        let place = self.at_depth(depth, |flow| match (a.place, b.place) {
            (
                Place::Affine {
                    base,
                    stride,
                    align,
                },
                Place::Affine {
                    base: base_b,
                    stride: stride_b,
                    align: align_b,
                },
            ) => Place::Affine {
                base: flow.int_add(base.into(), base_b.into()).into_int_value(),
                stride: stride + stride_b,
                align: gcd(align, align_b),
            },
            _ => {
                let (a, b) = (flow.lanes_of(a), flow.lanes_of(b));
                Place::Any(flow.int_add(a.into(), b.into()).into_vector_value())
            }
        });
        Index { place, depth }
    }

    /// `index + offset`, where the offset is known everywhere.
    pub fn index_offset(&mut self, index: Index<'c>, offset: IntValue<'c>) -> Index<'c> {
        let align = offset.get_sign_extended_constant().unwrap_or(1).abs();
        self.index_add(index, Index::uniform(offset, align, 0))
    }

    /// `index * factor`, where the factor is known everywhere.
    pub fn index_times(&mut self, index: Index<'c>, factor: IntValue<'c>) -> Index<'c> {
        let known = factor.get_sign_extended_constant();
        let place = self.at_depth(index.depth, |flow| match index.place {
            Place::Affine {
                base,
                stride,
                align,
            } if stride == 0 || known.is_some() => Place::Affine {
                base: flow.int_mul(base.into(), factor.into()).into_int_value(),
                stride: stride * known.unwrap_or(0),
                align: align.saturating_mul(known.unwrap_or(1)).abs(),
            },
            _ => {
                let lanes = flow.lanes_of(index);
                let factor = flow.splat(factor.into());
                Place::Any(flow.int_mul(lanes.into(), factor).into_vector_value())
            }
        });
        Index {
            place,
            depth: index.depth,
        }
    }

    /// Quotient and remainder by a length of at least 1 that is known everywhere.
    pub fn index_split(&mut self, index: Index<'c>, by: IntValue<'c>) -> (Index<'c>, Index<'c>) {
        let depth = index.depth;
        let (quotient, rest) = self.at_depth(depth, |flow| flow.split(index.place, by));
        let index = |place| Index { place, depth };
        (index(quotient), index(rest))
    }

    fn split(&mut self, place: Place<'c>, by: IntValue<'c>) -> (Place<'c>, Place<'c>) {
        let known = by.get_sign_extended_constant();
        if let Place::Affine {
            base,
            stride,
            align,
        } = place
        {
            // Lanes stay in one block of `by` where both begin at a multiple of the lanes.
            let within =
                stride == 1 && known.is_some_and(|by| by % LANES == 0) && align % LANES == 0;
            let whole = known.is_some_and(|by| stride % by == 0);
            if stride == 0 || within || whole {
                let quotient = self.int_div(base.into(), by.into()).into_int_value();
                let rest = self.int_rem(base.into(), by.into()).into_int_value();
                let blocks = match known {
                    Some(by) if align % by == 0 => align / by,
                    _ => 1,
                };
                let steps = if whole {
                    stride / known.unwrap_or(1)
                } else {
                    0
                };
                let affine = |base, stride, align| Place::Affine {
                    base,
                    stride,
                    align,
                };
                return (
                    affine(quotient, steps, blocks),
                    affine(
                        rest,
                        stride - steps * known.unwrap_or(1),
                        known.map_or(1, |by| gcd(align, by)),
                    ),
                );
            }
        }
        let lanes = self.lanes_of(Index { place, depth: 0 }).into();
        let by = self.splat(by.into());
        let (quotient, rest) = (self.int_div(lanes, by), self.int_rem(lanes, by));
        (
            Place::Any(quotient.into_vector_value()),
            Place::Any(rest.into_vector_value()),
        )
    }
}
