//! What a checkpoint's folder may hold, and what is said where it holds something else.

mod bytes;
mod config;
mod folder;
mod golden;
mod opening;
mod refusals;
