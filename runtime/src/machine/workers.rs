//! Threads that do one job together, again and again.

use std::panic;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::barrier::{Barrier, Broken};
use super::cpus::{self, Pinned};
use crate::Error;

/// A fixed number of workers who do the same job whenever they are told to. The thread that tells them is worker 0.
///
/// Each has a CPU of its own, if there are as many as workers: the other threads always, the calling thread while the
/// job runs. Between jobs they sleep.
pub struct Workers {
    team: Arc<Team>,
    threads: Vec<JoinHandle<()>>,
    /// Worker 0's CPU.
    cpu: Option<usize>,
}

/// A worker's part of the job: which worker it is, and where it meets the others. It ends early when they have.
type Job = dyn Fn(usize, &Barrier) -> Result<(), Broken> + Send + Sync;

struct Team {
    job: Box<Job>,
    barrier: Barrier,
}

impl Workers {
    /// Starts so many workers, at least one; the job is not yet done.
    ///
    /// # Errors
    ///
    /// [`Error::Threads`] when the system refuses a thread.
    pub fn new(
        workers: usize,
        job: impl Fn(usize, &Barrier) -> Result<(), Broken> + Send + Sync + 'static,
    ) -> Result<Workers, Error> {
        let workers = workers.max(1);
        let cpus = cpus::choose(workers);
        let mut all = Workers {
            team: Arc::new(Team {
                job: Box::new(job),
                barrier: Barrier::new(workers, cpus.is_some()),
            }),
            threads: Vec::with_capacity(workers - 1),
            cpu: cpus.as_ref().map(|cpus| cpus[0]),
        };
        for worker in 1..workers {
            let team = Arc::clone(&all.team);
            let cpu = cpus.as_ref().map(|cpus| cpus[worker]);
            let thread = thread::Builder::new().name(format!("worker {worker}"));
            let thread = thread.spawn(move || {
                if let Some(cpu) = cpu {
                    cpus::pin(cpu);
                }
                while team.work(worker).is_ok() {}
            });
            all.threads.push(thread.map_err(Error::Threads)?);
        }
        Ok(all)
    }

    /// Has every worker do its part of the job once. Without threads of their own, the caller alone does it.
    ///
    /// # Panics
    ///
    /// If the job panics on any worker; the others then end at their next meeting, and this panics ever after.
    pub fn run(&mut self) {
        let pinned = self.cpu.map(Pinned::to);
        let done = self.team.work(0);
        drop(pinned);
        if done.is_err() {
            let ends = self.threads.drain(..).map(JoinHandle::join);
            match ends.filter_map(Result::err).next() {
                Some(panic) => panic::resume_unwind(panic),
                None => panic!("a worker panicked earlier"),
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.team.barrier.break_up();
        for thread in self.threads.drain(..) {
            // A panic was reported by the run that it happened in.
            let _ = thread.join();
        }
    }
}

impl Team {
    /// One round of a worker: wait to be told, do the job, and wait until all have done it.
    fn work(&self, worker: usize) -> Result<(), Broken> {
        let _breaks_on_panic = BreaksOnPanic(&self.barrier);
        self.barrier.wait()?;
        (self.job)(worker, &self.barrier)?;
        self.barrier.wait()
    }
}

struct BreaksOnPanic<'b>(&'b Barrier);

impl Drop for BreaksOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.break_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    /// One number for each worker.
    fn cells(workers: usize) -> Arc<[AtomicU64]> {
        (0..workers).map(|_| AtomicU64::new(0)).collect()
    }

    fn values(cells: &[AtomicU64]) -> Vec<u64> {
        cells.iter().map(|x| x.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn every_worker_does_its_part_once_a_run() {
        for workers in 1..=5 {
            let done = cells(workers);
            let job = {
                let done = Arc::clone(&done);
                move |worker: usize, _: &Barrier| {
                    done[worker].fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
            };
            let mut team = Workers::new(workers, job).expect("workers");
            assert_eq!(values(&done), vec![0; workers]);
            for runs in 1..=1000 {
                team.run();
                assert_eq!(values(&done), vec![runs; workers]);
            }
        }
    }

    #[test]
    fn after_a_meeting_every_worker_sees_what_all_did_before_it() {
        for workers in 1..=5 {
            let (even, odd) = (cells(workers), cells(workers));
            let job = {
                let (even, odd) = (Arc::clone(&even), Arc::clone(&odd));
                move |worker: usize, barrier: &Barrier| {
                    let rest = |from: &[AtomicU64], to: &[AtomicU64]| {
                        let all: u64 = values(from).iter().sum();
                        to[worker].store(all + 1, Ordering::Relaxed);
                    };
                    even[worker].store(1, Ordering::Relaxed);
                    for _ in 0..10 {
                        barrier.wait()?;
                        rest(&even, &odd);
                        barrier.wait()?;
                        rest(&odd, &even);
                    }
                    Ok(())
                }
            };
            let mut team = Workers::new(workers, job).expect("workers");
            let expected = (0..20).fold(1, |all, _| all * workers as u64 + 1);
            for _ in 0..500 {
                team.run();
                assert_eq!(values(&even), vec![expected; workers]);
            }
        }
    }

    #[test]
    fn a_panic_of_any_worker_ends_the_run_and_hangs_nobody() {
        for faulty in 0..3 {
            let at_fault = Arc::new(AtomicBool::new(false));
            let job = {
                let at_fault = Arc::clone(&at_fault);
                move |worker: usize, barrier: &Barrier| {
                    barrier.wait()?;
                    if worker == faulty && at_fault.load(Ordering::Relaxed) {
                        panic::resume_unwind(Box::new(worker));
                    }
                    barrier.wait()
                }
            };
            let mut team = Workers::new(3, job).expect("workers");
            team.run();
            at_fault.store(true, Ordering::Relaxed);
            let panic = panic::catch_unwind(AssertUnwindSafe(|| team.run())).expect_err("a panic");
            assert_eq!(panic.downcast_ref(), Some(&faulty));
            panic::catch_unwind(AssertUnwindSafe(|| team.run())).expect_err("a panic ever after");
        }
    }

    #[test]
    fn a_run_leaves_the_caller_the_cpus_it_had() {
        let may_use = || {
            let allowed = rustix::thread::sched_getaffinity(None).expect("CPUs");
            (0..1024)
                .filter(|cpu| allowed.is_set(*cpu))
                .collect::<Vec<_>>()
        };
        let before = may_use();
        let mut team = Workers::new(2, |_, _| Ok(())).expect("workers");
        team.run();
        assert_eq!(may_use(), before);
    }

    #[test]
    fn workers_that_have_cpus_of_their_own_stay_on_different_ones() {
        let cpus = thread::available_parallelism().map_or(1, |n| n.get());
        let on = cells(cpus);
        let job = {
            let on = Arc::clone(&on);
            move |worker: usize, _: &Barrier| {
                let cpu = rustix::thread::sched_getcpu() as u64;
                on[worker].store(cpu, Ordering::Relaxed);
                Ok(())
            }
        };
        let mut team = Workers::new(cpus, job).expect("workers");
        for _ in 0..100 {
            team.run();
            let mut distinct = values(&on);
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct.len(), cpus);
        }
    }
}
