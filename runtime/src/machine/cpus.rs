//! Which CPU each worker has for its own.

use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// As many CPUs as there are workers, out of those that the calling thread may use; none if there are fewer, or if
/// there is but one worker, which may go where it likes.
///
/// Each physical core gives one CPU before any gives a second.
pub(super) fn choose(workers: usize) -> Option<Vec<usize>> {
    if workers == 1 {
        return None;
    }
    let allowed = sched_getaffinity(None).ok()?;
    let cpus = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
    let mut cpus: Vec<usize> = cpus.collect();
    cpus.sort_by_cached_key(|cpu| (place_in_core(*cpu), *cpu));
    cpus.truncate(workers);
    (cpus.len() == workers).then_some(cpus)
}

/// How many CPUs of the same physical core come before this one.
fn place_in_core(cpu: usize) -> usize {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let siblings = fs::read_to_string(path).unwrap_or_default();
    // Such as "3,67" or "6-7".
    let before = siblings.trim().split([',', '-']);
    before
        .take_while(|sibling| sibling.parse() != Ok(cpu))
        .count()
}

/// Keeps the calling thread on a CPU, as far as the system lets it.
pub(super) fn pin(cpu: usize) {
    let mut only = CpuSet::new();
    only.set(cpu);
    let _ = sched_setaffinity(None, &only);
}

/// Keeps the calling thread on a CPU until dropped.
pub(super) struct Pinned {
    before: Option<CpuSet>,
}

impl Pinned {
    pub fn to(cpu: usize) -> Pinned {
        let before = sched_getaffinity(None).ok();
        if before.is_some() {
            pin(cpu);
        }
        Pinned { before }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = sched_setaffinity(None, before);
        }
    }
}
