//! The op suite: small modules and what they must give, in files that read as a specification.
//!
//! A case is a module's text. In the comments before it, lines such as these are data, and any other line
//! is prose:
//!
//! ```text
//! // Twice a number is the number added to itself.
//! //
//! // weight w = 1 2
//! // step R=3
//! // in x = 1 -0 inf
//! // out y = 2 -0 inf
//! module twice
//! ```
//!
//! `step`, with a value for each of the module's dims, begins a step; states live from one step to the
//! next. `in` and `out` name the step's inputs and outputs, `weight` a stored weight, and `truth` an output
//! again, as an independent evaluation in double precision has it. Elements stand row-major: of f32, bf16 and
//! f16 as decimals that round to them, `inf`, `nan`, or `0x` and the bits of an f32; of i32 and bool as
//! integers; a block format's bytes as pairs of hexadecimal digits; of a truth as decimals.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ir::interp::{Data, Tensor};
use ir::text::parse;
use ir::{Bindings, DType, LocalId, Module, Sym, Type, WeightSource};

use crate::executors::Executor;

/// A module and what its steps must give.
pub struct Case {
    /// The file it stands in.
    pub path: PathBuf,
    /// The module.
    pub module: Module,
    /// Bytes of its stored weights, by name.
    pub weights: BTreeMap<String, Vec<u8>>,
    /// What is run, in order.
    pub steps: Vec<CaseStep>,
    text: String,
}

/// A step of a case.
#[derive(Default)]
pub struct CaseStep {
    /// The value of each dim.
    pub bindings: Bindings,
    /// The inputs, in the module's order.
    pub inputs: Vec<Tensor<'static, f32>>,
    /// The outputs in the module's order; `None` where the file has none.
    pub expected: Vec<Option<Tensor<'static, f32>>>,
    /// The outputs in double precision, in the module's order; `None` where the file has none.
    pub truth: Vec<Option<Vec<f64>>>,
    /// Line behind which the outputs stand, from 1.
    last_line: usize,
}

/// A case file that could not be read.
#[derive(Debug)]
pub struct CaseError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What was found and what was expected.
    pub problem: String,
}

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CaseError {
            path,
            line,
            problem,
        } = self;
        write!(f, "{}, line {line}: {problem}", path.display())
    }
}

impl std::error::Error for CaseError {}

/// The cases of a folder beside the suite, by file name.
///
/// # Errors
/// The first file that cannot be read.
pub fn cases(folder: &str) -> Result<Vec<Case>, CaseError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let broken = |path: &Path, problem: std::io::Error| CaseError {
        path: path.into(),
        line: 1,
        problem: problem.to_string(),
    };
    let entries = folder.read_dir().map_err(|e| broken(&folder, e))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "lir"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).map_err(|e| broken(&path, e))?;
        Case::read(path, text)
    };
    paths.into_iter().map(read).collect()
}

/// A line of data: what it is, its name, and what stands behind `=`.
struct Line<'t> {
    number: usize,
    keyword: &'t str,
    name: &'t str,
    rest: &'t str,
}

/// The lines of data before the module.
fn data_lines(text: &str) -> Vec<Line<'_>> {
    let comments = text.lines().map_while(|line| line.strip_prefix("//"));
    let data = comments.enumerate().filter_map(|(i, line)| {
        let line = line.trim();
        let (head, rest) = line.split_once('=').unwrap_or((line, ""));
        let words: Vec<&str> = head.split_whitespace().collect();
        let (keyword, name, rest) = match (&words[..], head.len() < line.len()) {
            (["step"], false) => ("step", "", ""),
            (["step", _], true) => ("step", "", &line["step".len()..]),
            ([keyword @ ("weight" | "in" | "out" | "truth"), name], true) => {
                (*keyword, *name, rest)
            }
            _ => return None,
        };
        Some(Line {
            number: i + 1,
            keyword,
            name,
            rest,
        })
    });
    data.collect()
}

impl Case {
    /// Reads a case of that path from its text.
    ///
    /// # Errors
    /// The first line that is not as the module's types ask for.
    pub fn read(path: PathBuf, text: String) -> Result<Case, CaseError> {
        let fail = |line, problem| CaseError {
            path: path.clone(),
            line,
            problem,
        };
        let module = parse(&text).map_err(|e| fail(e.line, e.to_string()))?;
        let mut case = Case {
            path: path.clone(),
            module,
            weights: BTreeMap::new(),
            steps: vec![],
            text: String::new(),
        };
        for line in data_lines(&text) {
            case.take(&line).map_err(|e| fail(line.number, e))?;
        }
        case.complete().map_err(|e| fail(1, e))?;
        case.text = text;
        Ok(case)
    }

    /// Takes in a line of data.
    fn take(&mut self, line: &Line) -> Result<(), String> {
        let Line { name, rest, .. } = line;
        let unknown = || format!("the module has no such {}: {name}", line.keyword);
        match line.keyword {
            "weight" => {
                let id = self.module.weight(name).ok_or_else(unknown)?;
                let weight = &self.module.weights[id.0];
                if weight.source == WeightSource::Prepared {
                    return Err(unknown());
                }
                let tensor = tensor(&weight.ty, &Bindings::default(), rest)?;
                self.weights
                    .insert((*name).into(), tensor.to_bytes().into_owned());
            }
            "step" => {
                let bindings = bindings(rest)?;
                bindings.check(&self.module.dims)?;
                let outputs = self.module.step.outputs.len();
                self.steps.push(CaseStep {
                    bindings,
                    expected: vec![None; outputs],
                    truth: vec![None; outputs],
                    last_line: line.number,
                    ..CaseStep::default()
                });
            }
            keyword => {
                let step = self.steps.last_mut().ok_or("no step has begun")?;
                let locals = &self.module.step;
                let id = locals.local(name).ok_or_else(unknown)?;
                let ty = &locals.locals[id.0].ty;
                let output = || {
                    let at = locals.outputs.iter().position(|o| *o == id);
                    at.ok_or_else(unknown)
                };
                if keyword == "truth" {
                    step.truth[output()?] = Some(truth(ty, &step.bindings, rest)?);
                } else if keyword == "out" {
                    let tensor = tensor(ty, &step.bindings, rest)?;
                    step.expected[output()?] = Some(tensor);
                } else if id == LocalId(step.inputs.len()) && id.0 < locals.inputs {
                    step.inputs.push(tensor(ty, &step.bindings, rest)?);
                    step.last_line = line.number;
                } else {
                    return Err(format!("{name} is not the step's next input"));
                }
            }
        }
        Ok(())
    }

    /// Whether every weight and input is there.
    fn complete(&self) -> Result<(), String> {
        let stored = |w: &&ir::Weight| w.source == WeightSource::Stored;
        let mut weights = self.module.weights.iter().filter(stored);
        if let Some(w) = weights.find(|w| !self.weights.contains_key(&w.name)) {
            return Err(format!("weight {} is missing", w.name));
        }
        if self.steps.is_empty() {
            return Err("no step is there".into());
        }
        for (i, step) in self.steps.iter().enumerate() {
            if let Some(local) = self.module.step.input_locals().get(step.inputs.len()) {
                return Err(format!("step {}: in {} is missing", i + 1, local.name));
            }
        }
        Ok(())
    }

    /// Expects these outputs, a list for each step.
    pub fn expect(&mut self, made: Vec<Vec<Tensor<'static, f32>>>) {
        for (step, made) in self.steps.iter_mut().zip(made) {
            step.expected = made.into_iter().map(Some).collect();
        }
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the executor gives otherwise than the file expects, one line each; nothing when all is well.
    pub fn differences(&self, executor: &dyn Executor) -> Vec<String> {
        let place = format!("{} on {}", self.path.display(), executor.name());
        let made = match executor.run(self) {
            Ok(made) => made,
            Err(error) => return vec![format!("{place}: {error}")],
        };
        let mut differences = Vec::new();
        for (i, (step, made)) in self.steps.iter().zip(&made).enumerate() {
            let names = self.output_names();
            for ((name, expected), made) in names.zip(&step.expected).zip(made) {
                let place = format!("{place}: step {}, out {name}", i + 1);
                match expected {
                    None => differences.push(format!("{place} is not in the file")),
                    Some(expected) => {
                        let difference = difference(expected, made);
                        differences.extend(difference.map(|d| format!("{place}{d}")));
                    }
                }
            }
        }
        differences
    }

    fn output_names(&self) -> impl Iterator<Item = &str> {
        let step = &self.module.step;
        step.outputs.iter().map(|o| step.locals[o.0].name.as_str())
    }

    /// The case's text with these outputs expected, a list for each step.
    pub fn blessed(&self, made: &[Vec<Tensor<f32>>]) -> String {
        let data = data_lines(&self.text);
        let mut text = String::new();
        for (i, line) in self.text.lines().enumerate() {
            if data.iter().any(|d| d.number == i + 1 && d.keyword == "out") {
                continue;
            }
            text += &format!("{line}\n");
            for (step, made) in self.steps.iter().zip(made) {
                if step.last_line == i + 1 {
                    for (name, made) in self.output_names().zip(made) {
                        let out = format!("// out {name} = {}", elements(made).join(" "));
                        text += &format!("{}\n", out.trim_end());
                    }
                }
            }
        }
        text
    }
}

/// The first element in which two tensors differ; equal text means equal bits, or NaN twice.
pub fn difference(expected: &Tensor<f32>, made: &Tensor<f32>) -> Option<String> {
    let (expected_type, made_type) = (expected.type_text(), made.type_text());
    if expected_type != made_type {
        return Some(format!(": expected {expected_type}, found {made_type}"));
    }
    let (expected, made) = (elements(expected), elements(made));
    let mut pairs = expected.iter().zip(&made).enumerate();
    let (at, (e, m)) = pairs.find(|(_, (e, m))| e != m)?;
    Some(format!("[{at}]: expected {e}, found {m}"))
}

/// `R=3, N=2`
fn bindings(text: &str) -> Result<Bindings, String> {
    let mut bindings = Bindings::default();
    for pair in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let bound = pair.split_once('=').and_then(|(name, value)| {
            let value = value.trim().parse().ok()?;
            Some((Sym::new(name.trim()), value))
        });
        let (sym, value) = bound.ok_or_else(|| format!("expected dim=value, found {pair}"))?;
        if bindings.bind(&sym, value).is_some() {
            return Err(format!("{sym} has two values"));
        }
    }
    Ok(bindings)
}

/// The shape of this type, and the words of a text if there are as many as its elements.
fn words<'t>(
    ty: &Type,
    bindings: &Bindings,
    text: &'t str,
) -> Result<(Vec<usize>, Vec<&'t str>), String> {
    let shape = ty
        .shape(bindings)
        .map_err(|s| format!("{s} has no value"))?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let wanted = match ty.dtype.is_block() {
        true => ty.dtype.bytes(&shape).unwrap_or(usize::MAX),
        false => shape.iter().product(),
    };
    if words.len() != wanted {
        let found = words.len();
        return Err(format!("expected {wanted} elements of {ty}, found {found}"));
    }
    Ok((shape, words))
}

/// The elements of this type that are written in a text, in double precision.
fn truth(ty: &Type, bindings: &Bindings, text: &str) -> Result<Vec<f64>, String> {
    let (_, words) = words(ty, bindings, text)?;
    let real = |word: &&str| word.parse().map_err(|_| format!("{word} is no f64"));
    words.iter().map(real).collect()
}

/// The tensor of this type whose elements are written in a text.
fn tensor(ty: &Type, bindings: &Bindings, text: &str) -> Result<Tensor<'static, f32>, String> {
    let (shape, words) = words(ty, bindings, text)?;
    let none = |word: &str| format!("{word} is no {}", ty.dtype);
    let real = |word: &&str| {
        let bits = word
            .strip_prefix("0x")
            .map(|hex| u32::from_str_radix(hex, 16));
        let x = match bits {
            Some(bits) => bits.ok().map(f32::from_bits),
            None => word.parse().ok(),
        };
        x.ok_or_else(|| none(word))
    };
    let int = |word: &&str| word.parse().map_err(|_| none(word));
    let byte = |word: &&str| u8::from_str_radix(word, 16).map_err(|_| none(word));
    Ok(match ty.dtype {
        DType::F32 => Tensor::real(shape, words.iter().map(real).collect::<Result<_, _>>()?),
        DType::BF16 | DType::F16 => {
            let x: Vec<f32> = words.iter().map(real).collect::<Result<_, _>>()?;
            Tensor::narrowed(ty.dtype, shape, x.into())
        }
        DType::I32 => Tensor::int(shape, words.iter().map(int).collect::<Result<_, _>>()?),
        DType::Bool => {
            let one = |word: &&str| match *word {
                "0" => Ok(false),
                "1" => Ok(true),
                other => Err(none(other)),
            };
            Tensor::bool(shape, words.iter().map(one).collect::<Result<_, _>>()?)
        }
        DType::Q8_0 | DType::Q4_0 => {
            let bytes: Vec<u8> = words.iter().map(byte).collect::<Result<_, _>>()?;
            Tensor::stored(ty.dtype, shape, bytes)
        }
    })
}

/// A tensor's elements as they are written, which is the same for the same bits, and for every NaN.
pub fn elements(x: &Tensor<f32>) -> Vec<String> {
    let real = |x: &f32| match *x {
        x if x.is_nan() => "nan".into(),
        x if x.abs() < 1e7 && x.fract() == 0.0 => format!("{x}"),
        x => format!("{x:?}"),
    };
    let blocks = match &x.data {
        Data::Stored(bytes) if x.dtype.is_block() => Some(bytes),
        _ => None,
    };
    if let Some(bytes) = blocks {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    } else if let Some(x) = x.to_int() {
        x.iter().map(i32::to_string).collect()
    } else if let Some(x) = x.to_bool() {
        x.iter().map(|x| u8::from(*x).to_string()).collect()
    } else {
        let x = x.to_real().unwrap_or_default();
        x.iter().map(real).collect()
    }
}
