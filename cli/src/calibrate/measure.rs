//! Rounds of measurements, and what they come to.

use std::hint::black_box;
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Instant, SystemTime};

use runtime::{Description, Error, Measured, Rates, Workers};

use super::kernels::{Kernels, Line, Peak};
use crate::host;

/// Bytes that a thread reads before the next thread's turn.
pub const CHUNK: usize = 1 << 20;

/// Times round a peak's loop: tens of milliseconds.
const LOOPS: usize = 20_000_000;

/// Batches of waits for one another in a round.
const BATCHES: usize = 200;

/// Waits in a batch.
const MEETINGS: usize = 100;

/// Measures this machine with the memory given, which should be far larger than its caches. One thread and all
/// threads, and the kinds of work, take turns, so that what else the machine does falls on all alike. A round that
/// does not count goes before; `done` is called after each that does.
///
/// # Errors
///
/// [`Error::Threads`] when the system refuses a thread.
pub fn measure(
    kernels: &Kernels,
    memory: &[Line],
    threads: usize,
    rounds: usize,
    done: &mut dyn FnMut(),
) -> Result<Description, Error> {
    let read = |threads| bandwidth(kernels, memory, threads);
    let peak = |peak: Peak| move |threads| flops(peak, threads);
    let [f32, bf16, int8] = [Some(kernels.f32), kernels.bf16, kernels.int8].map(|p| p.map(peak));
    let mut read = Samples::new(read);
    let mut arithmetic = [f32, bf16, int8].map(|peak| peak.map(Samples::new));
    let mut barrier = Vec::new();
    for round in 0..=rounds {
        let counts = round > 0;
        read.round(threads, counts);
        for samples in arithmetic.iter_mut().flatten() {
            samples.round(threads, counts);
        }
        let seconds = meeting(threads)?;
        if counts {
            barrier.push(seconds);
            done();
        }
    }
    let [f32, bf16, int8] = arithmetic.map(|samples| samples.map(Samples::rates));
    Ok(Description {
        cpu: host::cpu_name().unwrap_or("unknown".into()),
        threads,
        date: today(),
        read_bytes_per_s: read.rates(),
        f32_flops: f32.expect("every CPU that has kernels has this one"),
        bf16_flops: bf16,
        int8_ops: int8,
        barrier_s: Measured::of(barrier),
    })
}

/// What the rounds of one kind of work have given so far.
struct Samples<F> {
    /// The rate of so many threads.
    rate: F,
    one_thread: Vec<f64>,
    all_threads: Vec<f64>,
}

impl<F: Fn(usize) -> f64> Samples<F> {
    fn new(rate: F) -> Samples<F> {
        Samples {
            rate,
            one_thread: Vec::new(),
            all_threads: Vec::new(),
        }
    }

    fn round(&mut self, threads: usize, counts: bool) {
        let (one, all) = ((self.rate)(1), (self.rate)(threads));
        if counts {
            self.one_thread.push(one);
            self.all_threads.push(all);
        }
    }

    fn rates(self) -> Rates {
        Rates {
            one_thread: Measured::of(self.one_thread),
            all_threads: Measured::of(self.all_threads),
        }
    }
}

/// Bytes a second that so many threads read together, chunk by chunk in turn.
fn bandwidth(kernels: &Kernels, memory: &[Line], threads: usize) -> f64 {
    let time = seconds(threads, |me| {
        let chunks = memory.chunks(CHUNK / size_of::<Line>());
        let own = chunks.skip(me).step_by(threads);
        black_box(own.fold(0, |sum, chunk| kernels.read(chunk) ^ sum));
    });
    size_of_val(memory) as f64 / time
}

/// Operations a second of so many threads together.
fn flops(peak: Peak, threads: usize) -> f64 {
    let time = seconds(threads, |_| peak.run(LOOPS));
    threads as f64 * peak.operations(LOOPS) / time
}

/// Seconds that so many of the runtime's workers take to wait for one another once, as a rule: the median of many
/// batches, so that one in which a worker was not running does not count.
fn meeting(threads: usize) -> Result<f64, Error> {
    let (sender, batches) = mpsc::channel();
    let mut workers = Workers::new(threads, move |worker, barrier| {
        for _ in 0..BATCHES {
            let start = Instant::now();
            for _ in 0..MEETINGS {
                barrier.wait()?;
            }
            if worker == 0 {
                let sent = sender.send(start.elapsed().as_secs_f64());
                sent.expect("the receiver outlives the workers");
            }
        }
        Ok(())
    })?;
    workers.run();
    drop(workers);
    Ok(Measured::of(batches.iter().collect()).median / MEETINGS as f64)
}

/// Seconds from the first thread's start of the work to the last one's end; each is told which it is.
fn seconds(threads: usize, work: impl Fn(usize) + Sync) -> f64 {
    let (gate, work) = (&Barrier::new(threads), &work);
    let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let timed = |me| {
            scope.spawn(move || {
                gate.wait();
                let start = Instant::now();
                work(me);
                (start, Instant::now())
            })
        };
        let workers: Vec<_> = (0..threads).map(timed).collect();
        let span = |worker: thread::ScopedJoinHandle<'_, _>| worker.join().expect("no loop panics");
        workers.into_iter().map(span).collect()
    });
    let start = spans.iter().map(|(start, _)| *start).min();
    let end = spans.iter().map(|(_, end)| *end).max();
    let span = start.zip(end).map(|(start, end)| end - start);
    span.expect("there is a thread").as_secs_f64()
}

/// Today in UTC, as `2026-08-31`.
fn today() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    date(since.map_or(0, |since| since.as_secs() / (24 * 60 * 60)))
}

/// The date so many days after 1970-01-01.
fn date(mut days: u64) -> String {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn days_are_counted_over_leap_years() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (31 + 28, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_322, "2000-12-31"),
            (11_323, "2001-01-01"),
            (20_696, "2026-08-31"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }

    #[test]
    fn all_threads_work_and_the_time_is_that_of_the_last() {
        let turns = AtomicUsize::new(0);
        let time = seconds(3, |me| {
            turns.fetch_add(1 << (8 * me), Ordering::Relaxed);
            thread::sleep(std::time::Duration::from_millis(5 * me as u64));
        });
        assert_eq!(turns.load(Ordering::Relaxed), 0x01_01_01);
        assert!(time >= 0.010, "{time}");
    }
}
