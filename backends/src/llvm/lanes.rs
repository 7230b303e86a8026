//! Vectors of f32 in a kernel as the numbers that [`ir::math`] is defined on.
//!
//! [`Lanes`] is to LLVM what f32 is to the interpreter: `ir::math::exp` of it writes the instructions that
//! compute `exp` of every lane, operation by operation. No instruction carries a fast-math flag, so none is
//! contracted, reordered or approximated.

use std::ops::{Add, BitAnd, BitXor, Div, Mul, Neg, Shl, Shr, Sub};

use inkwell::FloatPredicate::{OEQ, OLT};
use inkwell::IntPredicate::EQ;
use inkwell::builder::{Builder, BuilderError};
use inkwell::intrinsics::Intrinsic;
use inkwell::module::Module;
use inkwell::types::{BasicTypeEnum, VectorType};
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, VectorValue};
use ir::math::Lane;

/// Where instructions are written.
#[derive(Clone, Copy)]
pub struct Site<'a, 'ctx> {
    /// Where intrinsics are declared.
    pub module: &'a Module<'ctx>,
    /// What writes instructions; it stands in a block of a function of the module.
    pub builder: &'a Builder<'ctx>,
}

/// The instruction that a builder wrote.
///
/// # Panics
///
/// If it wrote none: it stands in no block, or the operands do not have the instruction's types.
pub fn written<T>(result: Result<T, BuilderError>) -> T {
    result.expect("the builder stands in a block and the operands have the instruction's types")
}

impl<'ctx> Site<'_, 'ctx> {
    /// A call of the intrinsic of this name, such as `llvm.fma`, which is overloaded on one type: that of all
    /// its operands and of its result.
    ///
    /// # Panics
    ///
    /// If there is no such intrinsic.
    pub fn intrinsic<const N: usize>(
        self,
        name: &str,
        operands: [VectorValue<'ctx>; N],
    ) -> VectorValue<'ctx> {
        let types = operands.map(|x| BasicTypeEnum::from(x.get_type()));
        self.call(
            name,
            &types[..N.min(1)],
            &operands.map(BasicMetadataValueEnum::from),
        )
        .unwrap_or_else(|| panic!("{name} has a result"))
        .into_vector_value()
    }

    /// A call of the intrinsic of this name, overloaded on these types; nothing where it has no result.
    ///
    /// # Panics
    ///
    /// If there is no such intrinsic.
    pub fn call(
        self,
        name: &str,
        types: &[BasicTypeEnum<'ctx>],
        operands: &[BasicMetadataValueEnum<'ctx>],
    ) -> Option<BasicValueEnum<'ctx>> {
        let callee = Intrinsic::find(name)
            .and_then(|found| found.get_declaration(self.module, types))
            .unwrap_or_else(|| panic!("{name} is an intrinsic over {types:?}"));
        written(self.builder.build_call(callee, operands, ""))
            .try_as_basic_value()
            .basic()
    }

    /// The same bits as another type of as many.
    pub fn bit_cast(self, value: VectorValue<'ctx>, to: VectorType<'ctx>) -> VectorValue<'ctx> {
        written(self.builder.build_bit_cast(value, to, "")).into_vector_value()
    }

    /// Each lane of `a` where the mask, of i1, has a 1, and of `b` elsewhere.
    pub fn select(
        self,
        mask: VectorValue<'ctx>,
        a: VectorValue<'ctx>,
        b: VectorValue<'ctx>,
    ) -> VectorValue<'ctx> {
        written(self.builder.build_select(mask, a, b, "")).into_vector_value()
    }

    /// An i32 in each lane of a vector with as many lanes as `like`.
    pub fn splat_i32(self, number: i32, like: VectorType<'ctx>) -> VectorValue<'ctx> {
        let element = like.get_context().i32_type().const_int(number as u64, true);
        VectorType::const_vector(&vec![element; like.get_size() as usize])
    }

    /// An f32 in each lane of a vector with as many lanes as `like`.
    pub fn splat_f32(self, number: f32, like: VectorType<'ctx>) -> VectorValue<'ctx> {
        let element = like.get_context().f32_type().const_float(number.into());
        VectorType::const_vector(&vec![element; like.get_size() as usize])
    }
}

/// A vector of f32 with any number of lanes; a scalar is a vector of one.
#[derive(Clone, Copy)]
pub struct Lanes<'a, 'ctx> {
    /// Where what is done with it is written.
    pub site: Site<'a, 'ctx>,
    /// Its value, of type `<n x float>`.
    pub value: VectorValue<'ctx>,
}

/// A vector of i32 with any number of lanes.
#[derive(Clone, Copy)]
pub struct IntLanes<'a, 'ctx> {
    /// Where what is done with it is written.
    pub site: Site<'a, 'ctx>,
    /// Its value, of type `<n x i32>`.
    pub value: VectorValue<'ctx>,
}

/// Which lanes a comparison is true in.
#[derive(Clone, Copy)]
pub struct MaskLanes<'a, 'ctx> {
    /// Where what is done with it is written.
    pub site: Site<'a, 'ctx>,
    /// Its value, of type `<n x i1>`.
    pub value: VectorValue<'ctx>,
}

/// Operators of lanes, each one method of the builder.
macro_rules! operators {
    ($lanes:ident: $($operator:ident $name:ident $build:ident),*) => {
        $(impl $operator for $lanes<'_, '_> {
            type Output = Self;

            fn $name(self, other: Self) -> Self {
                let value = self.site.builder.$build(self.value, other.value, "");
                $lanes { site: self.site, value: written(value) }
            }
        })*
    };
}

operators!(Lanes: Add add build_float_add, Sub sub build_float_sub, Mul mul build_float_mul, Div div build_float_div);
operators!(IntLanes: Add add build_int_add, Sub sub build_int_sub, BitAnd bitand build_and, BitXor bitxor build_xor);

impl Neg for Lanes<'_, '_> {
    type Output = Self;

    fn neg(self) -> Self {
        let value = self.site.builder.build_float_neg(self.value, "");
        Lanes {
            site: self.site,
            value: written(value),
        }
    }
}

impl Shl<usize> for IntLanes<'_, '_> {
    type Output = Self;

    fn shl(self, by: usize) -> Self {
        let by = self.site.splat_i32(by as i32, self.value.get_type());
        let value = self.site.builder.build_left_shift(self.value, by, "");
        IntLanes {
            site: self.site,
            value: written(value),
        }
    }
}

impl Shr<usize> for IntLanes<'_, '_> {
    type Output = Self;

    fn shr(self, by: usize) -> Self {
        let by = self.site.splat_i32(by as i32, self.value.get_type());
        let value = self
            .site
            .builder
            .build_right_shift(self.value, by, true, "");
        IntLanes {
            site: self.site,
            value: written(value),
        }
    }
}

impl<'a, 'ctx> Lanes<'a, 'ctx> {
    /// The correctly rounded square root.
    pub fn sqrt(self) -> Self {
        self.with(self.site.intrinsic("llvm.sqrt", [self.value]))
    }

    fn with(self, value: VectorValue<'ctx>) -> Self {
        Lanes {
            site: self.site,
            value,
        }
    }

    fn int(self, value: VectorValue<'ctx>) -> IntLanes<'a, 'ctx> {
        IntLanes {
            site: self.site,
            value,
        }
    }

    fn compare(self, predicate: inkwell::FloatPredicate, other: Self) -> MaskLanes<'a, 'ctx> {
        let builder = self.site.builder;
        MaskLanes {
            site: self.site,
            value: written(builder.build_float_compare(predicate, self.value, other.value, "")),
        }
    }
}

impl<'a, 'ctx> Lane for Lanes<'a, 'ctx> {
    type Int = IntLanes<'a, 'ctx>;
    type Mask = MaskLanes<'a, 'ctx>;

    fn constant(self, number: f32) -> Self {
        self.with(self.site.splat_f32(number, self.value.get_type()))
    }

    fn int_constant(self, number: i32) -> IntLanes<'a, 'ctx> {
        self.int(self.site.splat_i32(number, self.value.get_type()))
    }

    fn mul_add(self, a: Self, b: Self) -> Self {
        let operands = [self.value, a.value, b.value];
        self.with(self.site.intrinsic("llvm.fma", operands))
    }

    fn less(self, other: Self) -> MaskLanes<'a, 'ctx> {
        self.compare(OLT, other)
    }

    fn equal(self, other: Self) -> MaskLanes<'a, 'ctx> {
        self.compare(OEQ, other)
    }

    fn int_equal(a: IntLanes<'a, 'ctx>, b: IntLanes<'a, 'ctx>) -> MaskLanes<'a, 'ctx> {
        MaskLanes {
            site: a.site,
            value: written(a.site.builder.build_int_compare(EQ, a.value, b.value, "")),
        }
    }

    fn select(mask: MaskLanes<'a, 'ctx>, a: Self, b: Self) -> Self {
        a.with(a.site.select(mask.value, a.value, b.value))
    }

    fn int_select(
        mask: MaskLanes<'a, 'ctx>,
        a: IntLanes<'a, 'ctx>,
        b: IntLanes<'a, 'ctx>,
    ) -> IntLanes<'a, 'ctx> {
        IntLanes {
            site: a.site,
            value: a.site.select(mask.value, a.value, b.value),
        }
    }

    fn to_bits(self) -> IntLanes<'a, 'ctx> {
        let ty = self.value.get_type();
        let to = ty.get_context().i32_type().vec_type(ty.get_size());
        self.int(self.site.bit_cast(self.value, to))
    }

    fn from_bits(bits: IntLanes<'a, 'ctx>) -> Self {
        let ty = bits.value.get_type();
        let to = ty.get_context().f32_type().vec_type(ty.get_size());
        Lanes {
            site: bits.site,
            value: bits.site.bit_cast(bits.value, to),
        }
    }

    fn from_int(number: IntLanes<'a, 'ctx>) -> Self {
        Lanes {
            site: number.site,
            value: super::convert::i32_to_f32(number.site, number.value),
        }
    }
}
