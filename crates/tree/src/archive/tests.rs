use super::testing::{Raw, TarBuilder, blob};
use super::*;
use crate::TreePath;

fn tree_at(bytes: &[u8], limits: &Limits) -> Result<Tree, String> {
    Tree::from_tar(&blob(bytes), 0, bytes.len() as u64, limits).map_err(|e| e.to_string())
}

fn tree(bytes: &[u8]) -> Result<Tree, String> {
    tree_at(bytes, &Limits::default())
}

fn dump(bytes: &[u8]) -> String {
    let options = crate::tree::DumpOptions { mtime: true, text: 60 };
    tree(bytes).map_or_else(|e| format!("error: {e}"), |t| t.dump_with(options))
}

fn content(bytes: &[u8], path: &str) -> Vec<u8> {
    let t = tree(bytes).unwrap();
    let path: TreePath = path.parse().unwrap();
    t.get(&path).unwrap().content().unwrap().read(1 << 20).unwrap()
}

fn b() -> TarBuilder {
    TarBuilder::new()
}

mod foreign;
mod format;
mod hostile;
mod sparse;
