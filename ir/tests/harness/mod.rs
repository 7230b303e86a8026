//! Expressions run by the interpreter, on tensors whose shapes are the inputs' types.

use lapidary_ir::interp::{Interpreter, Real, Tensor};
use lapidary_ir::{
    Attr, Bindings, Call, Dims, Expr, FunctionBuilder, FunctionId, LocalId, Module, Op, Place, Type,
};

/// What an expression of the inputs comes to.
pub fn run<F: Real>(
    inputs: &[Tensor<'static, F>],
    threads: usize,
    body: impl for<'b> Fn(&'b FunctionBuilder<'b>, &[Expr<'b>]) -> Expr<'b>,
) -> Tensor<'static, F> {
    let dims = Dims::default();
    let builder = FunctionBuilder::new("f", &dims);
    let mut module = Module {
        name: "m".into(),
        ..Module::default()
    };
    let mut params = Vec::new();
    for (i, x) in inputs.iter().enumerate() {
        let ty = Type::new(x.dtype, x.shape.iter().copied());
        params.push(builder.param(format!("x{i}"), ty.clone()));
        module.step.add_local(format!("x{i}"), ty);
    }
    module.step.inputs = inputs.len();
    let made = body(&builder, &params);
    let out = module.step.add_local("y", made.ty());
    module.step.outputs.push(out);
    module.step.calls.push(Call {
        results: vec![Place::Local(out)],
        function: FunctionId(0),
        args: (0..inputs.len())
            .map(|i| Place::Local(LocalId(i)))
            .collect(),
    });
    let function = builder.finish(&[made]);
    module
        .functions
        .push(function.expect("the ops keep their rules"));

    let mut interpreter = Interpreter::new(module, |_| None, threads).expect("it is well-formed");
    let outputs = interpreter.step(&Bindings::default(), inputs.to_vec());
    Tensor::clone(&outputs.expect("no index is out of range")[0])
}

/// The result of an op.
pub fn run_op<F: Real>(
    op: Op,
    attrs: &[Attr],
    inputs: &[Tensor<'static, F>],
) -> Tensor<'static, F> {
    run(inputs, 1, |builder, x| builder.op(op, x, attrs.to_vec()))
}

/// Every index of a shape, row-major.
pub fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..shape.iter().product()).map(|flat| unflatten(flat, shape))
}

/// The index of the element that stands at this place.
pub fn unflatten(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        index[axis] = flat % shape[axis];
        flat /= shape[axis];
    }
    index
}

/// The place of the element of this index.
pub fn flatten(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |at, (i, n)| at * n + i)
}
