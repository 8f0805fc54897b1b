//! Files that are odd by hand: without section headers, with something appended, with tables in other places; and what is
//! refused.

use std::fs;
use std::process::Command;

use elf::{Edit, Elf, ElfKind, MAX_INTERPRETER, RewriteError, rewrite};
use tree::Content;

use super::bench::{Bench, HOST, SAYS, content, must, rewrite_file, write};
use elf::testing::place_program;

const LIMIT: u64 = 1 << 30;

fn bytes(bench: &Bench, name: &str) -> Vec<u8> {
    content(&bench.path(name)).read(LIMIT).unwrap()
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Without the section header table and what only it knows of: .symtab and the like, behind the last segment.
fn without_sections(mut bytes: Vec<u8>) -> Vec<u8> {
    set(&mut bytes, 40, &[0; 8]);
    set(&mut bytes, 60, &[0; 4]);
    let headers = (0..usize::from(bytes[56])).map(|i| 64 + 56 * i);
    let end = headers.map(|p| word(&bytes, p + 8) + word(&bytes, p + 32)).max().unwrap();
    bytes.truncate(end as usize);
    bytes
}

/// Rewrites bytes as the bench's program and runs them.
fn run_rewritten(bench: &Bench, what: &str, old: Vec<u8>) -> Content {
    let old = Content::from(old);
    let new = rewrite(&old, &bench.edit("program")).unwrap_or_else(|e| panic!("{what}: {e}"));
    write(&new, &bench.path("rewritten"));
    assert!(bench.run(&bench.path("rewritten"), None).starts_with(SAYS), "{what}");
    new
}

#[test]
fn without_section_headers() {
    for flags in
        [&[][..], &["-no-pie"], &["-fuse-ld=lld"], &["-Wl,--spare-dynamic-tags=0"], &["-fuse-ld=mold"]]
    {
        let bench = Bench::new(HOST, flags, flags);
        for name in ["libfar.so", "libfarther.so"] {
            place_program(&bench.path(name), &without_sections(bytes(&bench, name)));
        }
        bench.fill_sysroot();
        let program = without_sections(bytes(&bench, "program"));
        let new = run_rewritten(&bench, &format!("{flags:?}"), program);
        let mut again = new.clone();
        for n in 1..=10 {
            let path = format!("{}/{}", bench.sysroot().display(), "x".repeat(n));
            again = rewrite(&again, &Edit { runpath: Some(path.into()), ..Edit::default() }).unwrap();
        }
        assert!(again.len() < new.len() + 4096, "{flags:?}: {} to {}", new.len(), again.len());
    }
}

/// What stands behind the file's end stays there, byte for byte, or the file is refused.
#[test]
fn appended_payload() {
    let payload = b"PK\x03\x04 an archive that is found from the file's end".repeat(50);
    let bench = Bench::new(HOST, &[], &[]);
    bench.fill_sysroot();
    let mut file = bytes(&bench, "program");
    let at = file.len() as u64;
    file.extend(&payload);
    let new = run_rewritten(&bench, "payload", file.clone()).read(LIMIT).unwrap();
    assert_eq!(new.len(), file.len());
    assert!(new.ends_with(&payload));

    // No slack at all between lld's segments.
    let bench = Bench::new(HOST, &["-fuse-ld=lld"], &["-fuse-ld=lld"]);
    let mut file = bytes(&bench, "program");
    let lld_at = file.len() as u64;
    file.extend(&payload);
    match rewrite(&Content::from(file), &bench.edit("program")) {
        Err(RewriteError::Payload { at, len, .. }) => assert_eq!((at, len), (lld_at, payload.len() as u64)),
        other => panic!("expected a refusal, got {other:?}"),
    }
    assert!(at > 0);
    // Zeros at the end are padding.
    let mut file = bytes(&bench, "program");
    file.extend([0; 100]);
    rewrite(&Content::from(file), &bench.edit("program")).unwrap();
}

/// More sections than e_shnum can count: the number is in the first section header. gABI, chapter 4.
#[test]
fn section_count_in_the_first_section() {
    let bench = Bench::new(HOST, &["-fuse-ld=lld"], &[]);
    bench.fill_sysroot();
    let mut file = bytes(&bench, "program");
    let table = word(&file, 40) as usize;
    let count = u64::from(u16::from_le_bytes([file[60], file[61]]));
    let names = file[62..64].to_vec();
    set(&mut file, 60, &[0, 0, 0xff, 0xff]);
    set(&mut file, table + 32, &count.to_le_bytes());
    set(&mut file, table + 40, &[names[0], names[1], 0, 0]);
    let new = run_rewritten(&bench, "e_shnum 0", file);
    write(&new, &bench.path("rewritten"));
    let text = must(Command::new("readelf").args(["-SW"]).arg(bench.path("rewritten")));
    let interp = text.lines().find(|l| l.contains(".interp")).unwrap();
    let elf = Elf::parse(&new).unwrap().unwrap();
    let size = format!("{:06x}", elf.interpreter.unwrap().len() + 1);
    assert!(interp.contains(&size), "section header not in step: {interp}");
}

/// The program header table of a library without anything movable behind it has to go elsewhere, and works there; the
/// next edit finds it.
#[test]
fn moved_program_headers() {
    let bench = Bench::new(HOST, &[], &["-fuse-ld=lld", "-Wl,--build-id=none"]);
    for name in ["libfar.so", "libfarther.so"] {
        place_program(&bench.path(name), &without_sections(bytes(&bench, name)));
    }
    bench.fill_sysroot();
    let moved = content(&bench.sysroot().join("libfar.so")).read(LIMIT).unwrap();
    assert!(word(&moved, 32) != 64, "the table didn't move: the test doesn't test");
    run_rewritten(&bench, "moved", bytes(&bench, "program"));
    let longer =
        Edit { runpath: Some(format!("{}:/elsewhere", bench.sysroot().display()).into()), ..Edit::default() };
    for name in ["libfar.so", "libfarther.so"] {
        rewrite_file(&bench.sysroot().join(name), &longer).unwrap();
    }
    assert!(bench.run(&bench.path("rewritten"), None).starts_with(SAYS));
}

/// Code right behind the program header table (patchelf's issue 639).
#[test]
fn code_behind_the_program_headers() {
    let bench = Bench::new(HOST, &["-fuse-ld=gold", "-Wl,--rosegment,--build-id=none"], &[]);
    bench.fill_sysroot();
    run_rewritten(&bench, "gold, --rosegment", bytes(&bench, "program"));
}

/// Nothing to do, or the same again: the same bytes.
#[test]
fn nothing_to_do() {
    let bench = Bench::new(HOST, &["-Wl,-rpath,/opt/lib,--enable-new-dtags"], &[]);
    let old = content(&bench.path("program"));
    let elf = Elf::parse(&old).unwrap().unwrap();
    let same = Edit { interpreter: elf.interpreter, runpath: elf.runpath, ..Edit::default() };
    for edit in [Edit::default(), same] {
        assert_eq!(rewrite(&old, &edit).unwrap().read(LIMIT).unwrap(), old.read(LIMIT).unwrap());
    }
}

/// A shorter path leaves nothing of a longer one behind that this program wrote.
#[test]
fn shorter_and_longer() {
    let bench = Bench::new(HOST, &[], &[]);
    let old = content(&bench.path("libfar.so"));
    let with = |content: &Content, path: &str| {
        rewrite(content, &Edit { runpath: Some(path.into()), ..Edit::default() }).unwrap()
    };
    let long = with(&old, "/a/long/path/that/has/many/parts");
    let short = with(&long, "/short");
    assert!(!short.read(LIMIT).unwrap().windows(9).any(|w| w == b"many/part"));
    assert_eq!(
        with(&short, "/a/long/path/that/has/many/parts").read(LIMIT).unwrap(),
        long.read(LIMIT).unwrap()
    );
    let gone = with(&short, "");
    let elf = Elf::parse(&gone).unwrap().unwrap();
    assert_eq!((elf.rpath, elf.runpath), (None, None));
}

/// DT_RPATH becomes DT_RUNPATH, or the other way around on request.
#[test]
fn rpath_and_runpath() {
    let bench = Bench::new(HOST, &[], &["-Wl,-rpath,/one,--disable-new-dtags"]);
    let old = content(&bench.path("libfar.so"));
    for (force_rpath, path) in [(false, "/one"), (false, "/another/one"), (true, "/one"), (true, "/two")] {
        let edit = Edit { runpath: Some(path.into()), force_rpath, ..Edit::default() };
        let elf = Elf::parse(&rewrite(&old, &edit).unwrap()).unwrap().unwrap();
        let path = Some(path.as_bytes().to_vec());
        let wanted = if force_rpath { (path, None) } else { (None, path) };
        assert_eq!((elf.rpath, elf.runpath), wanted, "{edit:?}");
    }
}

#[test]
fn left_alone() {
    let bench = Bench::new(HOST, &[], &[]);
    let edit = Edit { runpath: Some(b"/x".to_vec()), ..Edit::default() };
    let table = [("-static", ElfKind::StaticExecutable), ("-static-pie", ElfKind::StaticPie)];
    for (flag, kind) in table {
        bench.compile("int main(void) { return 0; }\n", "static", &[flag], &[]);
        let result = rewrite(&content(&bench.path("static")), &edit);
        assert!(matches!(result, Err(RewriteError::LeftAlone(k)) if k == kind), "{flag}: {result:?}");
    }
    bench.fill_sysroot();
    let result = rewrite(&content(&bench.loader_in_sysroot()), &edit);
    assert!(matches!(result, Err(RewriteError::LeftAlone(ElfKind::Loader))), "{result:?}");
    let musl = fs::canonicalize("/lib/ld-musl-x86_64.so.1").expect("package musl");
    assert!(matches!(rewrite(&content(&musl), &edit), Err(RewriteError::LeftAlone(ElfKind::Loader))));
    assert!(matches!(rewrite(&Content::from("#!/bin/sh\n"), &edit), Err(RewriteError::NotElf)));
}

#[test]
fn strings_that_cannot_be() {
    let bench = Bench::new(HOST, &[], &[]);
    let program = content(&bench.path("program"));
    let interpreter = |path: Vec<u8>| Edit { interpreter: Some(path), ..Edit::default() };
    for edit in [
        interpreter(Vec::new()),
        interpreter(b"/with\0nul".to_vec()),
        interpreter(vec![b'x'; MAX_INTERPRETER]),
        Edit { runpath: Some(b"/with\0nul".to_vec()), ..Edit::default() },
    ] {
        assert!(matches!(rewrite(&program, &edit), Err(RewriteError::BadString { .. })), "{edit:?}");
    }
    let library = content(&bench.path("libfar.so"));
    assert!(matches!(rewrite(&library, &interpreter(b"/x".to_vec())), Err(RewriteError::NoInterpreter)));
    rewrite(&program, &interpreter(vec![b'x'; MAX_INTERPRETER - 1])).unwrap();
}
