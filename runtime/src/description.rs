//! What a machine can do at most: the description that calibration measures.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::file::write_json;
use crate::{Arithmetic, Error};

/// What a machine can do at most, as measured: a small JSON file.
///
/// The numbers are those of long runs of nothing else: streams from memory far larger than the caches, and arithmetic
/// that stays in registers. A program reaches a share of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// The CPU's own name for itself.
    pub cpu: String,
    /// How many threads "all" are.
    pub threads: usize,
    /// The day of the measurement, UTC: `2026-08-31`.
    pub date: String,
    /// Bytes a second read from memory.
    pub read_bytes_per_s: Rates,
    /// Operations a second of f32 fused multiply-adds, each of which is two.
    pub f32_flops: Rates,
    /// Operations a second of bf16 dot products into f32, if the CPU has an instruction for them.
    pub bf16_flops: Option<Rates>,
    /// Operations a second of int8 dot products into i32, if the CPU has an instruction for them.
    pub int8_ops: Option<Rates>,
    /// Seconds that all threads take to wait for one another once.
    pub barrier_s: Measured,
}

/// A rate, a second, of one thread and of all together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rates {
    /// One thread alone.
    pub one_thread: Measured,
    /// All threads together.
    pub all_threads: Measured,
}

/// What several rounds of one measurement gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Description {
    /// Reads a description from its file. Keys that it does not know are left alone.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read; [`Error::Description`] when it is not JSON, lacks a key, or has a value
    /// that no measurement gives.
    pub fn load(path: &Path) -> Result<Description, Error> {
        let bytes = std::fs::read(path).map_err(|error| Error::File {
            path: path.into(),
            source: error.kind().into(),
        })?;
        let root = serde_json::from_slice(&bytes).map_err(|error| Error::Description {
            path: path.into(),
            message: format!("not a machine description: {error}"),
        })?;
        let root = Entry {
            path,
            key: String::new(),
            value: &root,
        };
        let optional = |key| match root.at(key)? {
            entry if entry.value.is_null() => Ok(None),
            entry => entry.rates().map(Some),
        };
        Ok(Description {
            cpu: root.at("cpu")?.text()?,
            threads: root.at("threads")?.count()?,
            date: root.at("date")?.text()?,
            read_bytes_per_s: root.at("read_bytes_per_s")?.rates()?,
            f32_flops: root.at("f32_flops")?.rates()?,
            bf16_flops: optional("bf16_flops")?,
            int8_ops: optional("int8_ops")?,
            barrier_s: root.at("barrier_s")?.measured()?,
        })
    }

    /// Writes the description; the file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        write_json(path, self)
    }

    /// The most operations a second that so many threads can do in this arithmetic; none where the CPU has no
    /// instruction for it.
    pub fn peak(&self, arithmetic: Arithmetic, threads: usize) -> Option<f64> {
        let rates = match arithmetic {
            Arithmetic::F32 => Some(&self.f32_flops),
            Arithmetic::Bf16 => self.bf16_flops.as_ref(),
            Arithmetic::Int8 => self.int8_ops.as_ref(),
        };
        rates.map(|rates| rates.of(threads))
    }
}

impl Rates {
    /// The median for so many threads: one, or else all.
    pub fn of(&self, threads: usize) -> f64 {
        match threads {
            1 => self.one_thread.median,
            _ => self.all_threads.median,
        }
    }
}

impl Measured {
    /// The median and the spread of what the rounds gave; of an even number, the greater middle one.
    ///
    /// # Panics
    ///
    /// If there was no round.
    pub fn of(mut rounds: Vec<f64>) -> Measured {
        rounds.sort_by(f64::total_cmp);
        let [min, .., max] = rounds[..] else {
            let only = rounds[0];
            return Measured {
                median: only,
                min: only,
                max: only,
            };
        };
        Measured {
            median: rounds[rounds.len() / 2],
            min,
            max,
        }
    }
}

/// A value of the file and where it stands.
struct Entry<'a> {
    path: &'a Path,
    /// The keys that lead to it, with dots between; empty for the whole file.
    key: String,
    value: &'a Value,
}

impl<'a> Entry<'a> {
    /// The value under a key.
    fn at(&self, key: &str) -> Result<Entry<'a>, Error> {
        let object = self.value.as_object();
        let object = object.ok_or_else(|| self.refusal("an object"))?;
        let path = match &self.key[..] {
            "" => key.to_string(),
            before => format!("{before}.{key}"),
        };
        match object.get(key) {
            Some(value) => Ok(Entry {
                path: self.path,
                key: path,
                value,
            }),
            None => Err(Error::Description {
                path: self.path.into(),
                message: format!("{path} is missing"),
            }),
        }
    }

    fn text(&self) -> Result<String, Error> {
        let text = self.value.as_str().ok_or_else(|| self.refusal("a text"))?;
        Ok(text.to_string())
    }

    fn count(&self) -> Result<usize, Error> {
        let count = self.value.as_u64().filter(|n| *n > 0);
        let count = count.and_then(|n| n.try_into().ok());
        count.ok_or_else(|| self.refusal("a whole number from 1 up"))
    }

    fn number(&self) -> Result<f64, Error> {
        let number = self.value.as_f64().filter(|x| *x > 0.0 && x.is_finite());
        number.ok_or_else(|| self.refusal("a number over 0"))
    }

    fn rates(&self) -> Result<Rates, Error> {
        Ok(Rates {
            one_thread: self.at("one_thread")?.measured()?,
            all_threads: self.at("all_threads")?.measured()?,
        })
    }

    fn measured(&self) -> Result<Measured, Error> {
        let median = self.at("median")?;
        let measured = Measured {
            median: median.number()?,
            min: self.at("min")?.number()?,
            max: self.at("max")?.number()?,
        };
        let Measured { min, max, .. } = measured;
        match (min..=max).contains(&measured.median) {
            true => Ok(measured),
            false => Err(median.refusal(&format!("a number from min {min} to max {max}"))),
        }
    }

    fn refusal(&self, expected: &str) -> Error {
        let found = match self.value {
            Value::Object(_) => "an object".to_string(),
            Value::Array(_) => "a list".to_string(),
            value => value.to_string(),
        };
        let place = match &self.key[..] {
            "" => String::new(),
            key => format!("{key}: "),
        };
        Error::Description {
            path: self.path.into(),
            message: format!("{place}expected {expected}, found {found}"),
        }
    }
}
