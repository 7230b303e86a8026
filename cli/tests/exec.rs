//! `lapidary exec`: graphs on given tensors.

mod common;

use std::fs;

use common::tensors::{Stored, graph, ints, module, read, reals, waves, write};
use common::{folder, output, refused, says, text, tiny};
use ir::{Bindings, Dims};
use safetensors::Dtype;

/// Low values of all symbols.
fn small(dims: &Dims) -> Bindings {
    let ranges = dims.ranges.iter();
    Bindings::new(ranges.map(|(sym, low, high)| (sym.name(), (low + 1).min(*high))))
}

/// Two rows at positions 1 and 2 with three keys.
fn attention() -> Vec<Stored> {
    let q = [
        -0.45, -0.24, 0.94, -1.56, -1.1, 1.84, 0.95, -1.38, -0.65, -0.59, 0.7, 0.47,
    ];
    let k = [1.4, 1.28, 0.07, 0.96, 0.97, 1.04, -0.1, 1.14, 0.83];
    let v = [1.66, -1.49, 1.48, -1.98, 1.06, 0.34, -0.01, 1.85, 0.29];
    vec![
        reals("q", &[2, 2, 3], &q),
        reals("k", &[3, 3], &k),
        reals("v", &[3, 3], &v),
        ints("pos", &[1, 2]),
    ]
}

#[test]
fn the_interpreter_and_exact_code_write_the_same_file() {
    let dir = folder();
    for name in [
        "attention",
        "concat",
        "decode",
        "dot_batch",
        "geglu",
        "logic",
        "put_narrow",
        "ring",
        "rms_norm",
        "rope",
        "softmax",
        "state",
    ] {
        let graph = graph(name);
        let module = module(&graph);
        let inputs = waves(&module, &small(&module.dims));
        let inputs = write(dir.path(), "in.safetensors", &inputs);
        let results = [
            &["--backend", "interp"][..],
            &["--fidelity", "exact"],
            &["--fidelity", "exact", "--threads", "3", "--extract", "none"],
        ];
        let results = results.map(|how| {
            let out = dir.path().join("out.safetensors");
            let args = ["exec", &graph, "--inputs", &inputs, "-o", text(&out)];
            assert_eq!(says(&[&args, how].concat()), "", "{name}");
            fs::read(out).expect("the file is there")
        });
        assert_eq!(results[0], results[1], "{name}");
        assert_eq!(results[0], results[2], "{name}");
    }
}

#[test]
fn outputs_are_shown_with_their_range_and_first_elements() {
    let dir = folder();
    let inputs = write(dir.path(), "in.safetensors", &attention());
    let graph = graph("attention");
    let shown = says(&["exec", &graph, "--inputs", &inputs, "--backend", "interp"]);
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    let cells = |line: &str| {
        line.split("   ")
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let expected = [
        vec!["name", "type", "min", "max", "mean", "first"],
        vec![
            "weights",
            "f32[2, 2, 3]",
            "0.000000",
            "0.668845",
            "0.333333",
            "0.42652372, 0.57347625, 0, 0.33115542, ...",
        ],
        vec![
            "y",
            "f32[2, 2, 3]",
            "-0.774594",
            "0.826237",
            "0.220606",
            "-0.4274537, -0.027635515, 0.826237, -0.77459437, ...",
        ],
    ];
    assert_eq!(
        lines.iter().map(|line| cells(line)).collect::<Vec<_>>(),
        expected
    );
    // Machine code, fast unless said otherwise, may differ in the last digits.
    let fast = says(&["exec", &graph, "--inputs", &inputs]);
    assert_eq!(fast.lines().count(), lines.len(), "{fast}");
}

#[test]
fn a_step_goes_on_from_the_states_that_another_wrote() {
    let dir = folder();
    let path = |name: &str| text(&dir.path().join(name)).to_string();
    let graph = graph("state");
    for backend in ["cpu", "interp"] {
        let first = write(
            dir.path(),
            "1.safetensors",
            &[reals("x", &[2], &[1.0, 2.0])],
        );
        let second = write(
            dir.path(),
            "2.safetensors",
            &[reals("x", &[2], &[10.0, 20.0])],
        );
        let (middle, last) = (path("middle.safetensors"), path("last.safetensors"));
        let step = |inputs: &[&str], out: &str| {
            let mut args = vec!["exec", &graph, "-o", out, "--backend", backend];
            inputs
                .iter()
                .for_each(|file| args.extend(["--inputs", file]));
            let done = output(&args);
            assert_eq!(String::from_utf8_lossy(&done.stderr), "");
            assert_eq!(done.status.code(), Some(0));
        };
        step(&[&first], &middle);
        step(&[&second, &middle], &last);
        let found = |file: &str, name: &str| {
            let tensor = read(file).into_iter().find(|tensor| tensor.0 == name);
            tensor.expect("the tensor is there")
        };
        // From zeros, then from what the first step left.
        assert_eq!(found(&middle, "a"), reals("a", &[1, 2], &[2.0, 4.0]));
        assert_eq!(
            found(&last, "before"),
            reals("before", &[1, 2], &[12.0, 24.0])
        );
        assert_eq!(found(&last, "a"), reals("a", &[1, 2], &[24.0, 48.0]));
        let sum = reals("state.sum", &[1, 2], &[24.0, 48.0]);
        assert_eq!(found(&last, "state.sum"), sum);
        let names: Vec<String> = read(&last).into_iter().map(|tensor| tensor.0).collect();
        let expected = ["a", "b", "before", "c", "d", "state.last", "state.sum"];
        assert_eq!(names, expected);
    }
}

#[test]
fn a_block_format_is_given_and_written_as_the_bytes_of_its_rows() {
    let dir = folder();
    let row: Vec<f32> = (0..70).map(|i| i as f32 - 35.0).collect();
    let inputs = write(dir.path(), "in.safetensors", &[reals("x", &[2, 35], &row)]);
    let out = dir.path().join("out.safetensors");
    let quantize = graph("quantize_q8_0");
    let interp = ["--backend", "interp", "-o", text(&out)];
    says(&[&["exec", &quantize, "--inputs", &inputs], &interp[..]].concat());
    let results = read(text(&out));
    let (name, dtype, shape, bytes) = &results[0];
    assert_eq!((name.as_str(), *dtype), ("blocks", Dtype::U8));
    // Two blocks of 34 bytes for 35 elements.
    assert_eq!((&shape[..], bytes.len()), (&[2, 68][..], 136));

    let dequantize = dir.path().join("dequantize.lir");
    let module = "module dequantize
fn f(%blocks: q8_0[2, 35]) {
  %y: f32[2, 35] = dequant(%blocks)
  return %y
}
step(%blocks: q8_0[2, 35]) {
  %y: f32[2, 35] = f(%blocks)
  return %y
}
";
    fs::write(&dequantize, module).expect("written");
    let again = dir.path().join("again.safetensors");
    let args = ["exec", text(&dequantize), "--inputs", text(&out)];
    says(&[&args, &["--backend", "interp", "-o", text(&again)][..]].concat());
    let y = |path: &str| read(path).into_iter().find(|tensor| tensor.0 == "y");
    assert_eq!(y(text(&again)), y(text(&out)));
    let unsupported = refused(1, &["exec", text(&dequantize), "--inputs", text(&out)]);
    assert_eq!(unsupported, "error: there is no code for q8_0 on the CPU\n");
}

#[test]
fn a_tensor_that_does_not_fit_is_refused_with_what_was_expected() {
    let dir = folder();
    let graph = graph("attention");
    let with = |tensors: &[Stored]| {
        let file = write(dir.path(), "in.safetensors", tensors);
        let message = refused(2, &["exec", &graph, "--inputs", &file]);
        message.replace(&format!("{}/", text(dir.path())), "")
    };
    let changed = |at: usize, tensor: Stored| {
        let mut all = attention();
        all[at] = tensor;
        all
    };
    let short = reals("v", &[2, 3], &[0.0; 6]);
    assert_eq!(
        with(&changed(2, short)),
        "error: in.safetensors: tensor \"v\": found F32 [2, 3], expected F32 [3, 3] for f32[K, 3]\n"
    );
    let flat = reals("q", &[12], &[0.0; 12]);
    assert_eq!(
        with(&changed(0, flat)),
        "error: in.safetensors: tensor \"q\": found F32 [12], expected f32[R, 2, 3]\n"
    );
    let real = reals("pos", &[2], &[1.0, 2.0]);
    assert_eq!(
        with(&changed(3, real)),
        "error: in.safetensors: tensor \"pos\": found F32 [2], expected I32 [2] for i32[R]\n"
    );
    let many = ints("pos", &[0; 9]);
    assert_eq!(
        with(&changed(3, many)),
        "error: in.safetensors: tensor \"pos\": found I32 [9], expected I32 [2] for i32[R]\n"
    );
    assert_eq!(
        with(&attention()[..2]),
        "error: in.safetensors: no tensor \"v\", expected input v: f32[K, 3]\n"
    );
    let none = refused(2, &["exec", &graph]);
    assert_eq!(
        none,
        "error: input q: expected f32[R, 2, 3], give --inputs FILE\n"
    );
}

#[test]
fn symbols_come_from_shapes_or_are_given() {
    let dir = folder();
    let graph = graph("attention");
    let file = write(dir.path(), "in.safetensors", &attention());
    let refused =
        |more: &[&str]| refused(2, &[&["exec", &graph, "--inputs", &file], more].concat());
    assert_eq!(
        refused(&["--bind", "K=4"]),
        format!(
            "error: {file}: tensor \"k\": found F32 [3, 3], expected F32 [4, 3] for f32[K, 3]\n"
        )
    );
    assert_eq!(
        refused(&["--bind", "N=1"]),
        "error: --bind N=1: no such symbol, expected one of R, K\n"
    );
    assert_eq!(
        refused(&["--bind", "K=33"]),
        "error: --bind K=33: expected 1 to 32\n"
    );
    says(&["exec", &graph, "--inputs", &file, "--bind", "R=2,K=3"]);

    let free = dir.path().join("free.lir");
    let module = "module free
dim N in 1..4
fn f(%x: f32[2]) {
  %y: f32[N, 2] = broadcast(%x) {shape = [N, 2], axes = [1]}
  return %y
}
step(%x: f32[2]) {
  %y: f32[N, 2] = f(%x)
  return %y
}
";
    fs::write(&free, module).expect("written");
    let free = text(&free);
    let file = write(
        dir.path(),
        "x.safetensors",
        &[reals("x", &[2], &[1.0, 2.0])],
    );
    let unbound = common::refused(2, &["exec", free, "--inputs", &file]);
    assert_eq!(
        unbound,
        format!("error: {free}: no input fixes N, give --bind N=VALUE with a value from 1 to 4\n")
    );
    let bound = says(&["exec", free, "--inputs", &file, "--bind", "N=3"]);
    assert!(bound.contains("f32[3, 2]"), "{bound}");
}

#[test]
fn a_symbol_out_of_its_range_is_refused() {
    let dir = folder();
    let inputs = [
        ints("slot", &[0; 5]),
        ints("pos", &[0; 5]),
        reals("x", &[5], &[0.0; 5]),
    ];
    let file = write(dir.path(), "in.safetensors", &inputs);
    let graph = graph("ring");
    assert_eq!(
        refused(2, &["exec", &graph, "--inputs", &file]),
        format!("error: {graph}: dim R is 5, outside 1..4\n")
    );
}

#[test]
fn an_index_outside_its_axis_is_refused() {
    let dir = folder();
    let graph = graph("ring");
    let inputs = [
        ints("slot", &[2]),
        ints("pos", &[0]),
        reals("x", &[1], &[0.0]),
    ];
    let file = write(dir.path(), "in.safetensors", &inputs);
    let out = dir.path().join("out.safetensors");
    for backend in ["cpu", "interp"] {
        let args = [
            "exec",
            &graph,
            "--inputs",
            &file,
            "-o",
            text(&out),
            "--backend",
            backend,
        ];
        let message = refused(2, &args);
        assert!(
            message.starts_with(&format!("error: {graph}: ")),
            "{message}"
        );
        assert!(message.contains("outside"), "{message}");
        assert!(!out.exists());
    }
}

#[test]
fn what_is_in_the_files_is_looked_at() {
    let dir = folder();
    let logic = graph("logic");
    let bools = |name: &str, bytes: &[u8]| (name.to_string(), Dtype::BOOL, vec![4], bytes.to_vec());
    let a = write(dir.path(), "a.safetensors", &[bools("a", &[0, 1, 1, 0])]);
    let b = write(dir.path(), "b.safetensors", &[bools("b", &[0, 1, 0, 3])]);
    let both = ["exec", &logic, "--inputs", &a, "--inputs", &b];
    assert_eq!(
        refused(2, &both),
        format!("error: {b}: tensor \"b\": found a BOOL that is 3, expected BOOL [4]\n")
    );
    let more = write(
        dir.path(),
        "b.safetensors",
        &[bools("b", &[0, 1, 0, 1]), bools("aa", &[0; 4])],
    );
    let done = output(&both);
    assert_eq!(
        String::from_utf8_lossy(&done.stderr),
        format!("note: {more}: tensor \"aa\" is no input, weight or state of the graph\n")
    );
    let twice = ["exec", &logic, "--inputs", &a, "--inputs", &a];
    assert_eq!(
        refused(2, &twice),
        format!("error: {a}: tensor \"a\" is in {a} too, expected one\n")
    );
    assert_eq!(
        refused(2, &["exec", &logic]),
        "error: input a: expected bool[4], give --inputs FILE\n"
    );
}

#[test]
fn what_is_no_graph_is_refused() {
    let checkpoint = tiny();
    assert_eq!(
        refused(2, &["exec", &checkpoint]),
        format!(
            "error: {checkpoint}: a checkpoint, expected the text of a graph; lapidary run asks a model, lapidary opt \
             prints its graph\n"
        )
    );
    let missing = refused(2, &["exec", "nowhere.lir"]);
    assert_eq!(
        missing,
        "error: nowhere.lir: No such file or directory (os error 2)\n"
    );
    let dir = folder();
    let file = dir.path().join("clash.lir");
    let module = "module clash
state $k: f32[1]
fn f(%k: f32[1]) {
  %y: f32[1] = neg(%k)
  return %k, %y
}
step() {
  $k, %state.k: f32[1] = f($k)
  return %state.k
}
";
    fs::write(&file, module).expect("written");
    assert_eq!(
        refused(2, &["exec", text(&file)]),
        "error: the output %state.k and a state after the step would both be called state.k: rename one of them\n"
    );
}

/// The graph of a root mean square, its inputs in a file, and its plan's text by the exact rules.
fn planned(dir: &std::path::Path) -> (String, String, String) {
    let graph = graph("rms_norm");
    let module = module(&graph);
    let inputs = write(dir, "in.safetensors", &waves(&module, &small(&module.dims)));
    let plan = said_plan(&graph, &[]);
    (graph, inputs, plan)
}

fn said_plan(graph: &str, more: &[&str]) -> String {
    says(&[&["opt", graph, "--until", "plan"], more].concat())
}

#[test]
fn an_edited_plan_runs_and_gives_the_same_bits() {
    let dir = folder();
    let (graph, inputs, plan) = planned(dir.path());
    let apart = said_plan(&graph, &["--extract", "none"]);
    let kernels = |plan: &str| plan.matches("kernel ").count();
    assert!(kernels(&apart) > kernels(&plan));
    let path = dir.path().join("apart.plan");
    fs::write(&path, apart).expect("written");
    let exact = ["--fidelity", "exact"];
    let interp = ["--backend", "interp"];
    let results = [
        (&graph[..], vec![], &exact),
        (&graph, vec!["--plan", text(&path)], &exact),
        (&graph, vec!["--plan", text(&path)], &interp),
        (text(&path), vec![], &exact),
        (text(&path), vec![], &interp),
    ];
    let results = results.map(|(input, plan, how)| {
        let out = dir.path().join("out.safetensors");
        let args = ["exec", input, "--inputs", &inputs, "-o", text(&out)];
        says(&[&args, &plan[..], how].concat());
        fs::read(out).expect("the file is there")
    });
    assert!(results.iter().all(|result| *result == results[0]));
}

#[test]
fn an_illegal_plan_is_refused_with_the_kernel_the_value_and_the_reason() {
    let dir = folder();
    let (graph, inputs, plan) = planned(dir.path());
    let path = dir.path().join("edited.plan");
    let edited = |from: &str, to: &str| {
        assert_eq!(plan.matches(from).count(), 1, "{from} in {plan}");
        fs::write(&path, plan.replace(from, to)).expect("written");
        let args = ["exec", &graph, "--inputs", &inputs, "--fidelity", "exact"];
        let message = refused(2, &[&args, &["--plan", text(&path)][..]].concat());
        let file = format!("error: {}: ", text(&path));
        message
            .strip_prefix(&file)
            .expect("the file is named")
            .trim_end()
            .to_string()
    };
    assert_eq!(
        edited("read %x, %w", "read %x"),
        "fn f, kernel k.y, %w: it is used, and neither read nor computed before"
    );
    assert_eq!(
        edited("compute %square, %sum, ", "compute %sum, "),
        "fn f, kernel k.y, %square: it is used, and neither read nor computed before"
    );
    assert_eq!(
        edited("write %y", "write %normed"),
        "fn f, %y: a result that no kernel writes"
    );
    assert_eq!(
        edited("= mul(%normed, %gains)", "= add(%normed, %gains)"),
        "not a plan of this graph: fn f, %y: it is computed otherwise; kernels may be edited, values may not"
    );
}
