//! Object files put together as an [`Image`]: one piece of code and constants that runs wherever it is mapped.

use std::collections::HashMap;

use object::read::elf::ElfFile64;
use object::{
    LittleEndian, Object, ObjectSection, ObjectSymbol, Relocation, RelocationKind,
    RelocationTarget, SectionIndex, SectionKind, SymbolIndex,
};
use runtime::{Image, Level};

use crate::Error;

/// Links relocatable ELF files for `level` into an image, with the kernels of these names as its entries.
///
/// Code and constants are placed each at its alignment; references between them, to symbols of the same file or
/// to global ones of another, become distances.
///
/// # Errors
///
/// [`Error::Object`] if a file cannot be read as ELF for a 64-bit machine, a kernel or a symbol that is referred
/// to is not defined or is defined twice, there is writable data, or a reference is not a distance.
pub fn link(
    level: Level,
    objects: &[impl AsRef<[u8]>],
    kernels: &[impl AsRef<str>],
) -> Result<Image, Error> {
    let mut linker = Linker::default();
    let mut placed = Vec::new();
    for bytes in objects {
        let file = ElfFile64::parse(bytes.as_ref()).map_err(unreadable)?;
        let sections = linker.place(&file)?;
        placed.push((file, sections));
    }
    for (file, sections) in &placed {
        linker.relocate(file, sections)?;
    }
    let entries = kernels.iter().map(|name| linker.global(name.as_ref()));
    Ok(Image {
        level,
        entries: entries.collect::<Result<_, _>>()?,
        code: linker.code,
    })
}

type File<'data> = ElfFile64<'data, LittleEndian>;

/// Where each placed section of a file begins in the code.
type Sections = HashMap<SectionIndex, u64>;

/// What has been put together so far.
#[derive(Default)]
struct Linker {
    code: Vec<u8>,
    /// Where each global symbol lies in the code.
    globals: HashMap<String, u64>,
}

impl Linker {
    /// Appends a file's code and constants, and learns its global symbols.
    fn place(&mut self, file: &File<'_>) -> Result<Sections, Error> {
        let mut sections = Sections::new();
        for section in file.sections() {
            match section.kind() {
                SectionKind::Text | SectionKind::ReadOnlyData | SectionKind::ReadOnlyString => {}
                SectionKind::Metadata | SectionKind::Note | SectionKind::Debug => continue,
                _ if section.size() == 0 => continue,
                kind => {
                    let name = section.name().map_err(unreadable)?;
                    return refused(format!(
                        "section {name} ({kind:?}) is neither code nor constants"
                    ));
                }
            }
            let alignment = section.align().max(1) as usize;
            let at = self.code.len().next_multiple_of(alignment);
            self.code.resize(at, 0);
            self.code.extend(section.data().map_err(unreadable)?);
            sections.insert(section.index(), at as u64);
        }
        for symbol in file.symbols() {
            let section = symbol.section_index().and_then(|i| sections.get(&i));
            let (true, Some(section)) = (symbol.is_global(), section) else {
                continue;
            };
            let name = symbol.name().map_err(unreadable)?;
            let at = section + symbol.address();
            if self.globals.insert(name.to_owned(), at).is_some() {
                return refused(format!("{name} is defined twice"));
            }
        }
        Ok(sections)
    }

    /// Fills in the distances that a file's placed sections leave open.
    fn relocate(&mut self, file: &File<'_>, sections: &Sections) -> Result<(), Error> {
        for section in file.sections() {
            let Some(begin) = sections.get(&section.index()) else {
                continue;
            };
            for (offset, relocation) in section.relocations() {
                let RelocationTarget::Symbol(symbol) = relocation.target() else {
                    return refused(format!("{:?} has no symbol", relocation.flags()));
                };
                let target = self.resolve(file, sections, symbol)?;
                let place = begin + offset;
                let distance = (target as i64 - place as i64).wrapping_add(relocation.addend());
                self.fill(place as usize, distance, &relocation)?;
            }
        }
        Ok(())
    }

    /// Where a symbol that a file refers to lies in the code.
    fn resolve(
        &self,
        file: &File<'_>,
        sections: &Sections,
        symbol: SymbolIndex,
    ) -> Result<u64, Error> {
        let symbol = file.symbol_by_index(symbol).map_err(unreadable)?;
        match symbol.section_index().and_then(|i| sections.get(&i)) {
            Some(section) => Ok(section + symbol.address()),
            None => self.global(symbol.name().map_err(unreadable)?),
        }
    }

    fn global(&self, name: &str) -> Result<u64, Error> {
        let found = self.globals.get(name).copied();
        found.ok_or_else(|| Error::Object(format!("{name} is not defined")))
    }

    fn fill(&mut self, place: usize, distance: i64, relocation: &Relocation) -> Result<(), Error> {
        let bytes = self.code.get_mut(place..).unwrap_or_default();
        let kind = (relocation.kind(), relocation.size());
        let is_filled = match kind {
            (RelocationKind::Relative | RelocationKind::PltRelative, 32) => i32::try_from(distance)
                .ok()
                .zip(bytes.first_chunk_mut())
                .map(|(distance, field)| *field = distance.to_le_bytes()),
            (RelocationKind::Relative, 64) => bytes
                .first_chunk_mut()
                .map(|field| *field = distance.to_le_bytes()),
            _ => {
                return refused(format!(
                    "a reference at {place:#x} ({:?}) is not a distance",
                    relocation.flags()
                ));
            }
        };
        match is_filled {
            Some(()) => Ok(()),
            None => refused(format!(
                "the distance {distance} does not fit at {place:#x}"
            )),
        }
    }
}

fn unreadable(error: object::Error) -> Error {
    Error::Object(error.to_string())
}

fn refused<T>(message: String) -> Result<T, Error> {
    Err(Error::Object(message))
}
