//! A compiled language model as an executor.

use crate::{Buffer, Error, Executor, Limits, Machine, Row, Symbol, Work};

/// A language model that a [`Machine`] runs.
///
/// Its program binds the symbols R (rows), K (keys: one more than the largest position) and N (wanted rows); of a model
/// of one row a step, R may be left out. It is given `tokens`, `positions` and `slots`, each i32\[R\], and `wanted`,
/// i32\[N\]; it gives back `logits`, f32\[N, vocab\].
pub struct CompiledModel {
    machine: Machine,
    limits: Limits,
    work: Option<Work>,
    places: Places,
    /// What each of the program's symbols counts, in its order, ...
    counts: Vec<Count>,
    /// ... and how many there are in a step.
    symbols: Vec<i64>,
}

/// Where the program has what a language model is given and gives back.
struct Places {
    tokens: usize,
    positions: usize,
    slots: usize,
    wanted: usize,
    logits: usize,
}

/// What a symbol counts.
#[derive(Clone, Copy, PartialEq)]
enum Count {
    Rows,
    Keys,
    Wanted,
}

impl CompiledModel {
    /// The model that a machine's program computes, held to these limits; `work` is what its steps read and compute, if
    /// that is known.
    ///
    /// # Errors
    ///
    /// [`Error::Program`] when the program is not that of a language model, or of one with smaller limits.
    pub fn new(machine: Machine, limits: Limits, work: Option<Work>) -> Result<Self, Error> {
        let program = machine.program();
        let (inputs, outputs) = (&program.inputs, &program.outputs);
        let logits = limits.rows.saturating_mul(limits.vocab);
        let places = Places {
            tokens: place("input", inputs, "tokens", limits.rows)?,
            positions: place("input", inputs, "positions", limits.rows)?,
            slots: place("input", inputs, "slots", limits.rows)?,
            wanted: place("input", inputs, "wanted", limits.rows)?,
            logits: place("output", outputs, "logits", logits)?,
        };
        let counts = program.symbols.iter().map(|symbol| count(symbol, &limits));
        let counts = counts.collect::<Result<Vec<Count>, Error>>()?;
        for (name, count, needed) in [
            ("R", Count::Rows, limits.rows != 1),
            ("K", Count::Keys, true),
            ("N", Count::Wanted, true),
        ] {
            if needed && !counts.contains(&count) {
                return Err(Error::Program(format!("it has no symbol {name}")));
            }
        }
        Ok(CompiledModel {
            symbols: vec![0; counts.len()],
            machine,
            limits,
            work,
            places,
            counts,
        })
    }

    /// What runs the model; its outputs are those of the last step.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Checks that the rows are within the limits.
    fn check(&self, rows: &[Row]) -> Result<(), Error> {
        let Limits {
            vocab,
            context,
            rows: most,
            slots,
        } = self.limits;
        if !(1..=most).contains(&rows.len()) {
            let found = format!("a step has {} rows, expected 1 to {most}", rows.len());
            return Err(Error::Executor(found.into()));
        }
        for row in rows {
            if row.token as usize >= vocab {
                return Err(Error::TokenOutOfRange {
                    id: row.token,
                    vocab,
                });
            }
            let bounds = [
                ("position", row.position, context),
                ("slot", row.slot, slots),
            ];
            for (name, found, limit) in bounds {
                if found as usize >= limit {
                    let outside = format!("{name} {found} is out of range: the model has {limit}");
                    return Err(Error::Executor(outside.into()));
                }
            }
        }
        Ok(())
    }
}

impl Executor for CompiledModel {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn work(&self) -> Option<&Work> {
        self.work.as_ref()
    }

    fn step(&mut self, rows: &[Row], wanted: &[usize], logits: &mut [f32]) -> Result<(), Error> {
        self.check(rows)?;
        let ascends = wanted.is_sorted_by(|one, next| one < next);
        let within = wanted.last().is_none_or(|last| *last < rows.len());
        assert!(
            ascends && within,
            "wanted rows are rows of the step and ascend"
        );
        let elements = wanted.len() * self.limits.vocab;
        assert_eq!(
            logits.len(),
            elements,
            "a row of logits for each wanted row"
        );

        let keys = rows.iter().map(|row| row.position as usize + 1).max();
        for (value, count) in self.symbols.iter_mut().zip(&self.counts) {
            *value = match count {
                Count::Rows => rows.len(),
                Count::Keys => keys.unwrap_or(0),
                Count::Wanted => wanted.len(),
            } as i64;
        }
        let (places, machine) = (&self.places, &mut self.machine);
        fill(
            machine.input_mut(places.tokens),
            rows.iter().map(|row| row.token as i32),
        );
        fill(
            machine.input_mut(places.positions),
            rows.iter().map(|row| row.position as i32),
        );
        fill(
            machine.input_mut(places.slots),
            rows.iter().map(|row| row.slot as i32),
        );
        fill(
            machine.input_mut(places.wanted),
            wanted.iter().map(|row| *row as i32),
        );
        machine.step(&self.symbols)?;
        let (found, _) = machine.output(places.logits).as_chunks();
        for (logit, bytes) in logits.iter_mut().zip(found) {
            *logit = f32::from_le_bytes(*bytes);
        }
        Ok(())
    }
}

/// What a symbol counts, if it may have every value that the limits allow.
fn count(symbol: &Symbol, limits: &Limits) -> Result<Count, Error> {
    let Symbol { name, low, high } = symbol;
    let (count, least, most) = match name.as_str() {
        "R" => (Count::Rows, 1, limits.rows),
        "K" => (Count::Keys, 1, limits.context),
        "N" => (Count::Wanted, 0, limits.rows),
        _ => {
            let unknown = format!("it has a symbol {name}, expected R, K and N alone");
            return Err(Error::Program(unknown));
        }
    };
    if *low > least || i64::try_from(most).is_ok_and(|most| *high < most) {
        return Err(Error::Program(format!(
            "its symbol {name} is from {low} to {high}, expected {least} to {most}"
        )));
    }
    Ok(count)
}

/// The place of a buffer that holds at least so many elements of 4 bytes.
fn place(kind: &str, buffers: &[Buffer], name: &str, elements: usize) -> Result<usize, Error> {
    let found = buffers.iter().position(|buffer| buffer.name == name);
    let index = found.ok_or_else(|| Error::Program(format!("it has no {kind} {name}")))?;
    let (has, needs) = (buffers[index].bytes, (elements as u64).saturating_mul(4));
    if has < needs {
        return Err(Error::Program(format!(
            "its {kind} {name} has {has} bytes, expected {needs}"
        )));
    }
    Ok(index)
}

/// Writes the values from the buffer's beginning on.
fn fill(buffer: &mut [u8], values: impl Iterator<Item = i32>) {
    let (elements, _) = buffer.as_chunks_mut();
    for (element, value) in elements.iter_mut().zip(values) {
        *element = value.to_le_bytes();
    }
}
