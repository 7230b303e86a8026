//! Mistakes that implementations of Gemma 2 have made, each put back into the graph to see that the
//! check of the logits notices it.
//!
//! A trap rewrites the module; the check is the one that a right module passes: the largest error of
//! the f32 logits, against the float64 truth, stays within the bound. Tokens compared across a near-tie
//! are a trap of the check itself, tested where it stands, in `lapidary_tests::golden`; those of text
//! are tested with the runtime's tokenizer and template.

mod attention;
mod ends;
mod feed_forward;
mod norms;
mod rope;
mod trial;
