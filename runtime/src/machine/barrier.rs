//! Where workers wait for one another.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::thread::futex;

/// How often a worker looks whether the others have come before it sleeps: some tens of microseconds, more than most
/// kernels' workers are apart, and much less than waking from sleep may take.
const LOOKS: u32 = 2000;

/// Where a fixed number of workers wait until all of them have come, any number of times.
///
/// A worker that waits spins for some microseconds and then sleeps. What a worker wrote before it came is seen by every
/// worker that has left.
pub struct Barrier {
    workers: u32,
    looks: u32,
    arrivals: Arrivals,
    meetings: Meetings,
}

/// The one who waits only writes here, ...
#[repr(align(128))]
struct Arrivals {
    /// Workers that have come to the present meeting.
    come: AtomicU32,
    /// Workers that sleep, or are about to.
    asleep: AtomicU32,
}

/// ... and only reads here, until the last one has come.
#[repr(align(128))]
struct Meetings {
    /// Meetings that have ended, modulo 2^32. Sleepers wait for it to change.
    ended: AtomicU32,
    broken: AtomicBool,
}

/// The barrier is broken: a worker will not come any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl Barrier {
    /// A barrier of so many workers, who spin before they sleep if each has a CPU of its own.
    pub(super) fn new(workers: usize, own_cpus: bool) -> Barrier {
        Barrier {
            workers: u32::try_from(workers).expect("fewer workers than 2^32"),
            looks: if own_cpus { LOOKS } else { 0 },
            arrivals: Arrivals {
                come: AtomicU32::new(0),
                asleep: AtomicU32::new(0),
            },
            meetings: Meetings {
                ended: AtomicU32::new(0),
                broken: AtomicBool::new(false),
            },
        }
    }

    /// Waits until every worker waits here.
    ///
    /// # Errors
    ///
    /// [`Broken`] when a worker panicked or the workers are to end, now or earlier.
    #[inline]
    pub fn wait(&self) -> Result<(), Broken> {
        // Read before the worker counts as come: the meeting cannot end in between.
        let meeting = self.meetings.ended.load(Ordering::Acquire);
        if self.is_broken() {
            return Err(Broken);
        }
        if self.arrivals.come.fetch_add(1, Ordering::AcqRel) + 1 == self.workers {
            // Nobody comes to the next meeting before this one has ended.
            self.arrivals.come.store(0, Ordering::Relaxed);
            self.end_meeting();
            return Ok(());
        }
        if !(0..self.looks).any(|_| self.has_ended(meeting)) {
            self.sleep_until_end_of(meeting);
        }
        match self.is_broken() {
            true => Err(Broken),
            false => Ok(()),
        }
    }

    /// Sends away all who wait, now or later.
    pub(super) fn break_up(&self) {
        self.meetings.broken.store(true, Ordering::Release);
        self.end_meeting();
    }

    fn is_broken(&self) -> bool {
        self.meetings.broken.load(Ordering::Acquire)
    }

    fn has_ended(&self, meeting: u32) -> bool {
        hint::spin_loop();
        self.meetings.ended.load(Ordering::Acquire) != meeting
    }

    // Either the one who ends the meeting sees that another is about to sleep, or that one sees that the meeting has
    // ended: both write before they read, in an order that all agree on.

    fn end_meeting(&self) {
        self.meetings.ended.fetch_add(1, Ordering::SeqCst);
        if self.arrivals.asleep.load(Ordering::SeqCst) > 0 {
            // It cannot fail on an address of this process.
            let _ = futex::wake(&self.meetings.ended, futex::Flags::PRIVATE, i32::MAX as u32);
        }
    }

    #[cold]
    fn sleep_until_end_of(&self, meeting: u32) {
        self.arrivals.asleep.fetch_add(1, Ordering::SeqCst);
        while self.meetings.ended.load(Ordering::SeqCst) == meeting {
            // It returns at once if the meeting has ended meanwhile, and may return early.
            let _ = futex::wait(&self.meetings.ended, futex::Flags::PRIVATE, meeting, None);
        }
        self.arrivals.asleep.fetch_sub(1, Ordering::SeqCst);
    }
}
