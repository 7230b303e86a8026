//! The command line of a run.

mod common;

use common::options;

fn refusal(arguments: &[&str]) -> String {
    let (message, code) = options(arguments).expect_err("refused");
    assert_eq!(code, 2, "{message}");
    message
}

#[test]
fn the_defaults_are_the_model_cards() {
    let options = options(&[]).unwrap();
    let sampling = options.sampling();
    assert_eq!(
        (
            sampling.temperature,
            sampling.top_p,
            sampling.top_k,
            sampling.repetition_penalty
        ),
        (0.6, 0.9, 50, 1.0)
    );
    assert_eq!(options.max_new_tokens(), 1024);
    assert_eq!(
        (options.prefill_chunk(8192), options.prefill_chunk(100)),
        (512, 100)
    );
    assert_eq!(options.max_context(8192).unwrap(), 8192);
    assert_eq!(
        options.threads(),
        std::thread::available_parallelism().unwrap().get()
    );
    assert_eq!((options.seed(), options.logits()), (None, None));
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for arguments in [
        &["--chat", "Hello"][..],
        &["--chat", "--raw"],
        &["--chat", "--tokens", "1"],
        &["--chat", "--logits", "f"],
        &["--tokens", "1", "Hello"],
        &["--tokens", "1", "--raw"],
    ] {
        assert!(
            refusal(arguments).contains("cannot be used with"),
            "{arguments:?}"
        );
    }
    assert!(refusal(&["two", "prompts"]).contains("unexpected argument"));
}

#[test]
fn a_value_out_of_range_is_refused_with_the_flag_and_the_range() {
    for (flag, values, range) in [
        (
            "--temperature",
            &["-0.1", "nan", "inf", "warm"][..],
            "expected a number from 0 up",
        ),
        (
            "--top-p",
            &["0", "1.01", "-1", "nan"],
            "expected a number over 0 and up to 1",
        ),
        (
            "--repetition-penalty",
            &["0", "-1", "inf", "1e99"],
            "expected a number over 0",
        ),
        (
            "--max-new-tokens",
            &["0", "4097", "-5"],
            "is not in 1..=4096",
        ),
        ("--threads", &["0", "-1", "4097"], "is not in 1..=4096"),
        ("--prefill-chunk", &["0", "-7"], "is not in 1.."),
        ("--max-context", &["0", "-7"], "is not in 1.."),
        ("--top-k", &["-1"], "is not in 0.."),
        (
            "--seed",
            &["-1", "18446744073709551616"],
            "expected a whole number from 0 up",
        ),
        (
            "--tokens",
            &["", ",", "2,x", "2,-5", "1.5", "4294967296"],
            "token id",
        ),
    ] {
        for value in values {
            let message = refusal(&[flag, value]);
            assert!(
                message.contains(flag) && message.contains(range),
                "{flag} {value}: {message}"
            );
        }
    }
}

#[test]
fn the_ends_of_each_range_are_taken() {
    for arguments in [
        ["--temperature", "0"],
        ["--top-p", "1"],
        ["--top-p", "1e-9"],
        ["--top-k", "0"],
        ["--repetition-penalty", "0.5"],
        ["--max-new-tokens", "1"],
        ["--max-new-tokens", "4096"],
        ["--seed", "18446744073709551615"],
        ["--tokens", "2, 5 9,"],
    ] {
        options(&arguments).unwrap();
    }
}

#[test]
fn more_context_than_the_model_has_is_refused() {
    let options = options(&["--max-context", "1025"]).unwrap();
    assert_eq!(options.max_context(1025).unwrap(), 1025);
    let error = options.max_context(1024).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--max-context 1025 is out of range: the model has 1024 positions"
    );
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn the_help_describes_the_options_and_leaves_the_command_to_its_owner() {
    let (help, code) = options(&["--help"]).expect_err("help is shown");
    assert_eq!(code, 0);
    assert!(help.starts_with("Usage: toy"), "{help}");
}
