//! Programs of other machines: 64-bit Arm with its 64K pages, and 32-bit big-endian PowerPC.

use super::bench::{Bench, Target};

const ARM64: Target = Target {
    compiler: "aarch64-linux-gnu-gcc",
    strip: "aarch64-linux-gnu-strip",
    runner: Some("qemu-aarch64-static"),
};
const POWERPC: Target = Target {
    compiler: "powerpc-linux-gnu-gcc",
    strip: "powerpc-linux-gnu-strip",
    runner: Some("qemu-ppc-static"),
};

#[test]
fn arm64() {
    // The cross compiler knows no -fuse-ld, but looks for `ld` where it is told to.
    let linkers = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/usr/bin/ld.lld", linkers.path().join("ld")).unwrap();
    let lld = format!("-B{}", linkers.path().display());
    let variants: &[&[&str]] = &[
        &[],
        &["-no-pie"],
        &["-s"],
        &["-Wl,-z,max-page-size=4096"],
        &["-Wl,--spare-dynamic-tags=0"],
        &["-Wl,-z,separate-code"],
        &[&lld],
        &["-Wl,-z,norelro,--build-id=none"],
    ];
    for flags in variants {
        let grown = Bench::new(ARM64, flags, flags).check(&format!("arm64 {flags:?}"));
        // A page of Arm's is 64K; padding to it would make each file so much larger.
        assert!(grown < 4096, "{flags:?}: {grown}");
    }
}

#[test]
fn powerpc() {
    let variants: &[&[&str]] = &[
        &[],
        &["-no-pie"],
        &["-s"],
        &["-Wl,--spare-dynamic-tags=0"],
        &["-Wl,-z,separate-code,--hash-style=sysv"],
    ];
    for flags in variants {
        Bench::new(POWERPC, flags, flags).check(&format!("powerpc {flags:?}"));
    }
}
