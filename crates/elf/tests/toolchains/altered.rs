//! Layouts that no linker writes and that are met all the same, since other tools edited the files: made here by altering a
//! few bytes of what the compiler wrote. All of them run as they are.

use elf::{Edit, Elf, rewrite};
use tree::Content;

use super::bench::{Bench, HOST, content, must};
use elf::testing::place_program;

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const PT_NOTE: u64 = 4;

/// A 64-bit little-endian file whose bytes are altered.
struct File {
    path: std::path::PathBuf,
    bytes: Vec<u8>,
}

impl File {
    fn open(bench: &Bench, name: &str) -> File {
        let path = bench.path(name);
        File { bytes: content(&path).read(1 << 30).unwrap(), path }
    }

    fn save(self) {
        place_program(&self.path, &self.bytes);
    }

    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    fn set(&mut self, at: usize, value: u64) {
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Where the program headers of a type are.
    fn headers(&self, p_type: u64) -> Vec<usize> {
        let all = (0..usize::from(self.bytes[56])).map(|i| 64 + 56 * i);
        all.filter(|&p| self.word(p) & 0xffff_ffff == p_type).collect()
    }

    fn tag(&self, tag: u64) -> u64 {
        let dynamic = self.headers(PT_DYNAMIC)[0];
        let (start, size) = (self.word(dynamic + 8) as usize, self.word(dynamic + 32) as usize);
        let at = (start..start + size).step_by(16).find(|&at| self.word(at) == tag).unwrap();
        self.word(at + 8)
    }

    /// The first PT_LOAD ends at a place in it; what follows is mapped with the rest of the page.
    fn cut_first_load(&mut self, address: u64) {
        let load = self.headers(PT_LOAD)[0];
        let size = address - self.word(load + 16);
        assert!(size < self.word(load + 32), "the segment is not cut");
        self.set(load + 32, size);
        self.set(load + 40, size);
    }
}

/// patchelf up to 0.11 lets the program headers of a library grow over its notes.
#[test]
fn stale_notes() {
    for flags in [&["-s"][..], &["-Wl,--spare-dynamic-tags=0"], &["-fuse-ld=lld"], &["-fuse-ld=gold"]] {
        let bench = Bench::new(HOST, flags, flags);
        for name in ["libfar.so", "libfarther.so"] {
            let mut file = File::open(&bench, name);
            let end = 64 + 56 * u64::from(file.bytes[56]);
            for note in file.headers(PT_NOTE) {
                let to = end - 0x10;
                for (field, value) in [(8, to), (16, to), (24, to), (32, 0x24), (40, 0x24)] {
                    file.set(note + field, value);
                }
            }
            file.save();
        }
        bench.check(&format!("stale notes {flags:?}"));
    }
}

/// patchelf 0.12 to 0.18 cuts the first PT_LOAD of a program at fixed addresses off (NixOS/patchelf#403).
#[test]
fn tables_behind_their_segment() {
    const DT_STRTAB: u64 = 5;
    const DT_SYMTAB: u64 = 6;
    for flags in [&["-no-pie"][..], &["-no-pie", "-Wl,--spare-dynamic-tags=0"], &["-s"]] {
        for tag in [None, Some(DT_STRTAB), Some(DT_SYMTAB)] {
            let bench = Bench::new(HOST, flags, flags);
            let mut file = File::open(&bench, "program");
            let interpreter = file.headers(PT_INTERP)[0];
            let cut = tag.map_or(file.word(interpreter + 16), |tag| file.tag(tag));
            file.cut_first_load(cut);
            file.save();
            let mut file = File::open(&bench, "libfarther.so");
            let cut = file.tag(tag.unwrap_or(DT_STRTAB));
            file.cut_first_load(cut + 1);
            file.save();
            bench.check(&format!("tables behind their segment {flags:?} {tag:?}"));
        }
    }
}

/// patchelf up to 0.14 gives a program at fixed addresses a PT_LOAD of one page before all others, and a string table that is
/// longer goes on in the next one.
#[test]
fn a_table_in_two_segments() {
    const DT_STRTAB: u64 = 5;
    const DT_STRSZ: u64 = 10;
    let names: Vec<String> = (0..150)
        .map(|n| format!("-Wl,--defsym=a_name_of_which_there_are_so_many_that_the_table_is_long_{n}=0"))
        .collect();
    for more in [&[][..], &["-s"]] {
        let mut flags = vec!["-no-pie", "-rdynamic"];
        flags.extend(more);
        flags.extend(names.iter().map(String::as_str));
        let bench = Bench::new(HOST, &flags, &[]);
        let mut patchelf = std::process::Command::new("patchelf");
        must(patchelf.args(["--add-rpath", "/a/path/that/is/not/there"]).arg(bench.path("program")));
        let file = File::open(&bench, "program");
        let load = file.headers(PT_LOAD)[0];
        let end = file.word(load + 16) + file.word(load + 32);
        assert!((end - 4096..end).contains(&file.tag(DT_STRTAB)), "the table is not in the first PT_LOAD");
        assert!(file.tag(DT_STRTAB) + file.tag(DT_STRSZ) > end, "the table ends with its PT_LOAD");
        bench.check(&format!("a table in two segments {more:?}"));
    }
}

/// A p_align that only the address is a multiple of, or neither is: loaders want congruence modulo the page.
#[test]
fn congruent_modulo_the_page() {
    for flags in [&["-no-pie"][..], &["-Wl,--spare-dynamic-tags=0"], &["-s", "-Wl,-z,noseparate-code"]] {
        let bench = Bench::new(HOST, flags, flags);
        for name in ["program", "libfar.so", "libfarther.so"] {
            let mut file = File::open(&bench, name);
            for load in file.headers(PT_LOAD) {
                file.set(load + 48, 2 << 20);
            }
            file.save();
        }
        // The program itself is mapped by the kernel; its libraries by a loader that looks at the page only.
        bench.check(&format!("congruent modulo the page {flags:?}"));
    }
}

/// Go's linker puts the section headers between the program headers and the first section, and leaves no spare dynamic
/// entry: the section headers move, not the program headers, or strip would break the file.
#[test]
fn section_headers_behind_the_program_headers() {
    let flags = ["-no-pie", "-s", "-Wl,-z,noseparate-code,--section-start=.interp=0x401000"];
    let flags = [&flags[..], &["-Wl,--spare-dynamic-tags=0"]].concat();
    let bench = Bench::new(HOST, &flags, &[]);
    let mut file = File::open(&bench, "program");
    let (table, to) = (file.word(40) as usize, 64 + 56 * usize::from(file.bytes[56]));
    let size = 64 * usize::from(file.bytes[60]);
    assert!(file.bytes[to..to + size].iter().all(|&b| b == 0), "no room for the section headers");
    let headers = file.bytes[table..table + size].to_vec();
    file.bytes.truncate(table);
    file.bytes[to..to + size].copy_from_slice(&headers);
    file.set(40, to as u64);
    file.save();
    must(std::process::Command::new("readelf").arg("-S").arg(bench.path("program")));
    bench.check("section headers behind the program headers");
    let new = content(&bench.path("rewritten")).read(1 << 30).unwrap();
    assert_eq!(new[32..40], 64u64.to_le_bytes(), "the program headers moved");
    assert_ne!(new[40..48], (to as u64).to_le_bytes(), "the section headers didn't");
}

/// Each edit is made, whatever an earlier one left, and taking a run path away leaves nothing of it.
#[test]
fn one_edit_after_the_other() {
    let bench = Bench::new(HOST, &[], &["-Wl,--spare-dynamic-tags=0"]);
    for name in ["program", "libfar.so"] {
        let old = content(&bench.path(name));
        let mut new = old.clone();
        let (long, same) = ("/a/longer/path/than/that:/b", "/a/longer/path/than/that:/c");
        let paths = ["/one", "/two", long, same, "/six", "", "/one", "", long, "/two", same, long, ""];
        let mut removed: Option<Vec<u8>> = None;
        for (n, path) in paths.iter().enumerate() {
            let force_rpath = n % 3 == 2;
            let edit = Edit { runpath: Some((*path).into()), force_rpath, ..Edit::default() };
            new = Content::from(rewrite(&new, &edit).unwrap().read(1 << 30).unwrap());
            let elf = Elf::parse(&new).unwrap().unwrap();
            let path = Some(path.as_bytes().to_vec()).filter(|p| !p.is_empty());
            let wanted = if force_rpath { (path.clone(), None) } else { (None, path.clone()) };
            assert_eq!((elf.rpath, elf.runpath), wanted, "{name}: edit {n}");
            let bytes = new.read(1 << 30).unwrap();
            if path.is_none() {
                let left =
                    bytes.windows(10).any(|w| w == b"/longer/pa") || bytes.windows(4).any(|w| w == b"/two");
                assert!(!left, "{name}: edit {n} leaves the old path in the file");
                let most = removed.get_or_insert_with(|| bytes.clone()).len() + 64;
                assert!(bytes.len() <= most, "{name}: edit {n} grows");
            }
        }
    }
}

/// What patchelf moved stands alone in a PT_LOAD of its own. If it left that, strip would write one that loaders refuse.
#[test]
fn edited_by_patchelf() {
    for flags in [&[][..], &["-no-pie"], &["-s", "-Wl,-z,noseparate-code"]] {
        for edits in [1, 2] {
            let bench = Bench::new(HOST, flags, flags);
            for name in ["program", "libfar.so", "libfarther.so"] {
                for n in 0..edits {
                    let path = "/a/directory".repeat(40 * (n + 1));
                    must(
                        std::process::Command::new("patchelf")
                            .args(["--set-rpath", &path])
                            .arg(bench.path(name)),
                    );
                }
            }
            bench.check(&format!("{edits} edits by patchelf {flags:?}"));
        }
    }
}
