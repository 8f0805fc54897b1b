//! Programs that say which libraries they have, and a root to run them in.

use std::process::Command;

use tree::{Tree, WriteOptions};

use elf::testing::TestRoot;

/// Runs a program in a root that holds the extension and nothing else.
pub(crate) fn run(tree: &Tree, argv: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (written, root) = (dir.path().join("written"), dir.path().join("root"));
    std::fs::create_dir(&written).unwrap();
    _ = tree.write_dir(&written, &WriteOptions::for_caller()).unwrap();
    // A child's copies, for the reason that `place_program` gives.
    assert!(Command::new("cp").arg("-a").arg(&written).arg(&root).status().unwrap().success());
    let root_user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    let mut command = match root_user {
        true => Command::new("/usr/sbin/chroot"),
        false => {
            let mut c = Command::new("/usr/bin/unshare");
            c.args(["--map-root-user", "/usr/sbin/chroot"]);
            c
        }
    };
    let output = command.arg(&root).args(argv).env_clear().output().expect("chroot; install coreutils");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{argv:?}: {} {text}\n{}", output.status, tree.dump());
    text
}

/// A program that prints what its libraries say.
pub(crate) fn speaker(lab: &TestRoot, relative: &str, sonames: &[&str], needs: &[&str], flags: &[&str]) {
    let symbol = |s: &str| s.replace(['.', '-'], "_");
    let mut source = String::from("#include <stdio.h>\n");
    for s in sonames {
        source += &format!("const char *f_{}(void);\n", symbol(s));
    }
    source += "int main(void) {\n";
    for s in sonames {
        source += &format!("  puts(f_{}());\n", symbol(s));
    }
    source += "  return 0;\n}\n";
    let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
    lab.compile(&source, &lab.path(relative), &flags, needs);
}
