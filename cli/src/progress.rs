//! How far a long piece of work is, on standard error.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows the phases of compiling: as bars in a terminal; elsewhere as a line for each, or not at all.
pub struct Progress {
    lines: bool,
}

impl Progress {
    /// Bars in a terminal, lines elsewhere.
    pub fn shown() -> Progress {
        let lines = !std::io::stderr().is_terminal();
        Progress { lines }
    }

    /// Bars in a terminal, nothing elsewhere.
    pub fn in_terminal() -> Progress {
        Progress { lines: false }
    }

    /// A phase that cannot say how long it takes.
    pub fn phase(&self, name: &'static str) -> Phase {
        let bar = self.begin(name, None, "{spinner} {msg}, {elapsed}");
        bar.enable_steady_tick(Duration::from_millis(100));
        Phase(bar)
    }

    /// A phase of so many kernels.
    pub fn kernels(&self, name: &'static str, kernels: usize) -> Phase {
        let template = "{msg} {bar:30} {pos}/{len} kernels";
        Phase(self.begin(name, Some(kernels as u64), template))
    }

    /// A phase of so many rounds.
    pub fn rounds(&self, name: &'static str, rounds: usize) -> Phase {
        let template = "{msg} {bar:30} {pos}/{len} rounds, {eta} left";
        Phase(self.begin(name, Some(rounds as u64), template))
    }

    /// A phase of so many bytes.
    pub fn bytes(&self, name: &'static str, bytes: u64) -> Phase {
        let template = "{msg} {bar:30} {decimal_bytes}/{decimal_total_bytes}, {eta} left";
        Phase(self.begin(name, Some(bytes), template))
    }

    fn begin(&self, name: &'static str, length: Option<u64>, template: &str) -> ProgressBar {
        if self.lines {
            eprintln!("{name}");
        }
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        let bar = match length {
            Some(length) => ProgressBar::new(length),
            None => ProgressBar::new_spinner(),
        };
        bar.with_style(style).with_message(name)
    }
}

/// A phase under way; its bar goes when it is dropped.
pub struct Phase(ProgressBar);

impl Phase {
    /// So much is done, of so much.
    pub fn at(&self, done: u64, of: u64) {
        self.0.set_length(of);
        self.0.set_position(done);
    }

    /// So much more is done.
    pub fn more(&self, done: u64) {
        self.0.inc(done);
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
