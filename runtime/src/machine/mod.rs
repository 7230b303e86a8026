//! Runs compiled programs.
//!
//! A [`Machine`] holds a [`Program`], its [`Code`] and [`Weights`], the memory that the program asks for, and
//! [`Workers`]. A step is the program's launches in order: every worker calls the launch's kernel, then waits at the
//! [`Barrier`] until all have. Whatever the launches need is worked out beforehand, so that a step allocates nothing.

mod barrier;
mod check;
mod code;
mod cpus;
mod memory;
mod workers;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use barrier::{Barrier, Broken};
pub use code::Code;
pub use memory::Weights;
pub use workers::Workers;

use crate::{Address, Error, Kernel, Program};
use memory::{Layout, Memory, Region};

/// A compiled program with all that it needs to run.
pub struct Machine {
    steps: Arc<Steps>,
    workers: Workers,
}

/// What the workers share.
struct Steps {
    program: Program,
    memory: Memory,
    inputs: Vec<Region>,
    outputs: Vec<Region>,
    states: Vec<Region>,
    calls: Vec<Call>,
    /// The arguments of all calls.
    args: Vec<Pointer>,
    /// Each worker's own memory.
    scratch: Vec<Pointer>,
    /// What the present step binds.
    symbols: Vec<AtomicI64>,
    /// The first launch of the present step whose kernel met an index outside its axis; [`NONE`] if none has.
    outside: AtomicUsize,
    /// Whether the present step is timed.
    timed: AtomicBool,
    /// Of the last timed step: when its first launch began, and when each launch had ended on every worker.
    marks: Mutex<Vec<Instant>>,
    // What the pointers above point into, besides the memory.
    _code: Code,
    _weights: Weights,
}

const NONE: usize = usize::MAX;

/// A launch, ready to run.
struct Call {
    kernel: Kernel,
    args: Range<usize>,
}

/// Where a kernel is to read or write.
#[repr(transparent)]
struct Pointer(*mut u8);

// SAFETY: only kernels follow these pointers, and the compiler that made them keeps what two workers write apart.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

impl Machine {
    /// Gets a program ready to run on so many threads, at least one: the caller's and further ones.
    ///
    /// # Errors
    ///
    /// [`Error::Program`] when the program contradicts itself, its code or its weights; [`Error::Memory`] and
    /// [`Error::Threads`] when the system refuses what it needs.
    pub fn new(
        program: Program,
        code: Code,
        weights: Weights,
        threads: usize,
    ) -> Result<Machine, Error> {
        let threads = threads.max(1);
        let steps = Arc::new(Steps::new(program, code, weights, threads)?);
        let job = {
            let steps = Arc::clone(&steps);
            move |worker: usize, barrier: &Barrier| steps.run(worker, threads, barrier)
        };
        let workers = Workers::new(threads, job)?;
        Ok(Machine { steps, workers })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.steps.program
    }

    /// What the next step is given as [`Program::inputs`]`[index]`. It stays as it is until it is changed here.
    ///
    /// # Panics
    ///
    /// If there is no such input.
    pub fn input_mut(&mut self, index: usize) -> &mut [u8] {
        // SAFETY: the region is of this memory, and kernels run within `step` only, which borrows `self` mutably.
        unsafe { self.steps.memory.bytes_mut(self.steps.inputs[index]) }
    }

    /// What the last step gave back as [`Program::outputs`]`[index]`; the bytes that it did not write are as before.
    ///
    /// # Panics
    ///
    /// If there is no such output.
    pub fn output(&self, index: usize) -> &[u8] {
        // SAFETY: the region is of this memory, and kernels run within `step` only, which borrows `self` mutably.
        unsafe { self.steps.memory.bytes(self.steps.outputs[index]) }
    }

    /// What the next step finds as [`Program::states`]`[index]`: zeros, until a step or the caller changes it.
    ///
    /// # Panics
    ///
    /// If there is no such state.
    pub fn state(&self, index: usize) -> &[u8] {
        // SAFETY: the region is of this memory, and kernels run within `step` only, which borrows `self` mutably.
        unsafe { self.steps.memory.bytes(self.steps.states[index]) }
    }

    /// [`Machine::state`], to be changed.
    ///
    /// # Panics
    ///
    /// If there is no such state.
    pub fn state_mut(&mut self, index: usize) -> &mut [u8] {
        // SAFETY: the region is of this memory, and kernels run within `step` only, which borrows `self` mutably.
        unsafe { self.steps.memory.bytes_mut(self.steps.states[index]) }
    }

    /// Runs a step as [`Machine::step`] does, and gives the seconds of each of [`Program::launches`]: from when all
    /// workers had met before it to when all had met behind it, by the caller's clock.
    ///
    /// # Errors
    ///
    /// Those of [`Machine::step`].
    ///
    /// # Panics
    ///
    /// Where [`Machine::step`] does.
    pub fn step_timed(&mut self, symbols: &[i64]) -> Result<Vec<f64>, Error> {
        self.steps.timed.store(true, Ordering::Relaxed);
        let done = self.step(symbols);
        self.steps.timed.store(false, Ordering::Relaxed);
        done?;
        let marks = self.steps.marks();
        let spans = marks.windows(2).map(|pair| pair[1] - pair[0]);
        Ok(spans.map(|span| span.as_secs_f64()).collect())
    }

    /// Runs a step: every launch in order, with these values of [`Program::symbols`].
    ///
    /// # Errors
    ///
    /// [`Error::Symbol`] when a value is out of its range: then nothing was run. [`Error::Index`] when a kernel read
    /// an index that is outside the axis it indexes: then outputs and states are those of a clamped index.
    ///
    /// # Panics
    ///
    /// If there are not as many values as symbols.
    pub fn step(&mut self, symbols: &[i64]) -> Result<(), Error> {
        let steps = &*self.steps;
        let expected = &steps.program.symbols;
        assert_eq!(symbols.len(), expected.len(), "a step binds every symbol");
        for (symbol, value) in expected.iter().zip(symbols) {
            if !(symbol.low..=symbol.high).contains(value) {
                return Err(Error::Symbol {
                    name: symbol.name.clone(),
                    value: *value,
                    low: symbol.low,
                    high: symbol.high,
                });
            }
        }
        // The workers see these stores: they have yet to be told to run, and met the caller since the last run.
        for (bound, value) in steps.symbols.iter().zip(symbols) {
            bound.store(*value, Ordering::Relaxed);
        }
        steps.outside.store(NONE, Ordering::Relaxed);
        self.workers.run();
        match self.steps.outside.load(Ordering::Relaxed) {
            NONE => Ok(()),
            launch => Err(self.steps.index_error(launch)),
        }
    }
}

impl Steps {
    fn new(program: Program, code: Code, weights: Weights, threads: usize) -> Result<Steps, Error> {
        check::check(&program, code.kernels(), weights.bytes().len())?;
        let mut layout = Layout::default();
        let mut place = |bytes: u64| layout.place(bytes);
        let mut place_all = |buffers: &[crate::Buffer]| {
            let regions = buffers.iter().map(|buffer| place(buffer.bytes));
            regions.collect::<Result<Vec<Region>, Error>>()
        };
        let inputs = place_all(&program.inputs)?;
        let outputs = place_all(&program.outputs)?;
        let states = place_all(&program.states)?;
        let arena = place(program.arena)?;
        let scratch = (0..threads).map(|_| place(program.scratch));
        let scratch = scratch.collect::<Result<Vec<Region>, Error>>()?;
        let memory = Memory::new(&layout)?;

        let pointer = |address: &Address| {
            Pointer(match *address {
                Address::Weight(index) => {
                    // Kernels do not write to weights: the map is read-only.
                    let offset = program.weights[index].offset as usize;
                    weights.bytes().as_ptr().wrapping_add(offset).cast_mut()
                }
                Address::State(index) => memory.pointer(states[index]),
                Address::Input(index) => memory.pointer(inputs[index]),
                Address::Output(index) => memory.pointer(outputs[index]),
                Address::Arena(offset) => memory.pointer(arena).wrapping_add(offset as usize),
            })
        };
        let mut args = vec![];
        let mut calls = vec![];
        for launch in &program.launches {
            let first = args.len();
            args.extend(launch.args.iter().map(pointer));
            calls.push(Call {
                kernel: code.kernel(launch.kernel),
                args: first..args.len(),
            });
        }
        Ok(Steps {
            symbols: program.symbols.iter().map(|_| AtomicI64::new(0)).collect(),
            scratch: scratch
                .iter()
                .map(|s| Pointer(memory.pointer(*s)))
                .collect(),
            outside: AtomicUsize::new(NONE),
            timed: AtomicBool::new(false),
            marks: Mutex::new(Vec::with_capacity(calls.len() + 1)),
            program,
            memory,
            inputs,
            outputs,
            states,
            calls,
            args,
            _code: code,
            _weights: weights,
        })
    }

    /// One worker's part of a step.
    fn run(&self, worker: usize, workers: usize, barrier: &Barrier) -> Result<(), Broken> {
        if self.timed.load(Ordering::Relaxed) {
            return self.run_timed(worker, workers, barrier);
        }
        for launch in 0..self.calls.len() {
            if launch > 0 {
                barrier.wait()?;
            }
            self.launch(launch, worker, workers);
        }
        Ok(())
    }

    /// [`Steps::run`] with a meeting behind the last launch too, while worker 0 notes when each meeting is over.
    fn run_timed(&self, worker: usize, workers: usize, barrier: &Barrier) -> Result<(), Broken> {
        let mut marks = (worker == 0).then(|| self.marks());
        if let Some(marks) = &mut marks {
            marks.clear();
        }
        let mut mark = || {
            if let Some(marks) = &mut marks {
                marks.push(Instant::now());
            }
        };
        // The workers have just met to begin the step.
        mark();
        for launch in 0..self.calls.len() {
            self.launch(launch, worker, workers);
            barrier.wait()?;
            mark();
        }
        Ok(())
    }

    /// One worker's part of a launch.
    fn launch(&self, launch: usize, worker: usize, workers: usize) {
        let call = &self.calls[launch];
        let scratch = self.scratch[worker].0;
        // Nobody stores to the symbols while a step runs, and an atomic lies in memory as its value does.
        let symbols = self.symbols.as_ptr().cast::<i64>();
        let args = self.args[call.args.clone()].as_ptr().cast::<*mut u8>();
        // SAFETY: whoever made the code promised that this kernel touches nothing but what it is given here, and the
        // program was checked to give it nothing but its own memory, code and weights, all of which live in `self`. The
        // barrier keeps it apart from the kernels before and after it.
        let outside =
            unsafe { (call.kernel)(args, symbols, scratch, worker as i64, workers as i64) };
        if outside != 0 {
            self.outside.fetch_min(launch, Ordering::Relaxed);
        }
    }

    /// The marks, which worker 0 alone uses during a step and the caller after it.
    fn marks(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_error(&self, launch: usize) -> Error {
        let kernel = self.program.launches[launch].kernel;
        Error::Index {
            kernel: self.program.kernels[kernel].clone(),
        }
    }
}
