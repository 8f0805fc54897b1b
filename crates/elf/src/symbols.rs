//! Names in the dynamic string table: what a file may import, without walking its symbols.

use tree::Content;

use crate::ElfError;
use crate::layout::Layout;
use crate::source::Source;

/// Bytes of a string table that are looked at. The largest known (libLLVM) has 5 MB.
const LIMIT: u64 = 16 << 20;

/// Whether the dynamic string table has one of `names` (or a string that ends with one: linkers merge tails). So a
/// "no" is sure; a "yes" may be a name that the file defines and doesn't import.
///
/// # Errors
/// As [`Elf::parse`](crate::Elf::parse).
pub fn mentions(content: &Content, names: &[&str]) -> Result<bool, ElfError> {
    let source = Source::new(content);
    let Some(layout) = Layout::read(&source)? else { return Ok(false) };
    let Some((offset, size)) = layout.strtab()? else { return Ok(false) };
    let table = source.bytes("DT_STRTAB", offset, size.min(LIMIT))?;
    Ok(table.split(|&b| b == 0).any(|s| names.iter().any(|n| s.ends_with(n.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_imports_from_libc() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let content = Content::from(bytes);
        assert!(mentions(&content, &["no_such_name", "pthread_create"]).unwrap());
        assert!(!mentions(&content, &["no_such_name", "getservbyport"]).unwrap());
        assert!(!mentions(&Content::from("text"), &["text"]).unwrap());
    }
}
