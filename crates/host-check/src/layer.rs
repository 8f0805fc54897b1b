//! An extension that is merged, and what it starts.

use std::ops::Deref;

use sysext::extension::late::Commands;

use crate::Extension;

/// An extension, with what of it many checks ask for.
pub(crate) struct Layer<'a> {
    extension: &'a Extension<'a>,
    /// The command lines of its own units.
    commands: Commands,
}

impl<'a> Layer<'a> {
    pub(crate) fn new(extension: &'a Extension<'a>) -> Layer<'a> {
        // A unit that can't be read starts nothing.
        Layer { extension, commands: Commands::of(extension.tree).unwrap_or_default() }
    }

    /// Whether a line of the extension's own units runs one of these programs.
    pub(crate) fn runs(&self, programs: &[&str]) -> bool {
        self.commands.run(programs)
    }
}

impl<'a> Deref for Layer<'a> {
    type Target = Extension<'a>;

    fn deref(&self) -> &Extension<'a> {
        self.extension
    }
}
