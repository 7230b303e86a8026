//! Each op's own rule: a use that it takes, with the type it gives, and uses that it refuses.

use std::ptr::fn_addr_eq;

use lapidary_ir::text::parse;
use lapidary_ir::{Op, verify};

/// Uses of an op, and of the ops that share its rule, by the parameters of a function.
struct Uses {
    op: &'static str,
    /// Parameters, the type of the result, operands and attributes.
    right: &'static [[&'static str; 3]],
    /// Parameters, operands and attributes, and what is said between the op and the constraint's text.
    wrong: &'static [[&'static str; 3]],
}

/// Checks `%y: ty = op use` in a function of these parameters; symbols are R, 1 to 8, and N, 0 to R.
fn check(op: &str, params: &str, ty: &str, application: &str) -> Result<(), String> {
    let text = format!(
        "module m dim R in 1..8 dim N in 0..8 where N <= R \
         fn f({params}) {{ %y: {ty} = {op}{application} return %y }} step() {{ return }}"
    );
    let module = parse(&text).map_err(|e| e.to_string())?;
    verify(&module).map_err(|violation| {
        assert!(violation.place.starts_with(&format!("fn f, %y = {op}(")));
        format!("{}: {}", violation.constraint, violation.detail)
    })
}

/// Every op with the uses of an op of its rule and of as many operands.
fn every_op() -> impl Iterator<Item = (&'static str, &'static Uses)> {
    Op::all().map(|op| {
        let def = op.def();
        let alike = |uses: &&Uses| {
            let other = Op::from_name(uses.op).expect("an op").def();
            fn_addr_eq(other.rule, def.rule) && other.operands.len() == def.operands.len()
        };
        let uses = TABLE.iter().find(alike);
        (
            def.name,
            uses.unwrap_or_else(|| panic!("no uses of the rule of {}", def.name)),
        )
    })
}

#[test]
fn an_op_gives_the_type_that_its_rule_says() {
    for (op, uses) in every_op() {
        assert!(!uses.right.is_empty(), "{op}");
        for [params, ty, application] in uses.right {
            let context = format!("{op}{application} of {params}");
            assert_eq!(check(op, params, ty, application), Ok(()), "{context}");
        }
    }
}

#[test]
fn an_op_refuses_what_its_rule_does_not_take() {
    for (op, uses) in every_op() {
        assert!(!uses.wrong.is_empty(), "{op}");
        for [params, application, says] in uses.wrong {
            let context = format!("{op}{application} of {params}");
            let refusal = check(op, params, "f32[]", application);
            assert_eq!(refusal, Err(says.to_string()), "{context}");
        }
    }
}

/// An op of one float: f32 alone, for bf16 and f16 are storage.
const fn float(op: &'static str) -> Uses {
    Uses {
        op,
        right: &[["%x: f32[R, 3]", "f32[R, 3]", "(%x)"]],
        wrong: &[
            ["%x: bf16[2]", "(%x)", "C03: bf16[2] is not f32"],
            ["%x: i32[2]", "(%x)", "C03: i32[2] is not f32"],
            [
                "%x: f32[2]",
                "(%x, %x)",
                "C01: expected 1 operands, found 2",
            ],
        ],
    }
}

/// An op of two numbers of one dtype.
const fn arithmetic(op: &'static str) -> Uses {
    Uses {
        op,
        right: &[
            ["%a: f32[N], %b: f32[N]", "f32[N]", "(%a, %b)"],
            ["%a: i32[], %b: i32[]", "i32[]", "(%a, %b)"],
        ],
        wrong: &[
            ["%a: f16[2]", "(%a, %a)", "C03: f16[2] is not f32 or i32"],
            [
                "%a: f32[2], %b: i32[2]",
                "(%a, %b)",
                "C03: f32[2] beside i32[2]",
            ],
            [
                "%a: f32[2], %b: f32[]",
                "(%a, %b)",
                "C04: f32[2] beside f32[]",
            ],
            [
                "%a: f32[N], %b: f32[R]",
                "(%a, %b)",
                "C04: f32[N] beside f32[R]",
            ],
        ],
    }
}

/// An op that compares two numbers of one dtype.
const fn comparison(op: &'static str) -> Uses {
    Uses {
        right: &[
            ["%a: f32[R], %b: f32[R]", "bool[R]", "(%a, %b)"],
            ["%a: i32[R], %b: i32[R]", "bool[R]", "(%a, %b)"],
        ],
        wrong: &[
            ["%a: bool[2]", "(%a, %a)", "C03: bool[2] is not f32 or i32"],
            [
                "%a: i32[2], %b: f32[2]",
                "(%a, %b)",
                "C03: i32[2] beside f32[2]",
            ],
            [
                "%a: i32[2], %b: i32[3]",
                "(%a, %b)",
                "C04: i32[2] beside i32[3]",
            ],
        ],
        op,
    }
}

/// An op of two truth values.
const fn logic(op: &'static str) -> Uses {
    Uses {
        op,
        right: &[["%a: bool[R], %b: bool[R]", "bool[R]", "(%a, %b)"]],
        wrong: &[
            ["%a: i32[2]", "(%a, %a)", "C03: i32[2] is not bool"],
            [
                "%a: bool[2], %b: bool[3]",
                "(%a, %b)",
                "C04: bool[2] beside bool[3]",
            ],
            ["%a: bool[2]", "(%a)", "C01: expected 2 operands, found 1"],
        ],
    }
}

/// A fold over axes.
const fn reduction(op: &'static str) -> Uses {
    Uses {
        op,
        right: &[
            ["%x: f32[R, 3, N]", "f32[3]", "(%x) {axes = [2, 0]}"],
            ["%x: f32[R]", "f32[R]", "(%x) {axes = []}"],
        ],
        wrong: &[
            ["%x: i32[2]", "(%x) {axes = [0]}", "C03: i32[2] is not f32"],
            ["%x: f32[]", "(%x) {axes = [0]}", "C05: f32[] has no axis 0"],
            [
                "%x: f32[2, 3]",
                "(%x) {axes = [1, 1]}",
                "C05: axis 1 of f32[2, 3] is named twice",
            ],
        ],
    }
}

#[rustfmt::skip]
const TABLE: &[Uses] = &[
    float("neg"), arithmetic("add"), comparison("lt"), logic("and"), reduction("reduce_sum"),
    Uses {
        op: "div",
        right: &[["%a: f32[R], %b: f32[R]", "f32[R]", "(%a, %b)"]],
        wrong: &[
            ["%a: i32[2]", "(%a, %a)", "C03: i32[2] is not f32"],
            ["%a: f32[2], %b: f32[1]", "(%a, %b)", "C04: f32[2] beside f32[1]"],
        ],
    },
    Uses {
        op: "rem",
        right: &[["%a: i32[R], %b: i32[R]", "i32[R]", "(%a, %b)"]],
        wrong: &[
            ["%a: f32[2]", "(%a, %a)", "C03: f32[2] is not i32"],
            ["%a: i32[2], %b: i32[]", "(%a, %b)", "C04: i32[2] beside i32[]"],
        ],
    },
    Uses {
        op: "not",
        right: &[["%a: bool[]", "bool[]", "(%a)"]],
        wrong: &[
            ["%a: i32[2]", "(%a)", "C03: i32[2] is not bool"],
            ["%a: bool[2]", "(%a, %a)", "C01: expected 1 operands, found 2"],
        ],
    },
    Uses {
        op: "select",
        right: &[
            ["%c: bool[R], %a: f32[R]", "f32[R]", "(%c, %a, %a)"],
            ["%c: bool[2], %a: bf16[2]", "bf16[2]", "(%c, %a, %a)"],
            ["%c: bool[2]", "bool[2]", "(%c, %c, %c)"],
        ],
        wrong: &[
            ["%c: i32[2]", "(%c, %c, %c)", "C03: i32[2] is not bool"],
            ["%c: bool[2], %a: f32[2]", "(%c, %a, %c)", "C03: f32[2] beside bool[2]"],
            ["%c: bool[], %a: f32[2]", "(%c, %a, %a)", "C04: bool[] beside f32[2]"],
            ["%c: bool[2], %a: f32[2], %b: f32[3]", "(%c, %a, %b)", "C04: f32[2] beside f32[3]"],
            ["%c: bool[32], %a: q8_0[32]", "(%c, %a, %a)",
             "C03: q8_0[32] is not f32 or bf16 or f16 or i32 or bool"],
        ],
    },
    Uses {
        op: "cast",
        right: &[
            ["%x: bf16[R]", "f32[R]", "(%x) {to = f32}"],
            ["%x: f16[R]", "f32[R]", "(%x) {to = f32}"],
            ["%x: i32[R]", "f32[R]", "(%x) {to = f32}"],
            ["%x: f32[R]", "bf16[R]", "(%x) {to = bf16}"],
            ["%x: f32[R]", "f16[R]", "(%x) {to = f16}"],
        ],
        wrong: &[
            ["%x: f32[2]", "(%x) {to = f32}", "C15: f32[2] cannot be cast to f32"],
            ["%x: f32[2]", "(%x) {to = i32}", "C15: f32[2] cannot be cast to i32"],
            ["%x: bf16[2]", "(%x) {to = f16}", "C15: bf16[2] cannot be cast to f16"],
            ["%x: bool[2]", "(%x) {to = f32}", "C15: bool[2] cannot be cast to f32"],
            ["%x: q8_0[32]", "(%x) {to = f32}", "C15: q8_0[32] cannot be cast to f32"],
            ["%x: f32[2]", "() {to = bf16}", "C01: expected 1 operands, found 0"],
        ],
    },
    Uses {
        op: "dequant",
        right: &[
            ["%x: q8_0[R, 33]", "f32[R, 33]", "(%x)"],
            ["%x: q4_0[64]", "f32[64]", "(%x)"],
        ],
        wrong: &[["%x: f16[32]", "(%x)", "C15: f16[32] is not a block format"]],
    },
    Uses {
        op: "quantize",
        right: &[
            ["%x: f32[R, 33]", "q8_0[R, 33]", "(%x) {to = q8_0}"],
            ["%x: f32[64]", "q4_0[64]", "(%x) {to = q4_0}"],
        ],
        wrong: &[
            ["%x: f32[32]", "(%x) {to = f16}", "C15: f32[32] cannot be quantized to f16"],
            ["%x: f16[32]", "(%x) {to = q8_0}", "C15: f16[32] cannot be quantized to q8_0"],
            ["%x: f32[3, R]", "(%x) {to = q8_0}", "C14: q8_0[3, R] has no constant last axis"],
            ["%x: f32[]", "(%x) {to = q8_0}", "C14: q8_0[] has no constant last axis"],
        ],
    },
    Uses {
        op: "const",
        right: &[
            ["", "f32[R]", "() {to = f32, shape = [R], values = [0.5]}"],
            ["", "i32[2]", "() {to = i32, shape = [2], values = [-2147483648, 2147483647]}"],
            ["", "bool[1]", "() {to = bool, shape = [1], values = [1]}"],
            ["", "f32[N, 0]", "() {to = f32, shape = [N, 0], values = []}"],
        ],
        wrong: &[
            ["", "() {to = bf16, shape = [1], values = [1]}", "C16: no constant is bf16"],
            ["", "() {to = q8_0, shape = [32], values = [1]}", "C16: no constant is q8_0"],
            ["", "() {to = i32, shape = [1], values = [2147483648]}",
             "C16: 2147483648.0 is no i32"],
            ["", "() {to = i32, shape = [1], values = [nan]}", "C16: nan is no i32"],
            ["", "() {to = bool, shape = [1], values = [2]}", "C16: 2.0 is no bool"],
            ["", "() {to = f32, shape = [3], values = []}", "C16: 0 values for f32[3]"],
            ["", "() {to = f32, shape = [N], values = []}", "C16: 0 values for f32[N]"],
            ["", "() {to = f32, shape = [T], values = [1]}", "C18: T in f32[T] is not declared"],
            ["%x: f32[]", "(%x) {to = f32, shape = [], values = [1]}",
             "C01: expected 0 operands, found 1"],
        ],
    },
    Uses {
        op: "iota",
        right: &[["", "i32[2*R + 1]", "() {length = R + R + 1}"]],
        wrong: &[
            ["", "() {length = R - 2}", "C17: R - 2 in i32[R - 2] lies in -1..6"],
            ["", "() {length = T}", "C18: T in i32[T] is not declared"],
            ["", "() {length = 2147483649}",
             "C17: i32[2147483649] would pass the largest i32"],
        ],
    },
    Uses {
        op: "reshape",
        right: &[
            ["%x: f32[R, 6]", "f32[3, 2*R]", "(%x) {shape = [3, 2*R]}"],
            ["%x: f32[1, 1]", "f32[]", "(%x) {shape = []}"],
            ["%x: q8_0[R, 4, 32]", "q8_0[4*R, 32]", "(%x) {shape = [4*R, 32]}"],
        ],
        wrong: &[
            ["%x: f32[R, R]", "(%x) {shape = [R]}", "C06: R*R elements become R"],
            ["%x: f32[R]", "(%x) {shape = [-1]}", "C17: -1 in f32[-1] lies in -1..-1"],
            ["%x: q8_0[64]", "(%x) {shape = [2, 32]}", "C14: the last axis of q8_0[64] moves"],
        ],
    },
    Uses {
        op: "transpose",
        right: &[
            ["%x: f32[R, 2, 3]", "f32[3, R, 2]", "(%x) {axes = [2, 0, 1]}"],
            ["%x: f32[]", "f32[]", "(%x) {axes = []}"],
            ["%x: q4_0[2, 3, 32]", "q4_0[3, 2, 32]", "(%x) {axes = [1, 0, 2]}"],
        ],
        wrong: &[
            ["%x: f32[2, 3]", "(%x) {axes = [0]}",
             "C08: [0] is no permutation of the 2 axes of f32[2, 3]"],
            ["%x: f32[2, 3]", "(%x) {axes = [0, 2]}",
             "C08: [0, 2] is no permutation of the 2 axes of f32[2, 3]"],
            ["%x: q8_0[2, 32]", "(%x) {axes = [1, 0]}", "C14: the last axis of q8_0[2, 32] moves"],
        ],
    },
    Uses {
        op: "broadcast",
        right: &[
            ["%x: f32[R]", "f32[2, R, 3]", "(%x) {shape = [2, R, 3], axes = [1]}"],
            ["%x: bool[]", "bool[0]", "(%x) {shape = [0], axes = []}"],
            ["%x: q8_0[32]", "q8_0[R, 32]", "(%x) {shape = [R, 32], axes = [1]}"],
        ],
        wrong: &[
            ["%x: f32[R]", "(%x) {shape = [N], axes = [0]}",
             "C07: f32[R] does not lie in f32[N] at axes [0]"],
            ["%x: f32[1]", "(%x) {shape = [3], axes = [0]}",
             "C07: f32[1] does not lie in f32[3] at axes [0]"],
            ["%x: f32[3]", "(%x) {shape = [3], axes = [1]}",
             "C07: f32[3] does not lie in f32[3] at axes [1]"],
            ["%x: f32[3]", "(%x) {shape = [3], axes = []}",
             "C07: f32[3] does not lie in f32[3] at axes []"],
            ["%x: f32[]", "(%x) {shape = [T], axes = []}", "C18: T in f32[T] is not declared"],
            ["%x: q8_0[32]", "(%x) {shape = [32, 2], axes = [0]}",
             "C14: the last axis of q8_0[32] moves"],
        ],
    },
    Uses {
        op: "slice",
        right: &[
            ["%x: f32[R, 4]", "f32[R - N, 4]", "(%x) {axis = 0, start = N, stop = R}"],
            ["%x: f32[4]", "f32[0]", "(%x) {axis = 0, start = 4, stop = 4}"],
            ["%x: q8_0[R, 40]", "q8_0[1, 40]", "(%x) {axis = 0, start = R - 1, stop = R}"],
        ],
        wrong: &[
            ["%x: f32[4]", "(%x) {axis = 1, start = 0, stop = 1}", "C05: f32[4] has no axis 1"],
            ["%x: f32[4]", "(%x) {axis = 0, start = 0, stop = 5}",
             "C09: 5 <= 4 does not hold for every value of the dims"],
            ["%x: f32[N]", "(%x) {axis = 0, start = 0, stop = R}",
             "C09: R <= N does not hold for every value of the dims"],
            ["%x: f32[4]", "(%x) {axis = 0, start = T, stop = 4}",
             "C09: 0 <= T does not hold for every value of the dims"],
        ],
    },
    Uses {
        op: "concat",
        right: &[
            ["%a: f32[R, 2], %b: f32[N, 2]", "f32[R + N, 2]", "(%a, %b) {axis = 0}"],
            ["%a: f32[2, 1], %b: f32[2, 0]", "f32[2, 2]", "(%a, %b, %a) {axis = 1}"],
            ["%a: i32[3]", "i32[3]", "(%a) {axis = 0}"],
            ["%a: q8_0[2, 40], %b: q8_0[1, 40]", "q8_0[3, 40]", "(%a, %b) {axis = 0}"],
        ],
        wrong: &[
            ["%a: f32[2], %b: i32[2]", "(%a, %b) {axis = 0}",
             "C10: f32[2] beside i32[2] along axis 0"],
            ["%a: f32[2], %b: f32[2, 1]", "(%a, %b) {axis = 0}",
             "C10: f32[2] beside f32[2, 1] along axis 0"],
            ["%a: f32[R, 2], %b: f32[N, 2]", "(%a, %b) {axis = 1}",
             "C10: f32[R, 2] beside f32[N, 2] along axis 1"],
            ["%a: f32[]", "(%a, %a) {axis = 0}", "C05: f32[] has no axis 0"],
            ["%a: q8_0[32]", "(%a, %a) {axis = 0}", "C14: the last axis of q8_0[32] moves"],
        ],
    },
    Uses {
        op: "dot",
        right: &[
            ["%a: f32[R, 3, 5], %b: f32[3, 5, 7]", "f32[R, 7]",
             "(%a, %b) {a_batch = [], b_batch = [], a_contract = [1, 2], b_contract = [0, 1]}"],
            ["%a: f32[4, R, 3], %b: f32[3, 4, N]", "f32[4, R, N]",
             "(%a, %b) {a_batch = [0], b_batch = [1], a_contract = [2], b_contract = [0]}"],
        ],
        wrong: &[
            ["%a: f32[3], %b: bf16[3]",
             "(%a, %b) {a_batch = [], b_batch = [], a_contract = [0], b_contract = [0]}",
             "C03: bf16[3] is not f32"],
            ["%a: f32[3]",
             "(%a, %a) {a_batch = [], b_batch = [], a_contract = [], b_contract = []}",
             "C11: contracted axes [] of f32[3] do not match [] of f32[3]"],
            ["%a: f32[3]",
             "(%a, %a) {a_batch = [0], b_batch = [], a_contract = [0], b_contract = [0]}",
             "C05: axis 0 of f32[3] is named twice"],
            ["%a: f32[3]",
             "(%a, %a) {a_batch = [], b_batch = [], a_contract = [0], b_contract = [1]}",
             "C05: f32[3] has no axis 1"],
            ["%a: f32[2, 3], %b: f32[R, 3]",
             "(%a, %b) {a_batch = [0], b_batch = [0], a_contract = [1], b_contract = [1]}",
             "C11: batch axes [0] of f32[2, 3] do not match [0] of f32[R, 3]"],
        ],
    },
    Uses {
        op: "take",
        right: &[
            ["%x: f32[9, 3], %i: i32[R]", "f32[R, 3]", "(%x, %i) {axis = 0}"],
            ["%x: bool[2, 9], %i: i32[0]", "bool[2, 0]", "(%x, %i) {axis = 1}"],
            ["%x: q4_0[9, 40], %i: i32[R]", "q4_0[R, 40]", "(%x, %i) {axis = 0}"],
        ],
        wrong: &[
            ["%x: f32[9], %i: i32[2, 2]", "(%x, %i) {axis = 0}", "C12: i32[2, 2] is no index"],
            ["%x: f32[9], %i: i32[]", "(%x, %i) {axis = 0}", "C12: i32[] is no index"],
            ["%x: f32[9], %i: i32[2]", "(%x, %i) {axis = 1}", "C05: f32[9] has no axis 1"],
            ["%x: q8_0[32], %i: i32[2]", "(%x, %i) {axis = 0}",
             "C14: the last axis of q8_0[32] moves"],
        ],
    },
    Uses {
        op: "put",
        right: &[
            ["%k: f32[2, 8, 3], %i: i32[R], %x: f32[R, 3]", "f32[2, 8, 3]", "(%k, %i, %i, %x)"],
            ["%k: i32[2, 8], %i: i32[R]", "i32[2, 8]", "(%k, %i, %i, %i)"],
            ["%k: q8_0[2, 8, 40], %i: i32[R], %x: q8_0[R, 40]", "q8_0[2, 8, 40]",
             "(%k, %i, %i, %x)"],
        ],
        wrong: &[
            ["%k: f32[8], %i: i32[R], %x: f32[R]", "(%k, %i, %i, %x)",
             "C13: f32[R] does not go into f32[8] at i32[R], i32[R]"],
            ["%k: bf16[2, 8], %i: i32[R], %x: f32[R]", "(%k, %i, %i, %x)",
             "C13: f32[R] does not go into bf16[2, 8] at i32[R], i32[R]"],
            ["%k: f32[2, 8], %i: i32[R], %j: i32[N], %x: f32[R]", "(%k, %i, %j, %x)",
             "C13: f32[R] does not go into f32[2, 8] at i32[R], i32[N]"],
            ["%k: f32[2, 8], %i: i32[R], %x: f32[N]", "(%k, %i, %i, %x)",
             "C13: f32[N] does not go into f32[2, 8] at i32[R], i32[R]"],
            ["%k: f32[2, 8], %i: f32[R]", "(%k, %i, %i, %i)", "C12: f32[R] is no index"],
            ["%k: q8_0[2, 32], %i: i32[4], %x: q8_0[4]", "(%k, %i, %i, %x)",
             "C14: the last axis of q8_0[2, 32] moves"],
        ],
    },
];
