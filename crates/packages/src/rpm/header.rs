//! The header of a package, as databases have it: counts, an index, and a store of values. rpm's docs/manual/format.md;
//! numbers are big-endian.

use tree::TreePath;

use crate::budget::Budget;
use crate::{DatabaseError, Dependency, Package};

/// Tags. rpmtag.h.
mod tag {
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const EPOCH: u32 = 1003;
    pub(super) const ARCH: u32 = 1022;
    pub(super) const FILE_FLAGS: u32 = 1037;
    pub(super) const PROVIDE_NAME: u32 = 1047;
    pub(super) const REQUIRE_FLAGS: u32 = 1048;
    pub(super) const REQUIRE_NAME: u32 = 1049;
    pub(super) const DIR_INDEXES: u32 = 1116;
    pub(super) const BASE_NAMES: u32 = 1117;
    pub(super) const DIR_NAMES: u32 = 1118;
}

/// Types of values. rpmtag.h.
const INT32: u32 = 4;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;

/// RPMFILE_CONFIG, rpmfiles.h.
const CONFIG: u32 = 1;
/// RPMSENSE_POSTTRANS, _PRETRANS, _SCRIPT_PRE to _SCRIPT_POSTUN, _SCRIPT_VERIFY, _RPMLIB, rpmds.h: what is needed to install,
/// remove or verify.
const NOT_AT_RUN_TIME: u32 = 1 << 5 | 1 << 7 | 0xf << 9 | 1 << 13 | 1 << 24;

/// Bytes of an entry of the index.
const ENTRY: usize = 16;

struct Header<'b> {
    index: &'b [u8],
    store: &'b [u8],
}

/// The package that a header describes. None if it is no header, or one of something else (a key).
pub(super) fn package(blob: &[u8], budget: &mut Budget) -> Result<Option<Package>, DatabaseError> {
    let Some(header) = Header::new(blob) else { return Ok(None) };
    let name = header.string(tag::NAME).filter(|n| !n.is_empty() && n != "gpg-pubkey");
    let Some(name) = name else { return Ok(None) };
    let epoch = header.numbers(tag::EPOCH).next().map(|e| format!("{e}:")).unwrap_or_default();
    let word = |t| header.string(t).unwrap_or_default();
    let mut package = Package {
        version: format!("{epoch}{}-{}", word(tag::VERSION), word(tag::RELEASE)),
        architecture: word(tag::ARCH),
        name,
        ..Package::default()
    };
    budget.package(&package)?;
    (package.files, package.configuration) = header.files(budget)?;
    package.depends = header.depends(budget)?;
    for name in header.strings(tag::PROVIDE_NAME).map(text) {
        budget.name(&name)?;
        package.provides.push(name);
    }
    Ok(Some(package))
}

impl<'b> Header<'b> {
    fn new(blob: &'b [u8]) -> Option<Header<'b>> {
        let (entries, size) = (number(blob, 0)? as usize, number(blob, 4)? as usize);
        let index_end = entries.checked_mul(ENTRY)?.checked_add(8)?;
        let store = blob.get(index_end..index_end.checked_add(size)?)?;
        Some(Header { index: blob.get(8..index_end)?, store })
    }

    /// Type, count and place of a tag's value.
    fn entry(&self, wanted: u32) -> Option<(u32, usize, &'b [u8])> {
        let entry = self.index.chunks_exact(ENTRY).find(|e| number(e, 0) == Some(wanted))?;
        let at = number(entry, 8)? as usize;
        Some((number(entry, 4)?, number(entry, 12)? as usize, self.store.get(at..)?))
    }

    fn string(&self, wanted: u32) -> Option<String> {
        self.strings(wanted).next().map(text)
    }

    fn strings(&self, wanted: u32) -> impl Iterator<Item = &'b [u8]> {
        let found = self.entry(wanted).filter(|(kind, ..)| matches!(*kind, STRING | STRING_ARRAY));
        let (count, bytes) = found.map_or((0, &[][..]), |(_, count, bytes)| (count, bytes));
        bytes.split_inclusive(|&b| b == 0).filter_map(|s| s.strip_suffix(b"\0")).take(count)
    }

    fn numbers(&self, wanted: u32) -> impl Iterator<Item = u32> + use<'b> {
        let found = self.entry(wanted).filter(|(kind, ..)| *kind == INT32);
        let (count, bytes) = found.map_or((0, &[][..]), |(_, count, bytes)| (count, bytes));
        bytes.as_chunks::<4>().0.iter().take(count).map(|b| u32::from_be_bytes(*b))
    }

    /// Files, and those of them that are configuration.
    fn files(&self, budget: &mut Budget) -> Result<(Vec<TreePath>, Vec<TreePath>), DatabaseError> {
        let mut dirs: Vec<&[u8]> = Vec::new();
        for dir in self.strings(tag::DIR_NAMES) {
            budget.bytes(size_of::<&[u8]>())?;
            dirs.push(dir);
        }
        let flags = self.numbers(tag::FILE_FLAGS).map(Some).chain(std::iter::repeat(None));
        let names = self.strings(tag::BASE_NAMES).zip(self.numbers(tag::DIR_INDEXES)).zip(flags);
        let (mut files, mut configuration) = (Vec::new(), Vec::new());
        for ((name, dir), flags) in names {
            let Some(dir) = dirs.get(dir as usize) else { continue };
            let Ok(path) = TreePath::new([*dir, b"/", name].concat()) else { continue };
            budget.file(&path)?;
            if flags.is_some_and(|f| f & CONFIG != 0) {
                budget.path(&path)?;
                configuration.push(path.clone());
            }
            files.push(path);
        }
        Ok((files, configuration))
    }

    fn depends(&self, budget: &mut Budget) -> Result<Vec<Dependency>, DatabaseError> {
        let flags = self.numbers(tag::REQUIRE_FLAGS).map(Some).chain(std::iter::repeat(None));
        let names = self.strings(tag::REQUIRE_NAME).zip(flags);
        let names = names.filter(|(_, flags)| flags.is_none_or(|f| f & NOT_AT_RUN_TIME == 0));
        let mut out = Vec::new();
        for (name, _) in names {
            let Some(dependency) = dependency(&text(name)) else { continue };
            for name in &dependency.alternatives {
                budget.name(name)?;
            }
            out.push(dependency);
        }
        out.sort();
        out.dedup();
        Ok(out)
    }
}

/// `libz.so.1()(64bit)`, `/usr/bin/perl`, or a rich one: `(a or b)`. What depends on other packages (`(a if b)`) is none.
fn dependency(name: &str) -> Option<Dependency> {
    let Some(rich) = name.strip_prefix('(') else {
        let found = !name.is_empty() && !name.starts_with("rpmlib(");
        return found.then(|| Dependency { alternatives: vec![name.to_owned()] });
    };
    if rich.contains(" if ") || rich.contains(" unless ") {
        return None;
    }
    let first = |part: &str| Some(part.trim_start_matches('(').split_ascii_whitespace().next()?.to_owned());
    let alternatives: Vec<String> = rich.trim_end_matches(')').split(" or ").filter_map(first).collect();
    (!alternatives.is_empty()).then_some(Dependency { alternatives })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A header of these tags.
    fn header(tags: &[(u32, u32, u32, &[u8])]) -> Vec<u8> {
        let (mut index, mut store) = (Vec::new(), Vec::<u8>::new());
        for (tag, kind, count, value) in tags {
            for n in [*tag, *kind, store.len() as u32, *count] {
                index.extend(n.to_be_bytes());
            }
            store.extend(*value);
        }
        let mut out = (tags.len() as u32).to_be_bytes().to_vec();
        out.extend((store.len() as u32).to_be_bytes());
        out.extend(index);
        out.extend(store);
        out
    }

    pub(in crate::rpm) fn git() -> Vec<u8> {
        named("git")
    }

    /// As git's, by another name.
    pub(in crate::rpm) fn named(name: &str) -> Vec<u8> {
        header(&[
            (tag::NAME, STRING, 1, format!("{name}\0").as_bytes()),
            (tag::VERSION, STRING, 1, b"2.45\0"),
            (tag::RELEASE, STRING, 1, b"1.fc40\0"),
            (tag::EPOCH, INT32, 1, &[0, 0, 0, 1]),
            (tag::ARCH, STRING, 1, b"x86_64\0"),
            (tag::FILE_FLAGS, INT32, 3, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
            (tag::PROVIDE_NAME, STRING_ARRAY, 2, b"git\0git(x86-64)\0"),
            (
                tag::REQUIRE_FLAGS,
                INT32,
                7,
                &[
                    0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, // four
                    0, 0, 1, 0x80, 0, 0, 1, 0x20, 0, 0, 0x20, 0, // %pretrans, %posttrans, %verifyscript
                ],
            ),
            (
                tag::REQUIRE_NAME,
                STRING_ARRAY,
                7,
                b"libz.so.1()(64bit)\0/usr/sbin/useradd\0rpmlib(X)\0(perl or (python3 with x))\0\
                  /bin/pre\0/bin/post\0/bin/verify\0",
            ),
            (tag::DIR_INDEXES, INT32, 3, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9]),
            (tag::BASE_NAMES, STRING_ARRAY, 3, b"git\0gitconfig\0x\0"),
            (tag::DIR_NAMES, STRING_ARRAY, 2, b"/usr/bin/\0/etc/\0"),
            // Longer than a page of a database.
            (1234, STRING, 1, &[b'x'; 6000]),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_says() {
        let package = |blob: &[u8]| package(blob, &mut Budget::default()).unwrap();
        let git = package(&testing::git()).unwrap();
        let depends: Vec<String> = git.depends.iter().map(|d| d.alternatives.join("|")).collect();
        assert_eq!(depends, ["libz.so.1()(64bit)", "perl|python3"]);
        assert_eq!(git.provides, ["git", "git(x86-64)"]);
        assert_eq!(package(b""), None);
        assert_eq!(dependency("(a if b)"), None);
    }
}
