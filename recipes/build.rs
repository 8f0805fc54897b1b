//! Makes a table of the files in `catalogue/`, so that the program has its recipes in it.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("catalogue");
    println!("cargo::rerun-if-changed=catalogue");
    let mut table = String::from("pub(super) static FILES: &[Embedded] = &[\n");
    walk(&root, &root, &mut table)?;
    table.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("catalogue.rs");
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
