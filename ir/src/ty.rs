//! A tensor's type: dtype and shape.

use std::fmt;

use crate::attr::write_list;
use crate::dim::{Bindings, Dim, Sym};
use crate::dtype::DType;

/// A tensor's dtype and dims; no dims make a scalar.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Type {
    /// What elements are stored as.
    pub dtype: DType,
    /// The length of each axis.
    pub dims: Vec<Dim>,
}

impl Type {
    /// The type of this dtype and these dims.
    pub fn new<D: Into<Dim>>(dtype: DType, dims: impl IntoIterator<Item = D>) -> Type {
        Type {
            dtype,
            dims: dims.into_iter().map(Into::into).collect(),
        }
    }

    /// How many axes.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// How many elements.
    pub fn elements(&self) -> Dim {
        Dim::product(&self.dims)
    }

    /// How many bytes; the rows of a block format are padded to whole blocks.
    pub fn bytes(&self) -> Dim {
        match (self.dims.split_last(), self.dtype.is_block()) {
            (Some((last, outer)), true) => {
                let row = last.as_const().and_then(|n| usize::try_from(n).ok());
                &Dim::product(outer) * &Dim::from(self.dtype.row_bytes(row.unwrap_or(0)))
            }
            _ => &self.elements() * &Dim::from(self.dtype.block_bytes()),
        }
    }

    /// The dims under these bindings, or the symbol that has none.
    pub fn shape(&self, bindings: &Bindings) -> Result<Vec<usize>, Sym> {
        self.dims
            .iter()
            .map(|d| Ok(usize::try_from(d.eval(bindings)?).unwrap_or(0)))
            .collect()
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dtype)?;
        write_list(f, &self.dims)
    }
}
