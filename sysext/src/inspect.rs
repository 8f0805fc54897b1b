//! What is in an image: where it merges, what it starts, how large it is, what its programs take from the host.

use std::fmt::Write as _;

use crate::ExtensionName;
use crate::extension::unit_programs;
use serde::Serialize;
use tree::{ContentError, Kind, Tree};

use crate::lint::{Need, Needs, release_file};
use image::ImageContents;

/// Files that are listed as the largest.
const LARGEST: usize = 5;

/// The report on an image. Can be serialised as JSON.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    /// The name under which it merges: its file's.
    pub name: String,
    /// Its file system.
    pub format: String,
    /// Bytes of the image; 0 for a directory.
    pub size: u64,
    /// Partitions of a disk image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<String>,
    /// The release file's fields; none if there is no such file.
    pub release: Option<std::collections::BTreeMap<String, String>>,
    /// Number of files that aren't directories.
    pub files: usize,
    /// Bytes of all files.
    pub content: u64,
    /// Bytes below each directory right in /usr and /opt.
    pub directories: std::collections::BTreeMap<String, u64>,
    /// The largest files.
    pub largest: Vec<File>,
    /// Units and drop-ins.
    pub units: Vec<String>,
    /// ELF files.
    pub programs: Vec<Program>,
    /// Problems that kept parts of the report from being made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct File {
    /// Where.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// An ELF file.
#[derive(Debug, Clone, Serialize)]
pub struct Program {
    /// Where.
    pub path: String,
    /// What: `static program`, `program`, `library`.
    pub kind: &'static str,
    /// For which machine.
    pub architecture: String,
    /// The loader and libraries that the host has to have.
    pub needs: Vec<String>,
}

impl Inspection {
    /// Looks at an image that merges as `name`.
    ///
    /// # Errors
    /// Content can't be read.
    pub fn new(contents: &ImageContents, name: &ExtensionName) -> Result<Inspection, ContentError> {
        let tree = &contents.tree;
        let release = release_file::find(tree, name)?.map(|file| file.fields);
        let mut notes = contents.notes.clone();
        if release.is_none() {
            let names = release_file::names(tree);
            notes.push(match names.as_slice() {
                [] => "no release file: this is no extension".to_owned(),
                names => format!("no release file for {name}, only for {}", names.join(", ")),
            });
        }
        let (files, content, directories, largest) = sizes(tree);
        let needs = Needs::of(tree);
        notes.extend(needs.broken.iter().map(|(path, why)| format!("{path}: {why}")));
        let program = |(path, need): (&tree::TreePath, &Need)| Program {
            path: path.to_string(),
            kind: need.kind,
            architecture: need.machine.to_string(),
            needs: need.loader.iter().chain(&need.libraries).cloned().collect(),
        };
        Ok(Inspection {
            name: name.to_string(),
            format: contents.kind.to_string(),
            size: contents.size,
            partitions: contents.partitions.clone(),
            release,
            files,
            content,
            directories,
            largest,
            units: tree
                .iter()
                .filter(|(p, n)| !n.is_dir() && unit_programs::is_unit(p))
                .map(|(p, _)| p.to_string())
                .collect(),
            programs: needs.files.iter().map(program).collect(),
            notes,
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let disk = if self.partitions.is_empty() {
            String::new()
        } else {
            format!(" on a disk of {}", self.partitions.join(", "))
        };
        let size = if self.size == 0 { String::new() } else { format!(", {}", bytes(self.size)) };
        let _ = writeln!(out, "{}: {}{disk}{size}", self.name, self.format);
        for (key, value) in self.release.iter().flatten() {
            let _ = writeln!(out, "  {key}={value}");
        }
        let _ = writeln!(out, "{} files, {}", self.files, bytes(self.content));
        for (dir, size) in &self.directories {
            let _ = writeln!(out, "  {:>10}  {dir}", bytes(*size));
        }
        section(
            &mut out,
            "Largest files",
            self.largest.iter().map(|f| format!("{:>10}  {}", bytes(f.size), f.path)),
        );
        section(&mut out, "Units", self.units.iter().cloned());
        let program = |p: &Program| {
            let needs = match p.needs.as_slice() {
                [] => String::new(),
                needs => format!(", needs {} of the host", needs.join(", ")),
            };
            format!("{}: {}, {}{needs}", p.path, p.architecture, p.kind)
        };
        section(&mut out, "Programs and libraries", self.programs.iter().map(program));
        section(&mut out, "Notes", self.notes.iter().cloned());
        out
    }
}

fn section(out: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    for (i, line) in lines.enumerate() {
        if i == 0 {
            let _ = writeln!(out, "{title}:");
        }
        let _ = writeln!(out, "  {line}");
    }
}

type Sizes = (usize, u64, std::collections::BTreeMap<String, u64>, Vec<File>);

/// Hard links count once.
fn sizes(tree: &Tree) -> Sizes {
    let mut seen = std::collections::BTreeSet::new();
    let (mut files, mut content) = (0, 0u64);
    let mut directories = std::collections::BTreeMap::new();
    let mut all = Vec::new();
    for (path, ino, node) in tree.iter_inodes() {
        if node.is_dir() {
            continue;
        }
        files += 1;
        let Kind::File(c) = &node.kind else { continue };
        if !seen.insert(ino) {
            continue;
        }
        content = content.saturating_add(c.len());
        if let Some(dir) = path.ancestors_from_root().nth(2).filter(|d| d != path) {
            let sum: &mut u64 = directories.entry(dir.to_string()).or_default();
            *sum = sum.saturating_add(c.len());
        }
        all.push(File { path: path.to_string(), size: c.len() });
    }
    all.sort_by(|a, b| (b.size, &a.path).cmp(&(a.size, &b.path)));
    all.truncate(LARGEST);
    (files, content, directories, all)
}

/// With a unit: `12.3 MiB`.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use tree::{Meta, Node};

    use super::*;

    #[test]
    fn an_image_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = Tree::default();
        let mut add = |path: &str, text: &[u8]| {
            tree.insert_all(path.parse().unwrap(), Node::file(0o644, text), &Meta::dir()).unwrap();
        };
        add("/usr/lib/extension-release.d/extension-release.x", b"ID=_any\nARCHITECTURE=arm64\n");
        add("/usr/lib/systemd/system/x.service", b"[Service]\nExecStart=/usr/bin/x\n");
        add("/usr/bin/x", &[b'#'; 3000]);
        add("/usr/bin/cut", b"\x7fELF and nothing more of it");
        std::fs::create_dir(dir.path().join("x")).unwrap();
        let _report = tree.write_dir(&dir.path().join("x"), &tree::WriteOptions::for_caller()).unwrap();
        let cache = store::Cache::open(&dir.path().join("cache")).unwrap();
        let opened = image::read(&dir.path().join("x"), &cache).unwrap();
        let told = Inspection::new(&opened, &"x".parse().unwrap()).unwrap();
        insta::assert_snapshot!(told.text());
        let other = Inspection::new(&opened, &"y".parse().unwrap()).unwrap();
        assert_eq!(other.notes[0], "no release file for y, only for x");
    }

    #[test]
    fn sizes_with_units() {
        let all = [0, 1023, 1024, 1_500_000, u64::MAX].map(bytes);
        assert_eq!(all, ["0 B", "1023 B", "1.0 KiB", "1.4 MiB", "16777216.0 TiB"]);
    }
}
