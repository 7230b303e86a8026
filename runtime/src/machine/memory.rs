//! Memory that kernels read and write.

use std::ops::Range;
use std::sync::Arc;

use memmap2::{Mmap, MmapMut, MmapOptions, MmapRaw};

use crate::Error;

/// Every region begins at a multiple of this.
const PAGE: usize = 4096;

/// Where regions of a [`Memory`] lie, worked out before it is mapped.
#[derive(Default)]
pub(super) struct Layout {
    bytes: usize,
}

/// A part of a [`Memory`].
#[derive(Clone, Copy)]
pub(super) struct Region {
    start: usize,
    bytes: usize,
}

impl Layout {
    /// Adds a region of so many bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] when all regions together are more than an address space holds.
    pub fn place(&mut self, bytes: u64) -> Result<Region, Error> {
        let end = usize::try_from(bytes).ok();
        let end = end.and_then(|bytes| {
            self.bytes
                .checked_add(bytes)?
                .checked_next_multiple_of(PAGE)
        });
        let end = end.filter(|end| isize::try_from(*end).is_ok());
        let end = end.ok_or_else(|| too_much(bytes))?;
        let region = Region {
            start: self.bytes,
            bytes: bytes as usize,
        };
        self.bytes = end;
        Ok(region)
    }
}

/// Zeroed memory whose pages the system provides as they are first touched: regions may be as large as their upper
/// bounds, and what a run does not reach costs nothing.
pub(super) struct Memory(MmapRaw);

impl Memory {
    /// Maps all regions of a layout.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] when the system refuses.
    pub fn new(layout: &Layout) -> Result<Memory, Error> {
        let map = MmapOptions::new()
            .len(layout.bytes)
            .no_reserve_swap()
            .map_anon();
        let map = map.map_err(|source| Error::Memory {
            bytes: layout.bytes as u64,
            source,
        })?;
        Ok(Memory(map.into()))
    }

    /// Where a region of this memory's layout begins.
    pub fn pointer(&self, region: Region) -> *mut u8 {
        self.0.as_mut_ptr().wrapping_add(region.start)
    }

    /// A region's bytes.
    ///
    /// # Safety
    ///
    /// The region is of this memory's layout, and nothing writes to it meanwhile.
    pub unsafe fn bytes(&self, region: Region) -> &[u8] {
        // SAFETY: the layout put the region within the map, and the caller keeps writers away.
        unsafe { std::slice::from_raw_parts(self.pointer(region), region.bytes) }
    }

    /// A region's bytes, to be written.
    ///
    /// # Safety
    ///
    /// The region is of this memory's layout, and nothing else reads or writes it meanwhile.
    #[expect(
        clippy::mut_from_ref,
        reason = "the memory is shared with kernels; the caller keeps them away"
    )]
    pub unsafe fn bytes_mut(&self, region: Region) -> &mut [u8] {
        // SAFETY: the layout put the region within the map, and the caller keeps others away.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(region), region.bytes) }
    }
}

fn too_much(bytes: u64) -> Error {
    let source = std::io::ErrorKind::OutOfMemory.into();
    Error::Memory { bytes, source }
}

/// The data that [`Program::weights`](crate::Program::weights) lie in, read-only.
pub struct Weights {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl Weights {
    /// A part of a map, such as that of a compiled file.
    ///
    /// # Errors
    ///
    /// [`Error::Program`] when it is not within the map or does not begin at a multiple of 64 in memory.
    pub fn in_map(map: Arc<Mmap>, range: Range<usize>) -> Result<Weights, Error> {
        let Some(data) = map.get(range.clone()) else {
            return Err(Error::Program(format!(
                "weight data are at bytes {}..{} of {} bytes",
                range.start,
                range.end,
                map.len()
            )));
        };
        if !data.as_ptr().addr().is_multiple_of(64) {
            let start = range.start;
            return Err(Error::Program(format!(
                "weight data begin at byte {start}, expected a multiple of 64"
            )));
        }
        Ok(Weights { map, range })
    }

    /// A copy of these bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] when the system refuses the memory.
    pub fn copied(bytes: &[u8]) -> Result<Weights, Error> {
        Weights::filled(bytes.len(), |memory| memory.copy_from_slice(bytes))
    }

    /// So many bytes, zeros at first, that `fill` writes.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] when the system refuses the memory.
    pub fn filled(bytes: usize, fill: impl FnOnce(&mut [u8])) -> Result<Weights, Error> {
        let filled = || {
            let mut map = MmapMut::map_anon(bytes)?;
            fill(&mut map);
            map.make_read_only()
        };
        let map = filled().map_err(|source| Error::Memory {
            bytes: bytes as u64,
            source,
        })?;
        Weights::in_map(Arc::new(map), 0..bytes)
    }

    /// The data.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}
