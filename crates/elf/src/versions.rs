//! Versions of symbols that a library has. LSB, "Symbol Versioning".

use object::elf;
use tree::Content;

use crate::ElfError;
use crate::layout::Layout;
use crate::read::{MAX_VERSIONS, dynamic_string};
use crate::source::Source;

/// The names of the versions that a library defines (`GLIBC_2.34`), in its own order; its own name is none. Empty if its symbols
/// have no versions: the loader then takes it for any.
///
/// # Errors
/// As [`Elf::parse`](crate::Elf::parse).
pub fn defined_versions(content: &Content) -> Result<Vec<Vec<u8>>, ElfError> {
    let source = Source::new(content);
    let Some(layout) = Layout::read(&source)? else { return Ok(Vec::new()) };
    let Some(address) = layout.tag(elf::DT_VERDEF) else { return Ok(Vec::new()) };
    let unmapped = ElfError::Unmapped { what: "DT_VERDEF", address };
    let (start, left) = layout.offset_of(address).ok_or(unmapped)?;
    let end = start.saturating_add(left);
    let strtab = layout.strtab()?;
    let record = |at: u64, len: u64| -> Result<Vec<u8>, ElfError> {
        if at.checked_add(len).is_none_or(|e| e > end) {
            let index = at.saturating_sub(start);
            return Err(ElfError::OutOfTable { what: "DT_VERDEF", index, size: left });
        }
        source.bytes("DT_VERDEF", at, len)
    };
    let field = |bytes: &[u8], i: usize| layout.format.u32(&bytes[i..]).map_or(0, u64::from);
    let mut out = Vec::new();
    let mut at = start;
    for _ in 0..layout.tag(elf::DT_VERDEFNUM).unwrap_or(0) {
        if out.len() >= MAX_VERSIONS {
            return Err(ElfError::TooMany { what: "versions", limit: MAX_VERSIONS as u64 });
        }
        // vd_version, vd_flags, vd_ndx, vd_cnt: u16; vd_hash, vd_aux, vd_next: u32.
        let definition = record(at, 20)?;
        let is_base = layout.format.u16(&definition[2..]).unwrap_or(0) & 1 != 0;
        // vda_name, vda_next: u32. The first is the version's own name, those behind it are of versions that it follows.
        let aux = record(at.saturating_add(field(&definition, 12)), 8)?;
        if !is_base {
            out.push(dynamic_string(&source, strtab, "vda_name", field(&aux, 0))?);
        }
        match field(&definition, 16) {
            0 => break,
            next => at = at.saturating_add(next),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_library_has_versions() {
        // It is mapped into this process.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let libc = maps
            .lines()
            .filter_map(|l| l.split_whitespace().nth(5))
            .find(|p| p.ends_with("/libc.so.6"))
            .unwrap();
        let bytes = std::fs::read(libc).unwrap();
        let versions = defined_versions(&Content::from(bytes.as_slice())).unwrap();
        assert!(versions.iter().any(|v| v == b"GLIBC_2.34") && !versions.iter().any(|v| v == b"libc.so.6"));
        assert!(defined_versions(&"text".into()).unwrap().is_empty());
        // Cut off or damaged, nothing panics.
        for n in (0..8192).step_by(7) {
            let _ = defined_versions(&Content::from(&bytes[..n]));
        }
    }
}
