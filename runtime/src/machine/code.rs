//! Machine code, made executable.

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapMut, MmapOptions};

use crate::{Error, Image, Kernel};

/// The kernels of a program, mapped read-only and executable.
pub struct Code {
    map: Mmap,
    entries: Vec<usize>,
}

impl Code {
    /// Makes a copy of an image executable.
    ///
    /// # Safety
    ///
    /// Every entry of the image begins a function that is a [`Kernel`] and touches nothing but the memory that the
    /// launches of its program give it, and this CPU has the image's level.
    ///
    /// # Errors
    ///
    /// [`Error::Program`] when an entry is not within the code; [`Error::Code`] when the system refuses the mapping.
    pub unsafe fn from_image(image: &Image) -> Result<Code, Error> {
        let mut map = MmapMut::map_anon(image.code.len()).map_err(Error::Code)?;
        map.copy_from_slice(&image.code);
        Code::new(map.make_exec().map_err(Error::Code)?, &image.entries)
    }

    /// Makes `bytes` bytes of a file executable where they are, from `offset`, a multiple of 4096.
    ///
    /// # Safety
    ///
    /// As for [`Code::from_image`], and nobody writes to the file while the code lives.
    ///
    /// # Errors
    ///
    /// [`Error::Program`] when the offset is no multiple of 4096 or an entry is not within the code; [`Error::Code`]
    /// when the file is too short or the system refuses the mapping.
    pub unsafe fn from_file(
        file: &File,
        offset: u64,
        bytes: u64,
        entries: &[u64],
    ) -> Result<Code, Error> {
        if !offset.is_multiple_of(4096) {
            let found = format!("code begins at byte {offset}, expected a multiple of 4096");
            return Err(Error::Program(found));
        }
        let has = file.metadata().map_err(Error::Code)?.len();
        let in_memory = usize::try_from(bytes).ok();
        let in_file = offset.checked_add(bytes).filter(|end| *end <= has);
        let (Some(bytes), Some(_)) = (in_memory, in_file) else {
            return Err(Error::Code(io::ErrorKind::UnexpectedEof.into()));
        };
        // SAFETY: the file is not written to, as the caller promises, and it has these bytes.
        let map = unsafe { MmapOptions::new().offset(offset).len(bytes).map_exec(file) };
        Code::new(map.map_err(Error::Code)?, entries)
    }

    fn new(map: Mmap, entries: &[u64]) -> Result<Code, Error> {
        let has = map.len();
        let within = |(index, entry): (usize, &u64)| {
            let found = usize::try_from(*entry).ok().filter(|entry| *entry < has);
            found.ok_or_else(|| {
                let place = format!("kernel {index} begins at byte {entry} of {has} bytes of code");
                Error::Program(place)
            })
        };
        let entries = entries.iter().enumerate().map(within);
        Ok(Code {
            entries: entries.collect::<Result<_, _>>()?,
            map,
        })
    }

    /// How many kernels there are.
    pub fn kernels(&self) -> usize {
        self.entries.len()
    }

    /// A kernel's entry point, good while the code lives.
    ///
    /// # Panics
    ///
    /// If there is no such kernel.
    pub(super) fn kernel(&self, index: usize) -> Kernel {
        let entry = &self.map[self.entries[index]..];
        // SAFETY: a kernel begins here, as whoever made the code promised.
        unsafe { std::mem::transmute::<*const u8, Kernel>(entry.as_ptr()) }
    }
}
