//! Conversions of dtypes, on vectors with any number of lanes.
//!
//! Each gives what the interpreter's `cast` gives, bit for bit, except that a NaN becomes some NaN. bf16 and f16
//! are in vectors of i16, by their bits.

use inkwell::FloatPredicate::UNO;
use inkwell::values::VectorValue;

use super::lanes::{Site, written};

/// bf16 to f32: exact. `<n x i16>` to `<n x float>`.
pub fn bf16_to_f32<'ctx>(site: Site<'_, 'ctx>, x: VectorValue<'ctx>) -> VectorValue<'ctx> {
    let (b, ty) = (site.builder, x.get_type());
    let i32s = ty.get_context().i32_type().vec_type(ty.get_size());
    let f32s = ty.get_context().f32_type().vec_type(ty.get_size());
    let low = written(b.build_int_z_extend(x, i32s, ""));
    let bits = written(b.build_left_shift(low, site.splat_i32(16, ty), ""));
    site.bit_cast(bits, f32s)
}

/// f32 to bf16, to nearest, ties to even; subnormals are kept. `<n x float>` to `<n x i16>`.
///
/// It is integer arithmetic: the instruction that AVX512-BF16 has for it takes subnormals for zero.
pub fn f32_to_bf16<'ctx>(site: Site<'_, 'ctx>, x: VectorValue<'ctx>) -> VectorValue<'ctx> {
    let (b, ty) = (site.builder, x.get_type());
    let i16s = ty.get_context().i16_type().vec_type(ty.get_size());
    let i32s = ty.get_context().i32_type().vec_type(ty.get_size());
    let constant = |number| site.splat_i32(number, ty);

    let bits = site.bit_cast(x, i32s);
    let upper = written(b.build_right_shift(bits, constant(16), false, ""));
    // Half of the last place that is kept, less what decides a tie for the even one.
    let is_odd = written(b.build_and(upper, constant(1), ""));
    let half = written(b.build_int_add(is_odd, constant(0x7fff), ""));
    let rounded = written(b.build_int_add(bits, half, ""));
    let rounded = written(b.build_right_shift(rounded, constant(16), false, ""));
    // Without this bit a NaN whose payload is in the lower half would become an infinity.
    let quiet = written(b.build_or(upper, constant(0x40), ""));

    let is_nan = written(b.build_float_compare(UNO, x, x, ""));
    let narrow = site.select(is_nan, quiet, rounded);
    written(b.build_int_truncate(narrow, i16s, ""))
}

/// f16 to f32: exact. `<n x i16>` to `<n x float>`.
pub fn f16_to_f32<'ctx>(site: Site<'_, 'ctx>, x: VectorValue<'ctx>) -> VectorValue<'ctx> {
    let ty = x.get_type();
    let f16s = ty.get_context().f16_type().vec_type(ty.get_size());
    let f32s = ty.get_context().f32_type().vec_type(ty.get_size());
    written(
        site.builder
            .build_float_ext(site.bit_cast(x, f16s), f32s, ""),
    )
}

/// f32 to f16, to nearest, ties to even; subnormals are kept. `<n x float>` to `<n x i16>`.
pub fn f32_to_f16<'ctx>(site: Site<'_, 'ctx>, x: VectorValue<'ctx>) -> VectorValue<'ctx> {
    let ty = x.get_type();
    let f16s = ty.get_context().f16_type().vec_type(ty.get_size());
    let i16s = ty.get_context().i16_type().vec_type(ty.get_size());
    let narrow = written(site.builder.build_float_trunc(x, f16s, ""));
    site.bit_cast(narrow, i16s)
}

/// i32 to f32, to nearest, ties to even. `<n x i32>` to `<n x float>`.
pub fn i32_to_f32<'ctx>(site: Site<'_, 'ctx>, x: VectorValue<'ctx>) -> VectorValue<'ctx> {
    let ty = x.get_type();
    let f32s = ty.get_context().f32_type().vec_type(ty.get_size());
    written(site.builder.build_signed_int_to_float(x, f32s, ""))
}
