//! Compiled programs, run by a machine.

mod kernels;

use std::io::Write;

use kernels::{
    COUNT, FILL, OUTSIDE, TOTAL, WHERE, buffer, cells, code, image, launch, machine, names,
};
use lapidary_runtime::{Address, Code, Error, Machine, Program, Symbol, Weight, Weights};

/// A program of nothing, with all kernels at hand.
fn nothing() -> Program {
    Program {
        kernels: names(),
        ..Program::default()
    }
}

/// x, from 1 to 1000.
fn x() -> Symbol {
    Symbol {
        name: "x".into(),
        low: 1,
        high: 1000,
    }
}

/// Fills the arena with x, then sums all workers' cells ten times over, to and fro, so that a worker who does not wait
/// for the others or for the kernel before spoils the result.
fn chain() -> Program {
    let (here, there) = (Address::Arena(0), Address::Arena(4096));
    let mut launches = vec![launch(FILL, &[here])];
    for _ in 0..5 {
        launches.push(launch(TOTAL, &[here, there]));
        launches.push(launch(TOTAL, &[there, here]));
    }
    launches.push(launch(TOTAL, &[here, Address::Output(0)]));
    Program {
        symbols: vec![x()],
        outputs: vec![buffer("result", 4096)],
        arena: 8192,
        launches,
        ..nothing()
    }
}

#[test]
fn a_step_runs_its_launches_in_order_on_all_workers_thousands_of_times() {
    for threads in 1..=4 {
        let mut machine = machine(chain(), &[], threads);
        for x in (1..=1000).cycle().take(2000) {
            machine.step(&[x]).expect("a step");
            let expected = x as u64 * (threads as u64).pow(11);
            assert_eq!(cells(machine.output(0), threads), vec![expected; threads]);
        }
    }
}

#[test]
fn more_workers_than_cpus_run_too() {
    let mut machine = machine(chain(), &[], 33);
    for x in 1..=20 {
        machine.step(&[x]).expect("a step");
        assert_eq!(
            cells(machine.output(0), 33),
            vec![x as u64 * 33_u64.pow(11); 33]
        );
    }
}

#[test]
fn no_threads_are_as_one() {
    let mut machine = machine(chain(), &[], 0);
    machine.step(&[7]).expect("a step");
    assert_eq!(cells(machine.output(0), 1), [7]);
}

#[test]
fn states_begin_as_zeros_and_are_kept_from_step_to_step() {
    let program = Program {
        states: vec![buffer("before", 8), buffer("counts", 64)],
        outputs: vec![buffer("total", 64)],
        launches: vec![
            launch(COUNT, &[Address::State(1)]),
            launch(TOTAL, &[Address::State(1), Address::Output(0)]),
        ],
        ..nothing()
    };
    let mut machine = machine(program, &[], 3);
    for steps in 1..=5 {
        machine.step(&[]).expect("a step");
        assert_eq!(cells(machine.output(0), 3), [3 * steps; 3]);
    }
}

#[test]
fn a_state_that_the_caller_sets_is_what_the_next_step_finds() {
    let program = Program {
        states: vec![buffer("before", 8), buffer("counts", 16)],
        launches: vec![launch(COUNT, &[Address::State(1)])],
        ..nothing()
    };
    let mut machine = machine(program, &[], 2);
    machine.step(&[]).expect("a step");
    assert_eq!(cells(machine.state(1), 2), [1; 2]);
    machine
        .state_mut(1)
        .copy_from_slice(&[40, 0, 0, 0, 0, 0, 0, 0].repeat(2));
    machine.step(&[]).expect("a step");
    assert_eq!(cells(machine.state(1), 2), [41; 2]);
    assert_eq!(machine.state(0), [0; 8]);
}

#[test]
fn a_timed_step_does_what_a_step_does_and_gives_a_time_for_each_launch() {
    for threads in 1..=3 {
        let mut machine = machine(chain(), &[], threads);
        for x in 1..=100 {
            let timed = match x % 3 {
                0 => {
                    machine.step(&[x]).expect("a step");
                    None
                }
                _ => Some(machine.step_timed(&[x]).expect("a step")),
            };
            let expected = x as u64 * (threads as u64).pow(11);
            assert_eq!(cells(machine.output(0), threads), vec![expected; threads]);
            assert!(timed.is_none_or(|seconds| seconds.len() == 12));
        }
    }
    let mut machine = machine(nothing(), &[], 2);
    assert_eq!(machine.step_timed(&[]).expect("a step"), Vec::<f64>::new());
}

#[test]
fn a_timed_step_fails_as_a_step_does() {
    let program = Program {
        symbols: vec![x()],
        launches: vec![launch(OUTSIDE, &[])],
        ..nothing()
    };
    let mut machine = machine(program, &[], 2);
    let message = |error: Error| error.to_string();
    assert_eq!(
        machine.step_timed(&[0]).map_err(message),
        Err("x is 0, but the program was compiled for 1 to 1000".into())
    );
    assert_eq!(
        machine.step_timed(&[1]).map_err(message),
        Err("kernel outside read an index that is outside the axis it indexes".into())
    );
}

#[test]
fn kernels_read_inputs_and_weights_and_inputs_stay_as_they_are() {
    let weight = |name: &str, offset| Weight {
        name: name.into(),
        offset,
        bytes: 16,
    };
    let program = Program {
        inputs: vec![buffer("first", 16), buffer("second", 16)],
        outputs: vec![buffer("input", 16), buffer("weight", 16)],
        weights: vec![weight("first", 0), weight("second", 64)],
        launches: vec![
            launch(TOTAL, &[Address::Input(1), Address::Output(0)]),
            launch(TOTAL, &[Address::Weight(1), Address::Output(1)]),
        ],
        ..nothing()
    };
    let mut data = [0; 80];
    data[64] = 30;
    data[72] = 12;
    let mut machine = machine(program, &data, 2);
    assert_eq!(machine.input_mut(1), [0; 16]);
    machine.input_mut(1)[0] = 5;
    machine.input_mut(1)[8] = 6;
    for _ in 0..2 {
        machine.step(&[]).expect("a step");
        assert_eq!(cells(machine.output(0), 2), [11, 11]);
        assert_eq!(cells(machine.output(1), 2), [42, 42]);
    }
}

#[test]
fn every_worker_has_scratch_of_its_own_aligned_to_64_bytes() {
    let program = Program {
        scratch: 5000,
        outputs: vec![buffer("where", 32)],
        launches: vec![launch(WHERE, &[Address::Output(0)])],
        ..nothing()
    };
    let mut machine = machine(program, &[], 4);
    machine.step(&[]).expect("a step");
    let mut places = cells(machine.output(0), 4);
    places.sort();
    assert!(places.iter().all(|place| place.is_multiple_of(64)));
    assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= 5000));
}

#[test]
fn memory_that_is_not_touched_is_not_taken() {
    let program = Program {
        states: vec![buffer("large", 1 << 40)],
        arena: 1 << 40,
        scratch: 1 << 40,
        outputs: vec![buffer("result", 16)],
        launches: vec![
            launch(COUNT, &[Address::State(0)]),
            launch(COUNT, &[Address::Arena((1 << 40) - 4096)]),
            launch(TOTAL, &[Address::State(0), Address::Output(0)]),
        ],
        ..nothing()
    };
    let mut machine = machine(program, &[], 2);
    machine.step(&[]).expect("a step");
    assert_eq!(cells(machine.output(0), 2), [2, 2]);
}

#[test]
fn a_program_of_nothing_runs() {
    machine(nothing(), &[], 2).step(&[]).expect("a step");
}

#[test]
fn an_index_outside_its_axis_fails_the_step_and_names_the_first_such_kernel() {
    let program = Program {
        outputs: vec![buffer("result", 64)],
        launches: vec![
            launch(COUNT, &[Address::Output(0)]),
            launch(OUTSIDE, &[]),
            launch(COUNT, &[Address::Output(0)]),
        ],
        ..nothing()
    };
    for threads in 1..=3 {
        let mut machine = machine(program.clone(), &[], threads);
        for steps in 1..=3 {
            let error = machine.step(&[]).expect_err("an index outside");
            let Error::Index { kernel } = &error else {
                panic!("{error}")
            };
            assert_eq!(kernel, "outside");
            assert_eq!(cells(machine.output(0), threads), vec![2 * steps; threads]);
            assert_eq!(
                error.to_string(),
                "kernel outside read an index that is outside the axis it indexes"
            );
        }
    }
}

#[test]
fn a_symbol_out_of_its_range_is_refused_and_nothing_is_run() {
    let mut machine = machine(chain(), &[], 2);
    machine.step(&[3]).expect("a step");
    for value in [0, 1001, i64::MIN, i64::MAX] {
        let error = machine.step(&[value]).expect_err("out of range");
        assert_eq!(
            error.to_string(),
            format!("x is {value}, but the program was compiled for 1 to 1000")
        );
    }
    assert_eq!(cells(machine.output(0), 2), [3 << 11; 2]);
    machine.step(&[4]).expect("a step");
    assert_eq!(cells(machine.output(0), 2), [4 << 11; 2]);
}

/// Why a program is refused whose weight data have 128 bytes.
fn refusal(program: Program) -> String {
    let weights = Weights::copied(&[0; 128]).expect("weights");
    let Err(error) = Machine::new(program, code(), weights, 1) else {
        panic!("accepted")
    };
    error.to_string()
}

/// Why a program is refused that gives the kernel `count` this argument.
fn refused_address(address: Address) -> String {
    refusal(Program {
        launches: vec![launch(FILL, &[]), launch(COUNT, &[address])],
        arena: 128,
        ..nothing()
    })
}

#[test]
fn a_launch_of_a_kernel_that_is_not_there_is_refused() {
    let mut program = chain();
    program.launches[2].kernel = 6;
    assert_eq!(
        refusal(program),
        "the compiled program is faulty: launch 2 runs kernel 6 of 6"
    );
}

#[test]
fn code_of_another_number_of_kernels_is_refused() {
    let mut program = nothing();
    program.kernels.pop();
    assert_eq!(
        refusal(program),
        "the compiled program is faulty: its code has 6 kernels, expected 5"
    );
}

#[test]
fn an_argument_that_is_not_there_is_refused() {
    for (address, found) in [
        (Address::Weight(0), "weight 0 of 0"),
        (Address::State(1), "state 1 of 0"),
        (Address::Input(2), "input 2 of 0"),
        (
            Address::Output(usize::MAX),
            "output 18446744073709551615 of 0",
        ),
        (Address::Arena(192), "byte 192 of an arena of 128 bytes"),
        (
            Address::Arena(u64::MAX),
            "byte 18446744073709551615 of an arena of 128 bytes",
        ),
        (
            Address::Arena(32),
            "byte 32 of the arena, expected a multiple of 64",
        ),
    ] {
        assert_eq!(
            refused_address(address),
            format!("the compiled program is faulty: launch 1 gives kernel count {found}")
        );
    }
}

#[test]
fn a_weight_outside_the_weight_data_is_refused() {
    let refused = |offset, bytes| {
        refusal(Program {
            weights: vec![Weight {
                name: "embed".into(),
                offset,
                bytes,
            }],
            ..nothing()
        })
    };
    assert_eq!(
        refused(64, 65),
        "the compiled program is faulty: weight embed has 65 bytes from byte 64 on, but the weight data have 128"
    );
    assert_eq!(
        refused(64, u64::MAX),
        "the compiled program is faulty: weight embed has 18446744073709551615 bytes from byte 64 on, but the weight \
         data have 128"
    );
    assert_eq!(
        refused(8, 8),
        "the compiled program is faulty: weight embed begins at byte 8, expected a multiple of 64"
    );
}

#[test]
fn a_symbol_without_values_is_refused() {
    let symbol = Symbol {
        low: 2,
        high: 1,
        ..x()
    };
    assert_eq!(
        refusal(Program {
            symbols: vec![symbol],
            ..nothing()
        }),
        "the compiled program is faulty: symbol x is between 2 and 1"
    );
}

#[test]
fn more_memory_than_there_can_be_is_refused() {
    let refused = |arena| refusal(Program { arena, ..nothing() });
    assert_eq!(
        refused(u64::MAX),
        "18446744073709551615 bytes of memory could not be mapped: out of memory"
    );
    assert_eq!(
        refused(1 << 62),
        "4611686018427387904 bytes of memory could not be mapped: Cannot allocate memory (os error 12)"
    );
}

#[test]
fn weight_data_outside_their_map_or_not_aligned_are_refused() {
    let map = || {
        let map = memmap2::MmapMut::map_anon(4096).expect("memory");
        std::sync::Arc::new(map.make_read_only().expect("memory"))
    };
    let refused = |range| match Weights::in_map(map(), range) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    };
    assert_eq!(
        refused(64..4097),
        "the compiled program is faulty: weight data are at bytes 64..4097 of 4096 bytes"
    );
    assert_eq!(
        refused(8..4096),
        "the compiled program is faulty: weight data begin at byte 8, expected a multiple of 64"
    );
    Weights::in_map(map(), 64..4096).expect("weights");
}

/// A file with all kernels at byte 4096, and how many bytes they are.
fn file() -> (std::fs::File, u64) {
    let code = image().code;
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&[0; 4096]).expect("written");
    file.write_all(&code).expect("written");
    (file, code.len() as u64)
}

#[test]
fn code_runs_from_where_it_is_in_a_file() {
    let (file, bytes) = file();
    // SAFETY: the file has the kernels, and nobody else knows of it.
    let code = unsafe { Code::from_file(&file, 4096, bytes, &image().entries) }.expect("code");
    drop(file);
    let weights = Weights::copied(&[]).expect("weights");
    let mut machine = Machine::new(chain(), code, weights, 2).expect("a machine");
    machine.step(&[5]).expect("a step");
    assert_eq!(cells(machine.output(0), 2), [5 << 11; 2]);
}

#[test]
fn code_that_is_not_where_it_should_be_is_refused() {
    let (file, bytes) = file();
    let refused = |offset, bytes, entries: &[u64]| {
        // SAFETY: nothing is run.
        match unsafe { Code::from_file(&file, offset, bytes, entries) } {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(
        refused(64, bytes, &[]),
        "the compiled program is faulty: code begins at byte 64, expected a multiple of 4096"
    );
    assert_eq!(
        refused(4096, bytes, &[0, bytes]),
        format!(
            "the compiled program is faulty: kernel 1 begins at byte {bytes} of {bytes} bytes of code"
        )
    );
    for (offset, bytes) in [(4096, bytes + 1), (8192, 1), (4096, u64::MAX)] {
        assert_eq!(
            refused(offset, bytes, &[]),
            "the compiled program's code could not be mapped: unexpected end of file"
        );
    }
}
