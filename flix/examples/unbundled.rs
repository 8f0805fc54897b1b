//! What programs of a root file system look for and their extensions would lack: `unbundled ROOT [PROGRAM…]`, else all of
//! /usr/bin and /usr/sbin. The tables of `plan::unbundled` are calibrated by it.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::Path;

use flix::{Plan, Request};
use tree::{Tree, TreePath};

fn main() {
    let mut args = std::env::args().skip(1);
    let root = args.next().expect("usage: unbundled ROOT [PROGRAM…]");
    let tree = Tree::from_dir(Path::new(&root), &tree::ReadOptions::default()).unwrap();
    let mut programs: Vec<String> = args.collect();
    if programs.is_empty() {
        for dir in ["/usr/bin", "/usr/sbin"] {
            let files = tree.children(&dir.parse().unwrap()).filter(|(_, n)| n.is_file());
            programs.extend(files.map(|(p, _)| p.to_string()));
        }
    }
    let (mut silent, mut warned, mut noted, mut refused) = (0, 0, 0, 0);
    for program in programs {
        let request = Request {
            wanted: vec![program.parse().unwrap()],
            selections: Vec::new(),
            sysroot: "/usr/lib/flix/x".parse().unwrap(),
            closure: elf::closure::Options::default(),
            keep_sbin: false,
            charsets: false,
            host_interpreters: false,
            elsewhere: std::collections::BTreeSet::new(),
        };
        let plan = match Plan::new(&tree, &request) {
            Ok(plan) => plan,
            Err(e) => {
                refused += 1;
                println!("{program}\tERROR\t{e}");
                continue;
            }
        };
        match plan.unbundled.iter().map(|u| u.is_likely).max() {
            None => silent += 1,
            Some(false) => noted += 1,
            Some(true) => warned += 1,
        }
        for (by, programs) in &plan.named {
            let programs: Vec<String> = programs.iter().map(TreePath::to_string).collect();
            println!("{program}\tnamed\tby {by}\t{}", programs.join(" "));
        }
        for unbundled in &plan.unbundled {
            let paths: Vec<String> = unbundled.paths.iter().map(TreePath::to_string).collect();
            let level = if unbundled.is_likely { "WARN" } else { "note" };
            println!("{program}\t{level}\t{:?}\tby {}\t{}", unbundled.kind, unbundled.by, paths.join(" "));
        }
    }
    println!("{silent} silent, {noted} with notes, {warned} with warnings, {refused} refused");
}
