//! Prints what a directory shows, as `e2e::listing` does: `list_tree DIRECTORY FILE`, with the paths in the file, separated by
//! NUL, whose contents count.
// A helper of a test: printing is what it's for.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tree::{ReadOptions, Tree, TreePath};

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let (root, paths) = args.next().zip(args.next()).context("expected DIRECTORY FILE")?;
    let bytes = std::fs::read(&paths).with_context(|| format!("{paths:?}"))?;
    let contents: BTreeSet<TreePath> =
        bytes.split(|&b| b == 0).map(TreePath::new).collect::<Result<_, _>>()?;
    // overlayfs lists a whiteout that nothing lies below, and then says that there is no such file.
    let only = vec!["/usr".parse()?, "/opt".parse()?];
    let options = ReadOptions { only, lenient: true, ..ReadOptions::default() };
    let tree = Tree::from_dir(&PathBuf::from(root), &options)?;
    for line in e2e::listing::lines(&tree, &contents)? {
        println!("{line}");
    }
    Ok(())
}
