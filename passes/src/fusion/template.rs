//! Which schedule template a region follows, if any: the rule that keeps fusion legal.

use std::collections::HashMap;

use ir::{Attr, Class, Def, Function, Op, ValueId};

use crate::plan::Template;

/// What an axis of a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    /// An axis of the first dot's result.
    Of(usize),
    /// One along which elements are the same.
    Repeats,
    /// Some other arrangement of the dot's axes.
    Mixed,
}

impl Axis {
    /// The axis of what is made from two values, element by element.
    fn with(self, other: Axis) -> Axis {
        match (self, other) {
            (Axis::Repeats, axis) | (axis, Axis::Repeats) => axis,
            (axis, other) if axis == other => axis,
            _ => Axis::Mixed,
        }
    }
}

/// The axes of a value.
type Labels = Vec<Axis>;

/// The template of a region, its values in order; `None` if there is none for it.
///
/// Without a dot a region needs no template (`Some(None)`). After a dot only pointwise work, views and a
/// `put` may follow. Dots that do not need one another stand side by side if their batch axes and rows are as
/// long, whatever their columns: so they share the work that makes their rows, and a tile has the columns of
/// all of them that an epilogue brings together. Where a lone dot has batch axes, rows of its result may be reduced, and a second dot
/// may contract axes that are free in the first, over the same batch axes: attention.
///
/// Batch axes tell attention from a projection, its norm and the next projection, which are otherwise the
/// same. The row work makes one worker's of what a dot without batches shares among workers by its free
/// axes, all of it in a step of one row. A single head fuses where it is a batch axis of length 1.
pub fn template_of(function: &Function, values: &[ValueId]) -> Option<Option<Template>> {
    follows(function, values.iter().map(|v| v.0))
}

/// [`template_of`] for values by their places.
pub(super) fn follows(
    function: &Function,
    values: impl Iterator<Item = usize>,
) -> Option<Option<Template>> {
    // The first dot's batch axes, and how long they and its rows are.
    let mut first: Option<(usize, &[ir::Dim])> = None;
    let mut alone = true;
    let mut second = false;
    // The axes of the first dot's result that are reduced, and contracted by the second: the rows'.
    let mut rows: Option<Vec<usize>> = None;
    // What depends on the first dot, and whether also on the second.
    let mut after: HashMap<usize, (Labels, bool)> = HashMap::new();
    for v in values {
        let value = &function.values[v];
        let Def::Op {
            op,
            attrs,
            operands,
        } = &value.def
        else {
            continue;
        };
        let below: Vec<&(Labels, bool)> = operands.iter().filter_map(|o| after.get(&o.0)).collect();
        let late = below.iter().any(|(_, late)| *late);
        if below.is_empty() {
            if *op == Op::Dot {
                let contracted = axes(attrs, 2).len();
                let leading = function.values[operands[0].0].ty.rank() - contracted;
                let this = (axes(attrs, 0).len(), &value.ty.dims[..leading]);
                alone = first.is_none();
                if !alone && (first != Some(this) || rows.is_some()) {
                    return None;
                }
                first = Some(this);
                after.insert(v, ((0..value.ty.rank()).map(Axis::Of).collect(), false));
            }
            continue;
        }
        let (batch, _) = first?;
        match op.def().class {
            Class::Pointwise | Class::View | Class::State => {
                // The second dot's result has no rows; what is left of the first must have none.
                let rows = rows.as_deref().unwrap_or_default();
                let left = |l: &Labels| {
                    l.iter().any(|axis| match axis {
                        Axis::Of(l) => rows.contains(l),
                        Axis::Repeats => false,
                        Axis::Mixed => true,
                    })
                };
                if late && below.iter().any(|(l, late)| !late && left(l)) {
                    return None;
                }
            }
            Class::Reduce if batch > 0 && alone && !late => {
                let labels = &after.get(&operands[0].0)?.0;
                let gone = rows_of(labels, axes(attrs, 0), batch)?;
                if *rows.get_or_insert_with(|| gone.clone()) != gone {
                    return None;
                }
            }
            Class::Dot if batch > 0 && alone && !second => {
                let gone = contracted_rows(attrs, operands, &after, batch)?;
                if *rows.get_or_insert_with(|| gone.clone()) != gone {
                    return None;
                }
                second = true;
                after.insert(v, (vec![Axis::Repeats; value.ty.rank()], true));
                continue;
            }
            Class::Reduce | Class::Dot | Class::Gather => return None,
        }
        let mut labels = vec![Axis::Repeats; value.ty.rank()];
        if !late {
            let each = operands.iter().filter_map(|o| {
                let from = &function.values[o.0].ty.dims;
                let (labels, _) = after.get(&o.0)?;
                Some(moved(*op, attrs, labels, from, &value.ty.dims))
            });
            for other in each {
                for (label, other) in labels.iter_mut().zip(other) {
                    *label = label.with(other);
                }
            }
        }
        after.insert(v, (labels, late));
    }
    Some(match (first, rows) {
        (None, _) => None,
        (Some(_), None) => Some(Template::Dot),
        (Some(_), Some(_)) => Some(Template::Attention),
    })
}

/// The axes of an attribute; none where it is of another kind.
fn axes(attrs: &[Attr], i: usize) -> &[usize] {
    match attrs.get(i) {
        Some(Attr::Axes(axes)) => axes,
        _ => &[],
    }
}

/// The first dot's axes that these axes are, in order, if they are free ones and there are any.
fn rows_of(labels: &Labels, axes: &[usize], batch: usize) -> Option<Vec<usize>> {
    let each = axes.iter().map(|axis| match labels[*axis] {
        Axis::Of(l) if l >= batch => Some(l),
        _ => None,
    });
    let mut rows = each.collect::<Option<Vec<usize>>>()?;
    rows.sort_unstable();
    (!rows.is_empty()).then_some(rows)
}

/// The axes of the first dot's result that this dot contracts, if it keeps the first's batch axes.
fn contracted_rows(
    attrs: &[Attr],
    operands: &[ValueId],
    after: &HashMap<usize, (Labels, bool)>,
    batch: usize,
) -> Option<Vec<usize>> {
    let sides = [after.get(&operands[0].0), after.get(&operands[1].0)];
    let (side, labels) = match sides {
        [Some((labels, false)), None] => (0, labels),
        [None, Some((labels, false))] => (1, labels),
        _ => return None,
    };
    let kept = axes(attrs, side);
    let keeps = |l: usize| kept.iter().any(|axis| labels[*axis] == Axis::Of(l));
    let rows = rows_of(labels, axes(attrs, 2 + side), batch);
    rows.filter(|_| (0..batch).all(keeps))
}

/// The labels of a result, from those of the operand that depends on the dot.
fn moved(op: Op, attrs: &[Attr], labels: &Labels, from: &[ir::Dim], to: &[ir::Dim]) -> Labels {
    let mut out = vec![Axis::Mixed; to.len()];
    match op {
        Op::Transpose => {
            for (i, axis) in axes(attrs, 0).iter().enumerate() {
                out[i] = labels[*axis];
            }
        }
        Op::Broadcast => {
            out.fill(Axis::Repeats);
            for (label, axis) in labels.iter().zip(axes(attrs, 1)) {
                out[*axis] = *label;
            }
        }
        Op::ReduceSum | Op::ReduceMax => {
            let gone = axes(attrs, 0);
            let kept = (0..labels.len()).filter(|axis| !gone.contains(axis));
            return kept.map(|axis| labels[axis]).collect();
        }
        // Equal lengths at the front and at the back are the same axes; between them they are mixed.
        Op::Reshape => {
            let front = from.iter().zip(to).take_while(|(a, b)| a == b).count();
            out[..front].copy_from_slice(&labels[..front]);
            let most = from.len().min(to.len()) - front;
            let back = from.iter().rev().zip(to.iter().rev()).take(most);
            let back = back.take_while(|(a, b)| a == b).count();
            out[to.len() - back..].copy_from_slice(&labels[from.len() - back..]);
        }
        Op::Slice | Op::Concat => {
            if let Some(Attr::Axis(axis)) = attrs.first() {
                for (i, label) in labels.iter().enumerate().filter(|(i, _)| i != axis) {
                    out[i] = *label;
                }
            }
        }
        _ if labels.len() == to.len() => return labels.clone(),
        _ => {}
    }
    out
}
