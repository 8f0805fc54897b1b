//! Makes a table of the files in `catalogue/`, so that the program has its recipes in it, and a digest of the sources that decide
//! the bytes of images: another program with the same sources builds the same images.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use sha2::{Digest as _, Sha256};

fn main() -> io::Result<()> {
    let variable = |name| env::var_os(name).ok_or_else(|| io::Error::other(format!("{name} isn't set")));
    let own = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    println!("cargo::rustc-env=SOURCES_DIGEST={}", sources(&own)?);
    let root = own.join("catalogue");
    println!("cargo::rerun-if-changed=catalogue");
    let mut table = String::from("pub(super) static FILES: &[Embedded] = &[\n");
    walk(&root, &root, &mut table)?;
    table.push_str("];\n");
    let out = PathBuf::from(variable("OUT_DIR")?).join("catalogue.rs");
    fs::write(out, table)
}

fn walk(root: &Path, dir: &Path, table: &mut String) -> io::Result<()> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
    paths.sort();
    for path in paths {
        let meta = path.symlink_metadata()?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let _ = if meta.is_dir() {
            walk(root, &path, table)?;
            Ok(())
        } else if meta.is_symlink() {
            let target = fs::read_link(&path)?.to_string_lossy().into_owned();
            writeln!(table, "    ({name:?}, 'l', {target:?}.as_bytes()),")
        } else {
            let kind = if meta.permissions().mode() & 0o100 != 0 { 'x' } else { 'f' };
            writeln!(table, "    ({name:?}, {kind:?}, include_bytes!({path:?})),")
        };
    }
    Ok(())
}

/// Of this crate's sources, those of all crates of the workspace that it depends on, and the versions of all others.
fn sources(own: &Path) -> io::Result<String> {
    let workspace = own.parent().unwrap_or(own);
    let read = |path: &Path| {
        println!("cargo::rerun-if-changed={}", path.display());
        fs::read_to_string(path).map_err(|e| io::Error::new(e.kind(), format!("{path:?}: {e}")))
    };
    let manifest = read(&workspace.join("Cargo.toml"))?;
    let member = |line: &str| {
        let (name, rest) = line.split_once(" = { path = \"")?;
        Some((name.to_owned(), workspace.join(rest.split_once('"')?.0)))
    };
    let members: BTreeMap<String, PathBuf> = manifest.lines().filter_map(member).collect();
    let (mut dirs, mut queue) = (BTreeSet::new(), vec![own.to_owned()]);
    while let Some(dir) = queue.pop() {
        let manifest = read(&dir.join("Cargo.toml"))?;
        let dependencies = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
        for line in dependencies.take_while(|line| !line.starts_with('[')) {
            let name = line.split(['.', ' ']).next().unwrap_or_default();
            queue.extend(members.get(name).filter(|dir| !dirs.contains(*dir)).cloned());
        }
        dirs.insert(dir);
    }
    // The image's writer decides bytes for sure: without it the manifests were not understood.
    let writer = members.get("image").filter(|dir| dirs.contains(*dir));
    writer.ok_or_else(|| {
        io::Error::other("Cargo.toml: crate image is not among the dependencies of recipes")
    })?;
    let mut hasher = Sha256::new();
    hasher.update(read(&workspace.join("Cargo.lock"))?);
    // Features of dependencies are here, and not in the lock.
    hasher.update(&manifest);
    for dir in dirs {
        hasher.update(read(&dir.join("Cargo.toml"))?);
        println!("cargo::rerun-if-changed={}", dir.join("src").display());
        feed(workspace, &dir.join("src"), &mut hasher)?;
    }
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// All files below a directory but tests, with their paths in the workspace and their lengths.
fn feed(workspace: &Path, dir: &Path, hasher: &mut Sha256) -> io::Result<()> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        if ["tests", "tests.rs", "snapshots"].iter().any(|tests| name == *tests) {
            continue;
        }
        if path.is_dir() {
            feed(workspace, &path, hasher)?;
            continue;
        }
        let content = fs::read(&path)?;
        let path = path.strip_prefix(workspace).unwrap_or(&path);
        hasher.update(format!("{} {}\n", path.display(), content.len()));
        hasher.update(content);
    }
    Ok(())
}
