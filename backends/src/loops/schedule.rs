//! How a kernel's nest is found.

use std::collections::{BTreeSet, HashMap};

use ir::{Class, DType, Dim, Dims, Function, Op, ValueId};

use super::bound::bound;
use super::layout::layout;
use super::parts::{backward, forward, gcd, lcm};
use super::sweep::sweep;
use super::{Home, Nest, Part, Stage, Tile, Work, axes, free, op, space};

/// Bytes of weights that a tile of a dot reads: they stay in a core's second-level cache while the rows pass.
const TILE_BYTES: i64 = 448 << 10;
/// Columns of a dot's tile, at least and at most, where the axis and its unit allow.
const COLUMNS: (i64, i64) = (24, 96);
/// A tile of more columns than these has a multiple of them: whole register tiles at every level.
const UNIT: i64 = 24;
/// Tiles that a dot's columns make at least, where they can, so that workers finish together.
const TILES: i64 = 8;
/// Rows of a dot's tile.
const ROWS: i64 = 256;

/// What kind of code a nest is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Whether dots over bf16 weights may round their other operand to bf16.
    pub narrow_dots: bool,
    /// Whether every `put` of the kernel writes into the memory of its state.
    pub in_place: bool,
    /// Whether sums may be taken in any order.
    pub any_order: bool,
}

/// The nest of a kernel, given as a function whose parameters it reads and whose results it writes.
///
/// # Panics
/// If the function does not verify, or returns a parameter.
pub fn schedule(function: &Function, dims: &Dims, form: Form) -> Nest {
    let mut scheduler = Scheduler {
        function,
        dims,
        form,
        tiles: Vec::new(),
        own: HashMap::new(),
        narrowed: BTreeSet::new(),
    };
    scheduler.cut();
    let mut nest = scheduler.stages();
    bound(&mut nest, function, dims);
    if form.any_order {
        sweep(&mut nest, function, dims);
    }
    layout(&mut nest, function, dims);
    nest
}

struct Scheduler<'f> {
    function: &'f Function,
    dims: &'f Dims,
    form: Form,
    tiles: Vec<Tile>,
    /// The parts of results, as the tile axes lead to them.
    own: HashMap<ValueId, Vec<Option<Part>>>,
    /// What dots of bf16 pairs take, rounded.
    narrowed: BTreeSet<ValueId>,
}

impl Scheduler<'_> {
    fn most(&self, dim: &Dim) -> i64 {
        let range = self.dims.range(dim);
        range
            .expect("every symbol of a verified module has a range")
            .1
    }

    fn computed(&self) -> impl DoubleEndedIterator<Item = ValueId> {
        (self.function.params().len()..self.function.values.len()).map(ValueId)
    }

    fn is(&self, value: ValueId, what: Op) -> bool {
        op(self.function, value).is_some_and(|(op, ..)| op == what)
    }

    /// Chooses the tile axes.
    fn cut(&mut self) {
        let puts: Vec<ValueId> = self.computed().filter(|v| self.is(*v, Op::Put)).collect();
        if !puts.is_empty() && !self.form.in_place {
            return;
        }
        let dots: Vec<ValueId> = self.computed().filter(|v| self.is(*v, Op::Dot)).collect();
        let Some(last) = dots.last().copied() else {
            let Some(root) = self.function.results.last().copied() else {
                return;
            };
            // Rows of a put are put in order.
            let at = usize::from(self.is(root, Op::Put));
            let rank = space(self.function, root).len();
            if at < rank {
                self.tile(&[(root, at)], if rank == 1 { 1024 } else { 4 });
            }
            return;
        };
        if self.depend(&dots) {
            self.cut_rows(last);
        } else {
            self.cut_dots(&dots);
        }
    }

    /// Whether one of these values is made from another.
    fn depend(&self, values: &[ValueId]) -> bool {
        let mut made: BTreeSet<ValueId> = BTreeSet::new();
        for value in self.computed() {
            let (_, _, operands) = op(self.function, value).expect("a computed value has an op");
            let from = |v: &ValueId| made.contains(v) || values.contains(v);
            if operands.iter().any(from) {
                made.insert(value);
            }
        }
        values.iter().any(|v| made.contains(v))
    }

    /// How many axes of a dot's result are batches, and how many are rows.
    fn leading(&self, dot: ValueId) -> (usize, usize) {
        let Some((_, attrs, [a, _])) = op(self.function, dot) else {
            panic!("a dot has two operands");
        };
        let rank = self.function.values[a.0].ty.rank();
        let rows = free(rank, axes(attrs, 0), axes(attrs, 2)).len();
        (axes(attrs, 0).len(), rows)
    }

    /// A dot of what another dot made: whole rows belong to a tile, of a batch if there are batches.
    fn cut_rows(&mut self, last: ValueId) {
        let (batch, rows) = self.leading(last);
        for at in 0..batch {
            self.tile(&[(last, at)], 1);
        }
        if self.tiles.is_empty() && rows > 0 {
            self.tile(&[(last, batch)], 4);
        }
    }

    /// Dots over the same batches and rows: batches, rows and the columns of all dots are cut.
    fn cut_dots(&mut self, dots: &[ValueId]) {
        let (batch, rows) = self.leading(dots[0]);
        let all = |at: usize| -> Vec<(ValueId, usize)> { dots.iter().map(|d| (*d, at)).collect() };
        for at in 0..batch {
            self.tile(&all(at), 1);
        }
        let first = batch + rows;
        let dims = &self.function.values[dots[0].0].ty.dims;
        if rows > 0 && batch == 0 && self.most(&dims[first - 1]) > ROWS {
            self.tile(&all(first - 1), ROWS);
        }
        let cut = self.shares(&all(first)).is_some_and(|(extent, each)| {
            // Of all dots together, for one element of the axis.
            let (mut bytes, mut columns) = (0, 0);
            for (dot, each) in dots.iter().zip(each) {
                let Some((_, attrs, [_, b])) = op(self.function, *dot) else {
                    panic!("a dot has two operands");
                };
                let inner = &self.function.values[dot.0].ty.dims[first + 1..];
                let b = &self.function.values[b.0].ty.dims;
                let inner: i64 = inner.iter().map(|dim| self.most(dim)).product();
                let depth: i64 = axes(attrs, 3).iter().map(|i| self.most(&b[*i])).product();
                columns += each * inner;
                bytes += 2 * depth * each * inner;
            }
            let least = (COLUMNS.0 + columns - 1) / columns.max(1);
            let size = (TILE_BYTES / bytes.max(1)).clamp(least, COLUMNS.1.max(least));
            let size = if size > UNIT {
                size / UNIT * UNIT
            } else {
                size
            };
            let share = round_up((self.most(&extent) / TILES).max(1), 8);
            self.tile(&all(first), size.min(share))
        });
        if !cut && self.tiles.is_empty() && rows > 0 {
            self.tile(&all(batch), 16);
        }
    }

    /// Cuts along an axis of each of these values, about so many elements a tile, if every result that
    /// depends on one of them is then cut, too. Where the axes have several lengths, a tile has the same share of
    /// each, and the elements counted are those of the axis of their common divisor.
    fn tile(&mut self, anchors: &[(ValueId, usize)], size: i64) -> bool {
        let tile = self.tiles.len();
        let Some((extent, each)) = self.shares(anchors) else {
            return false;
        };
        let mut led: HashMap<ValueId, (usize, Part)> = HashMap::new();
        for ((anchor, at), per) in anchors.iter().zip(each) {
            led.insert(*anchor, (*at, Part { tile, per, of: 1 }));
        }
        let mut lost: BTreeSet<ValueId> = BTreeSet::new();
        let mut multiple = 1;
        for value in self.computed() {
            let Some((kind, _, operands)) = op(self.function, value) else {
                continue;
            };
            let mut here: Option<(usize, Part)> = None;
            for (i, operand) in operands.iter().enumerate() {
                if lost.contains(operand) {
                    lost.insert(value);
                }
                let Some((axis, part)) = led.get(operand).copied() else {
                    continue;
                };
                let moved = forward(self.function, value, i, axis, part);
                match moved {
                    Some((axis, part, of)) if here.is_none_or(|h| h == (axis, part)) => {
                        here = Some((axis, part));
                        multiple = lcm(multiple, of);
                    }
                    _ => {
                        lost.insert(value);
                    }
                }
            }
            if let Some(here) = here {
                if kind == Op::Put && here.0 == 0 {
                    lost.insert(value);
                }
                led.insert(value, here);
            }
        }
        let results = self.function.results.iter();
        let mut reached = results
            .filter(|r| led.contains_key(r) || lost.contains(r))
            .peekable();
        let taken = |value: &ValueId, axis: usize| {
            self.own
                .get(value)
                .is_some_and(|parts| parts[axis].is_some())
        };
        let refused = reached.peek().is_none()
            || reached
                .any(|r| lost.contains(r) || led.get(r).is_none_or(|(axis, _)| taken(r, *axis)));
        if refused {
            return false;
        }
        for result in &self.function.results {
            if let Some((axis, part)) = led.get(result) {
                let rank = space(self.function, *result).len();
                let own = self.own.entry(*result).or_insert_with(|| vec![None; rank]);
                own[*axis] = Some(*part);
            }
        }
        let size = size.max(1);
        self.tiles.push(Tile {
            extent,
            size: round_up(size, multiple),
        });
        true
    }

    /// An axis's length that divides those of all these axes, and how often it does; none where there is no such
    /// axis, or where lengths differ and are not known.
    fn shares(&self, anchors: &[(ValueId, usize)]) -> Option<(Dim, Vec<i64>)> {
        let dims = anchors
            .iter()
            .map(|(value, at)| space(self.function, *value).get(*at));
        let dims: Vec<&Dim> = dims.collect::<Option<_>>()?;
        let first = *dims.first()?;
        if dims.iter().all(|dim| *dim == first) {
            return Some((first.clone(), vec![1; dims.len()]));
        }
        let lengths: Vec<i64> = dims
            .iter()
            .map(|dim| dim.as_const())
            .collect::<Option<_>>()?;
        let common = lengths.iter().copied().reduce(gcd)?;
        let each = lengths.iter().map(|length| length / common);
        Some((Dim::from(common), each.collect()))
    }

    /// Whether evaluating a value costs no more than reading memory.
    fn is_free(&self, value: ValueId) -> bool {
        let Some((kind, _, operands)) = op(self.function, value) else {
            return true;
        };
        let memory = matches!(
            kind,
            Op::ReduceSum | Op::ReduceMax | Op::Dot | Op::Const | Op::Iota
        );
        let through = matches!(
            kind,
            Op::Reshape
                | Op::Transpose
                | Op::Broadcast
                | Op::Slice
                | Op::Cast
                | Op::Dequant
                | Op::Take
        );
        memory || self.function.results.contains(&value) || (through && self.is_free(operands[0]))
    }

    /// Whether a value is worth keeping when two stages use it.
    fn is_work(&self, value: ValueId) -> bool {
        let Some((kind, ..)) = op(self.function, value) else {
            return false;
        };
        let moves = matches!(kind, Op::Cast | Op::Const | Op::Iota | Op::Dequant);
        let divides = matches!(kind, Op::Div | Op::Rem);
        kind.def().class == Class::Pointwise
            && !moves
            && (divides || self.function.values[value.0].ty.dtype == DType::F32)
    }

    /// The values that stages compute, and the parts of all values that a tile needs.
    fn needs(&mut self) -> (BTreeSet<ValueId>, HashMap<ValueId, Vec<Option<Part>>>) {
        let function = self.function;
        let sizes: Vec<i64> = self.tiles.iter().map(|t| t.size).collect();
        let mut consumers: HashMap<ValueId, Vec<(ValueId, usize)>> = HashMap::new();
        for value in self.computed() {
            let (_, _, operands) = op(function, value).expect("a computed value has an op");
            for (i, operand) in operands.iter().enumerate() {
                consumers.entry(*operand).or_default().push((value, i));
            }
        }
        let mut staged = BTreeSet::new();
        let mut users: HashMap<ValueId, BTreeSet<ValueId>> = HashMap::new();
        let mut needed: HashMap<ValueId, Vec<Option<Part>>> = HashMap::new();
        for value in (0..function.values.len()).rev().map(ValueId) {
            let mut stages = BTreeSet::new();
            let mut parts: Option<Vec<Option<Part>>> = None;
            let mut dot_operand = false;
            for (consumer, i) in consumers.get(&value).into_iter().flatten() {
                let Some(wanted) = needed.get(consumer) else {
                    continue;
                };
                if staged.contains(consumer) {
                    stages.insert(*consumer);
                } else {
                    stages.extend(&users[consumer]);
                }
                let narrow = self.narrows(*consumer, *i);
                dot_operand |= self.is(*consumer, Op::Dot) && !narrow;
                if narrow {
                    self.narrowed.insert(value);
                }
                let more = backward(function, *consumer, *i, wanted, &sizes);
                parts = Some(match parts {
                    None => more,
                    Some(parts) => {
                        let both = parts.into_iter().zip(more);
                        both.map(|(a, b)| a.filter(|_| a == b)).collect()
                    }
                });
            }
            let result = function.results.contains(&value);
            let parts = match (parts, result) {
                (Some(parts), _) => parts,
                (None, true) => {
                    let all = vec![None; space(function, value).len()];
                    self.own.get(&value).cloned().unwrap_or(all)
                }
                (None, false) => continue,
            };
            let heavy = [Op::ReduceSum, Op::ReduceMax, Op::Dot, Op::Put];
            if op(function, value).is_none() {
                needed.insert(value, parts);
                continue;
            }
            if result
                || heavy.iter().any(|op| self.is(value, *op))
                || (dot_operand && !self.is_free(value))
                || (self.is_work(value) && stages.len() > 1)
            {
                staged.insert(value);
            }
            users.insert(value, stages);
            needed.insert(value, parts);
        }
        (staged, needed)
    }

    /// Whether a dot rounds this operand to bf16: the first, where the second is bf16 in memory, and pairs
    /// are of the last axis of both.
    fn narrows(&self, dot: ValueId, operand: usize) -> bool {
        let function = self.function;
        let Some((Op::Dot, attrs, [a, b])) = op(function, dot) else {
            return false;
        };
        let last = |v: &ValueId, i: usize| axes(attrs, i) == [function.values[v.0].ty.rank() - 1];
        let Some((Op::Cast, _, [weights])) = op(function, *b) else {
            return false;
        };
        let stored = function.values[weights.0].ty.dtype == DType::BF16;
        let memory = op(function, *weights).is_none();
        operand == 0
            && self.form.narrow_dots
            && stored
            && memory
            && axes(attrs, 0).is_empty()
            && last(a, 2)
            && last(b, 3)
    }

    fn level(&self, parts: &[Option<Part>]) -> usize {
        let deepest = parts.iter().flatten().map(|p| p.tile + 1).max();
        deepest.unwrap_or(0)
    }

    /// The nest.
    fn stages(mut self) -> Nest {
        let (staged, needed) = self.needs();
        let mut read = BTreeSet::new();
        for value in self.computed().filter(|v| needed.contains_key(v)) {
            let (_, _, operands) = op(self.function, value).expect("a computed value has an op");
            read.extend(operands.iter().copied());
        }
        let mut stages = Vec::new();
        for value in (0..self.function.values.len()).map(ValueId) {
            if staged.contains(&value) {
                self.stage(value, &needed[&value], read.contains(&value), &mut stages);
            }
            if self.narrowed.contains(&value) {
                let parts = needed[&value].clone();
                stages.push(Stage {
                    value,
                    bounds: vec![],
                    work: Work::Narrow,
                    to: Home::SCRATCH,
                    level: self.level(&parts),
                    once: false,
                    parts,
                });
            }
        }
        stages.sort_by_key(|stage| stage.level);
        Nest {
            tiles: self.tiles,
            stages,
            sweep: None,
            scratch: 0,
        }
    }

    fn stage(
        &mut self,
        value: ValueId,
        needed: &[Option<Part>],
        read: bool,
        stages: &mut Vec<Stage>,
    ) {
        let function = self.function;
        let (kind, ..) = op(function, value).expect("a stage computes an op");
        let work = match kind {
            Op::ReduceSum | Op::ReduceMax => Work::Reduce,
            Op::Dot => Work::Dot {
                narrow: self.narrows(value, 0),
            },
            Op::Put => Work::Put,
            _ => Work::Map,
        };
        let result = function.results.iter().position(|r| *r == value);
        let count = self.tiles.len();
        let own = match (result, self.own.get(&value)) {
            (Some(_), Some(own)) => own.clone(),
            _ => needed.to_vec(),
        };
        let level = self.level(needed);
        let direct = result.filter(|_| !read || (own == needed && level == count));
        let computed = match direct {
            Some(_) => own.clone(),
            None => needed.to_vec(),
        };
        let to = match direct {
            Some(result) => Home::Result(result),
            None => Home::SCRATCH,
        };
        let level = self.level(&computed);
        stages.push(Stage {
            value,
            work,
            parts: computed,
            bounds: vec![],
            to,
            level,
            once: direct.is_some() && level < count,
        });
        if let (Some(result), None) = (result, direct) {
            let level = self.level(&own);
            stages.push(Stage {
                value,
                work: Work::Copy,
                parts: own,
                bounds: vec![],
                to: Home::Result(result),
                level,
                once: level < count,
            });
        }
    }
}

/// The smallest multiple of a unit that is not below `n`.
fn round_up(n: i64, unit: i64) -> i64 {
    (n + unit - 1) / unit * unit
}
