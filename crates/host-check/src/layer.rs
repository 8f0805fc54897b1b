//! An extension that is merged, and what it starts.

use std::ops::Deref;

use sysext::extension::units::Directive;
use tree::Tree;

use crate::Extension;
use crate::units::{Units, directives};

/// An extension, with what of it many checks ask for.
pub(crate) struct Layer<'a> {
    extension: &'a Extension<'a>,
    /// The command lines of its own units.
    commands: Vec<String>,
}

impl<'a> Layer<'a> {
    pub(crate) fn new(extension: &'a Extension<'a>) -> Layer<'a> {
        Layer { extension, commands: commands(extension.tree) }
    }

    /// Whether a line of the extension's own units runs one of these programs.
    pub(crate) fn runs(&self, programs: &[&str]) -> bool {
        self.commands.iter().any(|line| programs.iter().any(|program| line.contains(program)))
    }
}

impl<'a> Deref for Layer<'a> {
    type Target = Extension<'a>;

    fn deref(&self) -> &Extension<'a> {
        self.extension
    }
}

fn commands(tree: &Tree) -> Vec<String> {
    let units = Units::of(tree);
    let paths = units.files.values().chain(units.drop_ins.values().flatten());
    let line =
        |d: Directive| d.key.starts_with("Exec").then(|| String::from_utf8_lossy(&d.value).into_owned());
    paths.flat_map(|path| directives(tree, path)).filter_map(line).collect()
}
