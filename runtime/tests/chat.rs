//! Conversations: what is fed again and what is not.

mod common;

use std::sync::atomic::AtomicBool;

use common::{Run, SetWhenSeen, Toy, tiny_text, tiny_text_with};
use lapidary_runtime::{Limits, Text};

const CHAT: [&str; 3] = ["--chat", "--temperature", "0"];

/// Answers the n-th question of a conversation with the n-th reply.
fn answering(text: &Text, replies: &[Vec<u32>]) -> Toy {
    let replies: Vec<Vec<u32>> = replies
        .iter()
        .map(|reply| [reply.as_slice(), &[107]].concat())
        .collect();
    let opening = text.encode_part("<start_of_turn>model\n").unwrap();
    Toy::talking(move |history| {
        let turns = history
            .windows(opening.len())
            .filter(|window| *window == opening)
            .count();
        let said =
            (0..history.len()).find(|&said| history[..history.len() - said].ends_with(&opening))?;
        replies.get(turns - 1)?.get(said).copied()
    })
}

fn encoded(text: &Text, replies: &[&str]) -> Vec<Vec<u32>> {
    replies
        .iter()
        .map(|reply| text.encode_part(reply).unwrap())
        .collect()
}

fn chat<'a>(text: &'a Text, input: &str) -> Run<'a> {
    Run {
        text: Some(text),
        stop_ids: &[1, 107],
        input: input.into(),
        ..Run::default()
    }
}

#[test]
fn each_turn_feeds_only_what_is_new() {
    let text = tiny_text();
    let mut toy = answering(&text, &encoded(&text, &["Hello there.", "Fine.", "Bye."]));
    let outcome = chat(&text, "Hi\n\n  How are you? \nBye").go(&mut toy, &CHAT);
    outcome.result.unwrap();
    assert_eq!(outcome.output, "Hello there.\nFine.\nBye.\n");
    assert_eq!(outcome.notes, "");
    let whole = "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello there.<end_of_turn>\n\
                 <start_of_turn>user\nHow are you?<end_of_turn>\n<start_of_turn>model\nFine.<end_of_turn>\n\
                 <start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\nBye.";
    let whole = text.encode(whole).unwrap();
    assert_eq!(toy.slots[0], whole);
    assert_eq!(
        toy.steps.iter().sum::<usize>(),
        whole.len(),
        "every token is fed once"
    );
}

#[test]
fn a_reply_stays_in_the_tokens_that_the_model_gave() {
    let text = tiny_text();
    // "t", "h", "e" where the tokenizer would say "th", "e", around it whitespace that the template trims.
    let odd = vec![108, 455, 443, 440, 466, 466];
    assert_eq!(text.decode(&odd).unwrap(), "\nthe  ");
    assert_ne!(text.encode_part("\nthe  ").unwrap(), odd);
    let mut toy = answering(&text, &[odd.clone(), text.encode_part("Yes.").unwrap()]);
    let outcome = chat(&text, "Say it\nAgain").go(&mut toy, &CHAT);
    outcome.result.unwrap();
    assert_eq!(outcome.output, "\nthe  \nYes.\n");
    assert!(
        toy.slots[0]
            .windows(7)
            .any(|window| *window == [108, 455, 443, 440, 466, 466, 107])
    );
    assert_eq!(toy.steps.iter().sum::<usize>(), toy.slots[0].len());
}

#[test]
fn a_reply_cut_short_is_closed_before_the_next_turn() {
    let text = tiny_text();
    let long = text
        .encode_part("One two three four five six seven")
        .unwrap();
    let mut toy = answering(&text, &[long.clone(), long.clone()]);
    let outcome =
        chat(&text, "Count\nOn").go(&mut toy, &[&CHAT[..], &["--max-new-tokens", "3"]].concat());
    outcome.result.unwrap();
    let first = text.decode(&long[..3]).unwrap();
    assert_eq!(outcome.output, format!("{first}\n{first}\n"));
    let mut whole = text
        .encode("<bos><start_of_turn>user\nCount<end_of_turn>\n<start_of_turn>model\n")
        .unwrap();
    whole.extend(&long[..3]);
    whole.extend(
        text.encode_part(
            "<end_of_turn>\n<start_of_turn>user\nOn<end_of_turn>\n<start_of_turn>model\n",
        )
        .unwrap(),
    );
    whole.extend(&long[..2]);
    assert_eq!(toy.slots[0], whole);
}

#[test]
fn a_template_that_rewrites_the_past_has_it_fed_anew() {
    // Says how many messages there are, first of all: every turn changes the text from its beginning.
    let template = "{{ bos_token }}{{ messages | length }}\
                    {% for message in messages %}<start_of_turn>{{ message.content }}<end_of_turn>{% endfor %}\
                    {{ '<start_of_turn>model\n' }}";
    let text = tiny_text_with(Some(Some(template))).unwrap();
    let mut toy = answering(&text, &encoded(&text, &["A.", "B."]));
    let outcome = chat(&text, "Hi\nBye").go(&mut toy, &CHAT);
    outcome.result.unwrap();
    let whole = "<bos>3<start_of_turn>Hi<end_of_turn><start_of_turn>A.<end_of_turn><start_of_turn>Bye<end_of_turn>\
                 <start_of_turn>model\n";
    let whole = text.encode(whole).unwrap();
    assert_eq!(toy.slots[0][..whole.len()], whole);
}

#[test]
fn new_begins_another_conversation() {
    let text = tiny_text();
    let mut toy = answering(&text, &encoded(&text, &["One.", "Two."]));
    let outcome = chat(&text, "Hi\n/new\nHi\nHi\n/help\n").go(&mut toy, &CHAT);
    outcome.result.unwrap();
    assert_eq!(outcome.output, "One.\nOne.\nTwo.\n");
    assert!(outcome.notes.contains("/new"));
}

#[test]
fn a_message_that_no_longer_fits_is_refused() {
    let text = tiny_text();
    let mut toy = answering(&text, &encoded(&text, &["Yes.", "No."]));
    toy.limits = Limits {
        context: 20,
        ..toy.limits
    };
    let outcome = chat(
        &text,
        "Hi\nTell me all about the kings of Israel, one by one\n",
    )
    .go(&mut toy, &CHAT);
    assert_eq!(outcome.output, "Yes.\n");
    let error = outcome.result.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("tokens, but the context holds 20 (--max-context, at most the model's own)"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn a_reply_that_fills_the_context_says_so() {
    let text = tiny_text();
    let mut toy = answering(
        &text,
        &encoded(
            &text,
            &["One two three four five six seven eight nine ten eleven twelve"],
        ),
    );
    toy.limits = Limits {
        context: 16,
        ..toy.limits
    };
    let outcome = chat(&text, "Hi\n").go(&mut toy, &CHAT);
    outcome.result.unwrap();
    assert_eq!(
        outcome.notes,
        "note: the context of 16 positions is full; generation stopped\n"
    );
    assert_eq!(toy.slots[0].len(), 16);
}

#[test]
fn an_interrupt_ends_a_scripted_conversation_after_the_present_token() {
    let text = tiny_text();
    let interrupt = AtomicBool::new(false);
    let mut toy = answering(&text, &encoded(&text, &["One two three four.", "Never."]));
    let mut output = SetWhenSeen {
        mark: "two",
        flag: &interrupt,
        text: String::new(),
    };
    let run = Run {
        interrupt: &interrupt,
        ..chat(&text, "Hi\nHi\n")
    };
    run.go_to(&mut output, &mut toy, &CHAT).result.unwrap();
    assert_eq!(output.text, "One two\n");
}

#[test]
fn an_input_line_that_is_not_utf8_is_refused() {
    let text = tiny_text();
    let mut toy = answering(&text, &encoded(&text, &["Yes."]));
    let run = Run {
        input: b"Hi\nab\xFF\n".to_vec(),
        ..chat(&text, "")
    };
    let outcome = run.go(&mut toy, &CHAT);
    assert_eq!(outcome.output, "Yes.\n");
    assert_eq!(
        outcome.result.unwrap_err().to_string(),
        "standard input is not UTF-8: byte 2 is invalid"
    );
}
