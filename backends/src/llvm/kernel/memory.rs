//! Tensors in memory: loads and stores of elements and of vectors.

use inkwell::types::BasicTypeEnum;
use inkwell::values::{BasicValue, BasicValueEnum, IntValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};
use ir::DType;

use super::flow::{Flow, vector_of};
use super::index::{Index, LANES, Place};
use crate::llvm::lanes::written;

/// A tensor, or a part of one, in memory.
#[derive(Clone)]
pub struct Memory<'c> {
    /// Its first element.
    pub pointer: PointerValue<'c>,
    /// What its elements are stored as.
    pub dtype: DType,
    /// Elements from one index to the next, of each axis.
    pub strides: Vec<IntValue<'c>>,
    /// The index of the first element along each axis; of a whole tensor 0.
    pub origin: Vec<Index<'c>>,
    /// Whether the kernel writes it.
    pub own: bool,
}

impl<'c> Flow<'_, 'c> {
    /// How many elements from a memory's first an element lies.
    pub fn offset(&mut self, memory: &Memory<'c>, at: &[Index<'c>]) -> Index<'c> {
        let mut axes: Vec<usize> = (0..at.len()).collect();
        // Outer indices first, so that their sum is written in the outer scope.
        axes.sort_by_key(|axis| at[*axis].depth);
        let mut sum = Index::uniform(self.i64(0), 0, 0);
        for axis in axes {
            let mut index = at[axis];
            if let Some(origin) = memory.origin.get(axis) {
                let less = self.i64(-1);
                let back = self.index_times(*origin, less);
                index = self.index_add(index, back);
            }
            let moved = self.index_times(index, memory.strides[axis]);
            sum = self.index_add(sum, moved);
        }
        sum
    }

    /// An element in memory; a bool takes a byte.
    fn stored(&self, dtype: DType) -> BasicTypeEnum<'c> {
        match dtype {
            DType::Bool => self.context.i8_type().into(),
            other => self.element(other),
        }
    }

    /// The elements at an offset.
    pub fn load(&mut self, memory: &Memory<'c>, offset: Index<'c>) -> BasicValueEnum<'c> {
        let element = self.stored(memory.dtype);
        let bytes = memory.dtype.block_bytes() as u32;
        let vector = self.vector(element);
        let pointers = self.context.ptr_type(AddressSpace::default());
        let loaded = match (offset.place, self.mask()) {
            (
                Place::Affine {
                    base, stride: 0, ..
                },
                _,
            ) => {
                let pointer = self.element_at(memory.pointer, element, base);
                self.aligned_load(element, pointer, bytes)
            }
            (Place::Affine { stride: 1, .. }, _) => self.load_run(memory, offset, LANES),
            (_, mask) => {
                let all = self.context.bool_type().const_all_ones();
                let mask = match mask {
                    Some(mask) => mask,
                    None => self.splat(all.into()).into_vector_value(),
                };
                let each = self.pointers(memory, offset);
                let types = [
                    vector.into(),
                    vector_of(pointers.into(), LANES as u32).into(),
                ];
                let operands = [each.into(), mask.into(), vector.const_zero().into()];
                let loaded = self.site().call("llvm.masked.gather", &types, &operands);
                loaded.expect("a gather has a result")
            }
        };
        match memory.dtype {
            DType::Bool => {
                let zero = self.context.i8_type().const_zero();
                self.int_compare(IntPredicate::NE, loaded, zero.into())
            }
            _ => loaded,
        }
    }

    /// So many elements after one another, those that the mask leaves out as 0.
    pub fn load_run(
        &mut self,
        memory: &Memory<'c>,
        offset: Index<'c>,
        lanes: i64,
    ) -> BasicValueEnum<'c> {
        let Place::Affine {
            base, stride: 1, ..
        } = offset.place
        else {
            panic!("a run of elements lies one after another");
        };
        let element = self.stored(memory.dtype);
        let vector = vector_of(element, lanes as u32);
        let pointer = self.element_at(memory.pointer, element, base);
        let Some(mask) = self.mask() else {
            return self.aligned_load(vector.into(), pointer, memory.dtype.block_bytes() as u32);
        };
        let pointers = self.context.ptr_type(AddressSpace::default());
        let types = [vector.into(), pointers.into()];
        let operands = [pointer.into(), mask.into(), vector.const_zero().into()];
        let loaded = self.site().call("llvm.masked.load", &types, &operands);
        loaded.expect("a load has a result")
    }

    /// Stores elements at an offset: one, or lanes after one another.
    pub fn store(&mut self, memory: &Memory<'c>, offset: Index<'c>, value: BasicValueEnum<'c>) {
        let element = self.stored(memory.dtype);
        let bytes = memory.dtype.block_bytes() as u32;
        let value = match memory.dtype {
            DType::Bool => self.widened(value, element),
            _ => value,
        };
        let Place::Affine { base, stride, .. } = offset.place else {
            panic!("stages write along their axes");
        };
        let pointer = self.element_at(memory.pointer, element, base);
        match (stride, self.mask()) {
            (0, _) => {
                let store = written(self.builder.build_store(pointer, value));
                store
                    .set_alignment(bytes)
                    .expect("the size of an element is a power of two");
            }
            (1, None) => {
                let value = self.splat(value);
                let store = written(self.builder.build_store(pointer, value));
                store
                    .set_alignment(bytes)
                    .expect("the size of an element is a power of two");
            }
            (1, Some(mask)) if bytes < 4 => {
                // Element by element: for AVX-512, LLVM 22 writes four bytes where one narrow element of a
                // narrowed vector is to be stored (llvm/llvm-project#179489).
                let value = self.splat(value);
                let each = self.pointers(memory, offset);
                let types = [value.get_type(), each.get_type()];
                self.site().call(
                    "llvm.masked.scatter",
                    &types,
                    &[value.into(), each.into(), mask.into()],
                );
            }
            (1, Some(mask)) => {
                let value = self.splat(value);
                let pointers = self.context.ptr_type(AddressSpace::default());
                let types = [value.get_type(), pointers.into()];
                self.site().call(
                    "llvm.masked.store",
                    &types,
                    &[value.into(), pointer.into(), mask.into()],
                );
            }
            _ => panic!("stages write along their last axis"),
        }
    }

    /// A load of any type.
    pub fn aligned_load(
        &self,
        ty: BasicTypeEnum<'c>,
        pointer: PointerValue<'c>,
        bytes: u32,
    ) -> BasicValueEnum<'c> {
        let load = written(self.builder.build_load(ty, pointer, ""));
        if let Some(instruction) = load.as_instruction_value() {
            let set = instruction.set_alignment(bytes);
            set.expect("the size of an element is a power of two");
        }
        load
    }

    fn widened(&self, value: BasicValueEnum<'c>, element: BasicTypeEnum<'c>) -> BasicValueEnum<'c> {
        match value {
            BasicValueEnum::VectorValue(lanes) => {
                let to = vector_of(element, LANES as u32);
                written(self.builder.build_int_z_extend(lanes, to, "")).into()
            }
            one => {
                let to = element.into_int_type();
                written(
                    self.builder
                        .build_int_z_extend(one.into_int_value(), to, ""),
                )
                .into()
            }
        }
    }

    /// The address of each lane.
    fn pointers(&mut self, memory: &Memory<'c>, offset: Index<'c>) -> BasicValueEnum<'c> {
        let pointers = self.context.ptr_type(AddressSpace::default());
        let mut each = vector_of(pointers.into(), LANES as u32).get_undef();
        let lanes = self.lanes_of(offset);
        let element = self.stored(memory.dtype);
        for lane in 0..LANES {
            let lane = self.context.i32_type().const_int(lane as u64, false);
            let offset = written(self.builder.build_extract_element(lanes, lane, ""));
            let pointer = self.element_at(memory.pointer, element, offset.into_int_value());
            each = written(self.builder.build_insert_element(each, pointer, lane, ""));
        }
        each.as_basic_value_enum()
    }
}
