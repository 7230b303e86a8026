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
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

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
    calls: Vec<Call>,
    /// The arguments of all calls.
    args: Vec<Pointer>,
    /// Each worker's own memory.
    scratch: Vec<Pointer>,
    /// What the present step binds.
    symbols: Vec<AtomicI64>,
    /// The first launch of the present step whose kernel met an index outside its axis; [`NONE`] if none has.
    outside: AtomicUsize,
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
            program,
            memory,
            inputs,
            outputs,
            calls,
            args,
            _code: code,
            _weights: weights,
        })
    }

    /// One worker's part of a step.
    fn run(&self, worker: usize, workers: usize, barrier: &Barrier) -> Result<(), Broken> {
        let scratch = self.scratch[worker].0;
        // Nobody stores to the symbols while a step runs, and an atomic lies in memory as its value does.
        let symbols = self.symbols.as_ptr().cast::<i64>();
        for (launch, call) in self.calls.iter().enumerate() {
            if launch > 0 {
                barrier.wait()?;
            }
            let args = self.args[call.args.clone()].as_ptr().cast::<*mut u8>();
            // SAFETY: whoever made the code promised that this kernel touches nothing but what it is given here, and
            // the program was checked to give it nothing but its own memory, code and weights, all of which live in
            // `self`. The barrier keeps it apart from the kernels before and after it.
            let outside =
                unsafe { (call.kernel)(args, symbols, scratch, worker as i64, workers as i64) };
            if outside != 0 {
                self.outside.fetch_min(launch, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn index_error(&self, launch: usize) -> Error {
        let kernel = self.program.launches[launch].kernel;
        Error::Index {
            kernel: self.program.kernels[kernel].clone(),
        }
    }
}
