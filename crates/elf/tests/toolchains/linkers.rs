//! All linkers and the options that change a file's layout.

use std::process::Command;

use super::bench::{Bench, HOST, Target, must};

/// Name, options of the program, options of the libraries.
type Variant = (&'static str, &'static [&'static str], &'static [&'static str]);

const BFD: &[Variant] = &[
    ("defaults", &[], &[]),
    ("symbols and debug information", &["-g"], &["-g"]),
    ("one segment for headers and code", &["-Wl,-z,noseparate-code"], &["-Wl,-z,noseparate-code"]),
    ("64K pages", &["-Wl,-z,max-page-size=65536"], &["-Wl,-z,max-page-size=65536"]),
    ("2M pages", &["-Wl,-z,max-page-size=2097152"], &["-Wl,-z,max-page-size=2097152"]),
    (
        "2M pages, one segment",
        &["-Wl,-z,max-page-size=2097152,-z,noseparate-code"],
        &["-Wl,-z,max-page-size=2097152,-z,noseparate-code"],
    ),
    ("packed relative relocations", &["-Wl,-z,pack-relative-relocs"], &["-Wl,-z,pack-relative-relocs"]),
    ("fixed addresses", &["-no-pie"], &[]),
    ("fixed odd addresses", &["-no-pie", "-Wl,-Ttext-segment=0x5432000"], &[]),
    ("no spare dynamic entries", &["-Wl,--spare-dynamic-tags=0"], &["-Wl,--spare-dynamic-tags=0"]),
    ("SysV hash", &["-Wl,--hash-style=sysv"], &["-Wl,--hash-style=sysv"]),
    ("GNU hash", &["-Wl,--hash-style=gnu"], &["-Wl,--hash-style=gnu"]),
    ("no build id", &["-Wl,--build-id=none"], &["-Wl,--build-id=none"]),
    ("bind now", &["-Wl,-z,now"], &["-Wl,-z,now"]),
    ("lazy, no RELRO", &["-Wl,-z,lazy,-z,norelro"], &["-Wl,-z,lazy,-z,norelro"]),
    (
        "DT_RPATH",
        &["-Wl,-rpath,/nowhere/at/all,--disable-new-dtags"],
        &["-Wl,-rpath,/nowhere,--disable-new-dtags"],
    ),
    ("DT_RUNPATH", &["-Wl,-rpath,/nowhere,--enable-new-dtags"], &["-Wl,-rpath,/nowhere,--enable-new-dtags"]),
    ("executable stack", &["-Wl,-z,execstack"], &[]),
    ("stripped", &["-s"], &["-s"]),
    ("a library that is never initialised lazily", &["-Wl,-z,initfirst"], &["-Wl,-z,nodelete"]),
];

const GOLD: &[Variant] = &[
    ("gold", &["-fuse-ld=gold"], &["-fuse-ld=gold"]),
    ("gold, fixed addresses, stripped", &["-fuse-ld=gold", "-no-pie", "-s"], &["-fuse-ld=gold", "-s"]),
    (
        "gold, no spare dynamic entries",
        &["-fuse-ld=gold", "-Wl,--spare-dynamic-tags=0"],
        &["-fuse-ld=gold", "-Wl,--spare-dynamic-tags=0"],
    ),
    ("gold, rosegment", &["-fuse-ld=gold", "-Wl,--rosegment"], &["-fuse-ld=gold", "-Wl,--rosegment"]),
];

const LLD: &[Variant] = &[
    ("lld", &["-fuse-ld=lld"], &["-fuse-ld=lld"]),
    ("lld, fixed addresses", &["-fuse-ld=lld", "-no-pie"], &["-fuse-ld=lld"]),
    (
        "lld, separate code",
        &["-fuse-ld=lld", "-Wl,-z,separate-code"],
        &["-fuse-ld=lld", "-Wl,-z,separate-code"],
    ),
    (
        "lld, no read-only segment",
        &["-fuse-ld=lld", "-Wl,--no-rosegment"],
        &["-fuse-ld=lld", "-Wl,--no-rosegment"],
    ),
    ("lld, no build id", &["-fuse-ld=lld", "-Wl,--build-id=none"], &["-fuse-ld=lld", "-Wl,--build-id=none"]),
    (
        "lld, 64K pages, stripped",
        &["-fuse-ld=lld", "-Wl,-z,max-page-size=65536", "-s"],
        &["-fuse-ld=lld", "-Wl,-z,max-page-size=65536", "-s"],
    ),
    ("lld, no RELRO", &["-fuse-ld=lld", "-Wl,-z,norelro"], &["-fuse-ld=lld", "-Wl,-z,norelro"]),
];

const MOLD: &[Variant] = &[
    ("mold", &["-fuse-ld=mold"], &["-fuse-ld=mold"]),
    ("mold, fixed addresses", &["-fuse-ld=mold", "-no-pie"], &["-fuse-ld=mold"]),
    (
        "mold, no spare dynamic entries",
        &["-fuse-ld=mold", "-Wl,--spare-dynamic-tags=0"],
        &["-fuse-ld=mold", "-Wl,--spare-dynamic-tags=0"],
    ),
    (
        "mold, 64K pages, stripped",
        &["-fuse-ld=mold", "-Wl,-z,max-page-size=65536", "-s"],
        &["-fuse-ld=mold", "-s"],
    ),
];

fn try_all(variants: &[Variant]) {
    for (what, flags, lib_flags) in variants {
        let grown = Bench::new(HOST, flags, lib_flags).check(what);
        println!("{what}: {grown} bytes");
    }
}

#[test]
fn bfd() {
    try_all(BFD);
}

#[test]
fn gold() {
    try_all(GOLD);
}

#[test]
fn lld() {
    try_all(LLD);
}

#[test]
fn mold() {
    try_all(MOLD);
}

#[test]
fn musl() {
    let target = Target { compiler: "musl-gcc", ..HOST };
    for flags in [&[][..], &["-no-pie"], &["-s"]] {
        Bench::new(target, flags, &[]).check("musl");
    }
}

/// The linker's room for the strings is there already, so that a usual program doesn't grow at all.
#[test]
fn the_usual_program_does_not_grow() {
    assert_eq!(Bench::new(HOST, &[], &[]).check("defaults"), 0);
}

/// Rust's own linker settings, on this very test.
#[test]
fn rust() {
    let bench = Bench::new(HOST, &[], &[]);
    bench.fill_sysroot();
    for name in ["libgcc_s.so.1", "libm.so.6"] {
        let from = must(Command::new("gcc").arg(format!("-print-file-name={name}")));
        elf::testing::place_copy(&bench.sysroot().join(name), from.trim().as_ref());
    }
    let own = std::env::current_exe().unwrap();
    let copy = bench.path("own");
    let edit = super::bench::content(&own);
    let edit = elf::rewrite(&edit, &bench.edit("program")).unwrap();
    super::bench::write(&edit, &copy);
    assert_eq!(must(Command::new(&copy).arg("--list")), must(Command::new(&own).arg("--list")));
    let stripped = bench.path("own-stripped");
    must(Command::new("strip").arg("-o").arg(&stripped).arg(&copy));
    assert_eq!(must(Command::new(&stripped).arg("--list")), must(Command::new(&own).arg("--list")));
}
