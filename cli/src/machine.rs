//! The machine that is planned for.

use std::path::{Path, PathBuf};

use passes::fusion::Machine;
use runtime::Description;

use crate::error::Error;
use crate::host;

/// The option that chooses the machine: flatten it into the arguments of a command that plans. A command that takes
/// [`RunOptions`](runtime::RunOptions) has the same option by them, and calls [`load`].
#[derive(clap::Args, Clone, Debug)]
pub struct MachineArgs {
    /// The machine to plan for, as calibrate described it [default: what calibrate wrote last, or else a plain machine]
    #[arg(long, value_name = "FILE")]
    machine: Option<PathBuf>,
}

impl MachineArgs {
    /// The description: of the file given, or else of the default file if it is there.
    ///
    /// # Errors
    /// Those of [`load`].
    pub fn machine(&self) -> Result<Option<Description>, Error> {
        load(self.machine.as_deref())
    }
}

/// Reads this description, or else that of the default file if it is there.
///
/// # Errors
/// A file that cannot be read, or that holds no description.
pub fn load(path: Option<&Path>) -> Result<Option<Description>, Error> {
    let default = || default_path().filter(|path| path.exists());
    match path.map(Path::to_path_buf).or_else(default) {
        Some(path) => Ok(Some(Description::load(&path)?)),
        None => Ok(None),
    }
}

/// Where `calibrate` leaves the description of this machine: `lapidary/machine.json` in the user's folder of
/// configurations, by the XDG base directory specification; nothing if the environment names none.
pub fn default_path() -> Option<PathBuf> {
    let folder = host::folder("XDG_CONFIG_HOME", ".config")?;
    Some(folder.join("lapidary").join("machine.json"))
}

/// The machine of the cost model: what all threads of a description do together, or else a plain machine.
pub fn planned_for(description: Option<&Description>) -> Machine {
    let plain = Machine::default();
    match description {
        None => plain,
        Some(found) => Machine {
            bandwidth: found.read_bytes_per_s.all_threads.median,
            rate: found.f32_flops.all_threads.median,
            launch: found.barrier_s.median,
            workers: found.threads as f64,
            ..plain
        },
    }
}

#[cfg(test)]
mod tests {
    use runtime::{Measured, Rates};

    use super::*;

    #[test]
    fn the_cost_model_takes_the_medians_of_all_threads() {
        let measured = |median: f64| Measured::of(vec![median / 2.0, median, median * 2.0]);
        let rates = |all| Rates {
            one_thread: measured(1.0),
            all_threads: measured(all),
        };
        let description = Description {
            cpu: "a CPU".into(),
            threads: 6,
            date: "2026-08-31".into(),
            read_bytes_per_s: rates(30e9),
            f32_flops: rates(226e9),
            bf16_flops: None,
            int8_ops: Some(rates(907e9)),
            barrier_s: measured(1e-6),
        };
        let expected = Machine {
            bandwidth: 30e9,
            rate: 226e9,
            launch: 1e-6,
            workers: 6.0,
            ..Machine::default()
        };
        assert_eq!(planned_for(Some(&description)), expected);
        assert_eq!(planned_for(None), Machine::default());
    }
}
