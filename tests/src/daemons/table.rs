//! The table of docs/daemons.md, and what it is made of.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Column, Daemon};

/// What a daemon did on a host, by its name and the column's title.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cells(BTreeMap<String, BTreeMap<String, Cell>>);

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Cell {
    /// It lived.
    Works,
    /// Why it didn't.
    Fails(String),
}

impl Cells {
    /// Those of a file, none if there is no file.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn read(path: &Path) -> Result<Cells> {
        if !path.exists() {
            return Ok(Cells::default());
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("{path:?}"))?;
        serde_json::from_str(&text).with_context(|| format!("{path:?}"))
    }

    /// # Errors
    /// The file can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text).with_context(|| format!("{path:?}"))
    }

    /// Whether it is known.
    pub fn has(&self, daemon: &Daemon, column: Column) -> bool {
        self.get(daemon, column).is_some()
    }

    /// Adds one.
    pub fn put(&mut self, daemon: &Daemon, column: Column, cell: Cell) {
        self.0.entry(daemon.name.to_owned()).or_default().insert(column.title(), cell);
    }

    fn get(&self, daemon: &Daemon, column: Column) -> Option<&Cell> {
        self.0.get(daemon.name)?.get(&column.title())
    }

    /// The rows of the daemons of which anything is known, in Markdown.
    pub fn table(&self) -> String {
        let mut out = String::from("| daemon | PATHs and options |");
        for column in Column::ALL {
            let _ = write!(out, " {} |", column.title());
        }
        out += "\n|---|---|---|---|---|---|\n";
        for daemon in Daemon::ALL.iter().filter(|d| self.0.contains_key(d.name)) {
            let paths = daemon.packages().into_iter().map(|p| format!("package:{p}"));
            let options = daemon.options.iter().map(|o| (*o).to_owned());
            let mut words: Vec<String> = paths.chain(options).map(|w| format!("`{w}`")).collect();
            words.extend(daemon.relax.then_some("with flatwrap `--relax-units`".to_owned()));
            let _ = write!(out, "| {} | {} |", daemon.name, words.join(" "));
            for column in Column::ALL {
                let _ = match self.get(daemon, column) {
                    Some(Cell::Works) => write!(out, " works |"),
                    Some(Cell::Fails(_)) => write!(out, " fails |"),
                    None => write!(out, " |"),
                };
            }
            out.push('\n');
        }
        out
    }
}
