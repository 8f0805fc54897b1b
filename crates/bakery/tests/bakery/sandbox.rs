//! What is compiled in an image, and what is taken out of one.

use std::path::Path;
use std::process::Command;

use crate::mirror::{Mirror, tar};

/// A root file system with busybox (Debian's busybox-static) and a compiler that copies.
fn image(dir: &Path) {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists());
    let busybox = busybox.expect("busybox is missing: install busybox-static");
    std::fs::create_dir_all(dir.join("bin")).unwrap();
    // A child writes it: a descriptor open for writing here would be inherited by others.
    let copied = Command::new("cp").arg(busybox).arg(dir.join("bin/busybox")).status().unwrap();
    assert!(copied.success());
    for name in ["sh", "cp", "mkdir", "cat", "chmod"] {
        std::os::unix::fs::symlink("busybox", dir.join("bin").join(name)).unwrap();
    }
}

#[test]
fn sources_are_compiled_in_the_sandbox() {
    let mirror = Mirror::new();
    let root = mirror.path("root");
    image(&root);
    let recipe = format!(
        r#"
summary = "Compiled"
architectures = ["x86-64", "arm64"]
[versions]
source = {{ text = "https://e.org/versions" }}
[[download]]
id = "source"
url = "https://e.org/source-{{version}}.tar"
checksum = "lock-only"
strip = 1
[build]
image = "dir:{}"
sources = ["source"]
environment = {{ GREETING = "hello {{version}}" }}
script = """
cd /src/source
mkdir -p "$DESTDIR/usr/bin"
{{ cat main.c; echo "$GREETING $SOURCE_DATE_EPOCH"; }} > "$DESTDIR/usr/bin/compiled"
chmod 755 "$DESTDIR/usr/bin/compiled"
"""
[[install]]
from = "build:usr/bin/*"
to = "/usr/bin/"
"#,
        root.display()
    );
    mirror.recipe("compiled", &recipe.replace("echo", "/bin/busybox echo"));
    mirror.put("e.org/versions", "1.0\n");
    mirror.put("e.org/source-1.0.tar", tar(&[("s/main.c", 0o644, "int main;\n")]));
    let arch = tree::Arch::host().unwrap();
    let out = format!("work/compiled-1.0-{arch}/usr/bin/compiled");
    mirror.bakery(&["build", "compiled", "--update", "--format", "dir"]).good();
    assert_eq!(std::fs::read_to_string(mirror.path(&out)).unwrap(), "int main;\nhello 1.0 0\n");

    // The image is another one now.
    std::os::unix::fs::symlink("busybox", root.join("bin/ls")).unwrap();
    let said = mirror.bakery(&["build", "compiled", "--format", "dir"]);
    said.bad(&["compiled 1.0 ", "image dir:", "expected sha256:", "as pinned"]);

    mirror.recipe("compiled", &recipe.replace("cd /src/source", "/bin/busybox echo broken >&2; exit 3"));
    mirror.bakery(&["build", "compiled", "--update", "--format", "dir"]).bad(&[
        "compiled 1.0 ",
        "broken",
        "3",
    ]);
}

#[test]
fn programs_are_taken_out_of_an_image() {
    let mirror = Mirror::new();
    let root = mirror.path("root");
    image(&root);
    let recipe = format!(
        "summary = \"Taken out\"\n[versions]\nsource = {{ text = \"https://e.org/versions\" }}\n\
         [image]\nreference = \"dir:{}\"\ntool = \"flix\"\npaths = [\"/bin/busybox:/usr/bin/box\"]\n\
         [[file]]\npath = \"/usr/share/box\"\ncontent = \"{{version}}\\n\"\n",
        root.display()
    );
    mirror.recipe("box", &recipe);
    mirror.bakery(&["build", "box", "1.0", "--update", "--format", "dir"]).good();
    let dir = mirror.path(&format!("work/box-1.0-{}", tree::Arch::host().unwrap()));
    assert_eq!(
        std::fs::read(dir.join("usr/bin/box")).unwrap(),
        std::fs::read(root.join("bin/busybox")).unwrap()
    );
    assert_eq!(std::fs::read_to_string(dir.join("usr/share/box")).unwrap(), "1.0\n");
}

/// An image with a package manager that does nothing, and a recipe that has it install something.
fn with_manager(mirror: &Mirror, program: &str) {
    let root = mirror.path("root");
    image(&root);
    let program = root.join(program);
    std::fs::create_dir_all(program.parent().unwrap()).unwrap();
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    assert!(Command::new("chmod").arg("755").arg(&program).status().unwrap().success());
    let recipe = format!(
        "summary = \"Taken out\"\n[versions]\nsource = {{ text = \"https://e.org/versions\" }}\n\
         [image]\nreference = \"dir:{}\"\ntool = \"flix\"\npackages = [\"x\"]\n\
         paths = [\"/bin/busybox:/usr/bin/box\"]\n",
        root.display()
    );
    mirror.recipe("box", &recipe);
}

const OFFLINE: [&str; 2] = ["needs network access, which is off", "hint: once without --offline"];

#[test]
fn packages_are_not_pinned_offline() {
    let mirror = Mirror::new();
    with_manager(&mirror, "sbin/apk");
    let lock = ["lock", "box", "1.0"];
    mirror.bakery(&[&lock[..], &["--offline"]].concat()).bad(&OFFLINE);
    mirror.bakery(&lock).good();
    mirror.bakery(&["build", "box", "1.0", "--format", "dir", "--offline"]).good();
}

#[test]
fn packages_that_cannot_be_pinned_are_not_installed_offline() {
    let mirror = Mirror::new();
    with_manager(&mirror, "usr/bin/dnf");
    let said = mirror.bakery(&["lock", "box", "1.0", "--arch", &tree::Arch::host().unwrap().to_string()]);
    assert!(
        said.ok && said.err.contains("warning: x of dnf aren't pinned, builds take what is newest then"),
        "{said:?}"
    );
    let build = ["build", "box", "1.0", "--format", "dir"];
    mirror.bakery(&[&build[..], &["--offline"]].concat()).bad(&OFFLINE);
    mirror.bakery(&build).good();
    // Its result is kept.
    mirror.bakery(&[&build[..], &["--offline"]].concat()).good();
}
