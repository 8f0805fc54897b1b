//! `file_contexts`: patterns of paths, kinds of files, and the labels of both. selabel_file(5).

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use regex::bytes::Regex;
use tree::Kind;

use crate::Sources;
use crate::pattern::{PatternError, compile, literal, literal_prefix};
use crate::substitution::Substitutions;

/// Lines of all files together. Debian's policy has 5,900.
const MAX_SPECS: usize = 1 << 17;
/// Patterns that are compiled, large ones counted by their memory: up to half a gigabyte. All of Debian's are fewer.
const MAX_COMPILED: usize = 1 << 13;
/// Directories by which patterns are sorted: `/usr/lib/systemd` in `/usr/lib/systemd/system(/.*)?`.
const DEPTH: usize = 3;
/// What stands in place of a label where no label is to be written.
const NONE: &[u8] = b"<<none>>";

/// Why a text is no `file_contexts`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ContextsError {
    #[error("{file}: line {line}: {problem}")]
    Line { file: String, line: usize, problem: &'static str },
    #[error("{file}: line {line}: {text}: {source}")]
    Pattern { file: String, line: usize, text: String, source: PatternError },
    #[error("{0}: has more than {MAX_SPECS} lines")]
    TooMany(String),
    #[error("{0}: the patterns that these files may match take more memory than {MAX_COMPILED} usual ones")]
    TooLarge(String),
}

/// A kind of files that a line may be restricted to. The letters are those of ls(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Any,
    Only(u8),
}

impl FileKind {
    fn parse(word: &[u8]) -> Option<FileKind> {
        match word {
            [b'-', letter @ (b'-' | b'd' | b'l' | b'c' | b'b' | b'p' | b's')] => {
                Some(FileKind::Only(*letter))
            }
            _ => None,
        }
    }

    fn takes(self, kind: &Kind) -> bool {
        let letter = match kind {
            Kind::File(_) => b'-',
            Kind::Dir => b'd',
            Kind::Symlink(_) => b'l',
            Kind::CharDevice { .. } => b'c',
            Kind::BlockDevice { .. } => b'b',
            Kind::Fifo => b'p',
            Kind::Socket => b's',
        };
        self == FileKind::Any || self == FileKind::Only(letter)
    }
}

/// One line.
#[derive(Debug)]
struct Spec {
    pattern: Vec<u8>,
    kind: FileKind,
    /// None for `<<none>>`.
    label: Option<Vec<u8>>,
    /// Its file's place among those of the policy, and its line.
    place: (usize, usize),
    /// What a path has to begin with.
    prefix: Vec<u8>,
    compiled: OnceLock<Regex>,
}

/// All lines of a policy.
#[derive(Debug)]
pub struct FileContexts {
    sources: Sources,
    files: Vec<String>,
    specs: Vec<Spec>,
    /// By the path: lines without a meta character, which come before all others.
    literals: HashMap<Vec<u8>, Vec<usize>>,
    /// By the directories in which all that they match is: lines with a pattern.
    patterns: HashMap<Vec<u8>, Vec<usize>>,
    subs: Substitutions,
    subs_dist: Substitutions,
    /// Of [`MAX_COMPILED`].
    compiled: AtomicUsize,
}

impl FileContexts {
    /// Reads the lines.
    ///
    /// # Errors
    /// A line has another form. Patterns are compiled when a path may match them.
    pub fn new(sources: Sources) -> Result<FileContexts, ContextsError> {
        let Sources { name, main, homedirs, local, subs, subs_dist } = &sources;
        let mut out = FileContexts {
            sources: Sources::default(),
            files: Vec::new(),
            specs: Vec::new(),
            literals: HashMap::new(),
            patterns: HashMap::new(),
            subs: Substitutions::parse(subs),
            subs_dist: Substitutions::parse(subs_dist),
            compiled: AtomicUsize::new(0),
        };
        // What comes later has more weight.
        for (ending, text) in [("", main), (".homedirs", homedirs), (".local", local)] {
            out.add(format!("{name}{ending}"), text)?;
        }
        out.sources = sources;
        Ok(out)
    }

    /// What it was made of.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    fn add(&mut self, file: String, text: &[u8]) -> Result<(), ContextsError> {
        for (i, line) in text.split(|b| *b == b'\n').enumerate() {
            let place = (self.files.len(), i + 1);
            let words = line.split(is_space).filter(|word| !word.is_empty());
            let words: Vec<&[u8]> = words.take(3).collect();
            let error = |problem| ContextsError::Line { file: file.clone(), line: i + 1, problem };
            let (pattern, kind, label) = match words.as_slice() {
                [] => continue,
                [first, ..] if first.starts_with(b"#") => continue,
                [_] => return Err(error("expected a path, a label, and a kind between them if it has one")),
                [pattern, label] => (*pattern, FileKind::Any, *label),
                [pattern, kind, label, ..] => {
                    let kind = FileKind::parse(kind);
                    (*pattern, kind.ok_or_else(|| error("expected --, -d, -l, -c, -b, -p or -s"))?, *label)
                }
            };
            if !line.is_ascii() || label.contains(&0) || pattern.contains(&0) {
                return Err(error("has a character that isn't ASCII"));
            }
            if self.specs.len() == MAX_SPECS {
                return Err(ContextsError::TooMany(file));
            }
            let index = self.specs.len();
            let prefix = match literal(pattern) {
                Some(path) => {
                    self.literals.entry(path.clone()).or_default().push(index);
                    path
                }
                None => {
                    let prefix = literal_prefix(pattern);
                    self.patterns
                        .entry(directories(&prefix).last().unwrap_or_default().to_vec())
                        .or_default()
                        .push(index);
                    prefix
                }
            };
            let label = (label != NONE).then(|| label.to_vec());
            let compiled = OnceLock::new();
            self.specs.push(Spec { pattern: pattern.to_vec(), kind, label, place, prefix, compiled });
        }
        self.files.push(file);
        Ok(())
    }

    /// The label of a file at an absolute path, without a NUL behind it; none if the policy has none, or writes none.
    ///
    /// # Errors
    /// A pattern that the path may match isn't supported.
    pub fn lookup(&self, path: &[u8], kind: &Kind) -> Result<Option<&[u8]>, ContextsError> {
        let local = self.subs.apply(path);
        let path = local.as_deref().unwrap_or(path);
        let distribution = self.subs_dist.apply(path);
        let path = distribution.as_deref().unwrap_or(path);
        let takes = |i: &&usize| self.specs[**i].kind.takes(kind);
        if let Some(i) = self.literals.get(path).and_then(|found| found.iter().rev().find(takes)) {
            return Ok(self.specs[*i].label.as_deref());
        }
        let by_directory = directories(path).filter_map(|dir| self.patterns.get(dir));
        let mut candidates: Vec<usize> = by_directory.flatten().copied().collect();
        // The last line that matches counts.
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        for spec in candidates.into_iter().map(|i| &self.specs[i]) {
            if spec.kind.takes(kind) && path.starts_with(&spec.prefix) && self.regex(spec)?.is_match(path) {
                return Ok(spec.label.as_deref());
            }
        }
        Ok(None)
    }

    fn regex<'a>(&self, spec: &'a Spec) -> Result<&'a Regex, ContextsError> {
        if let Some(regex) = spec.compiled.get() {
            return Ok(regex);
        }
        let file = || self.files.get(spec.place.0).cloned().unwrap_or_default();
        let (regex, count) = compile(&spec.pattern).map_err(|source| ContextsError::Pattern {
            file: file(),
            line: spec.place.1,
            text: tree::escape(&spec.pattern),
            source,
        })?;
        if self.compiled.fetch_add(count, Ordering::Relaxed) + count > MAX_COMPILED {
            return Err(ContextsError::TooLarge(file()));
        }
        Ok(spec.compiled.get_or_init(|| regex))
    }
}

/// isspace(3) of the C locale.
fn is_space(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || *byte == 0x0b
}

/// The directories in which what begins so is, the outermost first: the root, which is nothing, `/usr` and `/usr/lib` of
/// `/usr/lib/x`.
fn directories(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i);
    // The first slash ends nothing.
    std::iter::once(&path[..0]).chain(ends.skip(1).take(DEPTH).map(|end| &path[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts(main: &str) -> FileContexts {
        let sources = Sources { name: "fc".to_owned(), main: main.into(), ..Sources::default() };
        FileContexts::new(sources).unwrap()
    }

    fn show(contexts: &FileContexts, path: &str, kind: &Kind) -> String {
        let label = contexts.lookup(path.as_bytes(), kind).unwrap();
        label.map_or_else(|| "-".to_owned(), |label| String::from_utf8(label.to_vec()).unwrap())
    }

    #[test]
    fn the_last_line_that_matches_counts() {
        let all = contexts(
            "/.*  root\n\
             # comment\n\
             /usr/.*\tusr\n\
             /usr/bin/x exact\n\
             /usr/bin/.* -- file\n\
             /usr/bin/.* -d dir\n\
             /usr/lib/a/b/c/d(/.*)? deep\n\
             /usr/li.* early\n\
             /usr/lost\\+found/.* <<none>>\n\
             /usr/lost\\+found -d <<none>>",
        );
        let file = Kind::File(tree::Content::from(""));
        for (path, kind, expected) in [
            ("/", &Kind::Dir, "root"),
            ("/usr", &Kind::Dir, "root"),
            ("/usr/a", &file, "usr"),
            // Not the last, but exact.
            ("/usr/bin/x", &file, "exact"),
            ("/usr/bin/y", &file, "file"),
            ("/usr/bin/y", &Kind::Dir, "dir"),
            ("/usr/bin/y", &Kind::Fifo, "usr"),
            // A later line of an outer directory.
            ("/usr/lib/a/b/c/d/e", &file, "early"),
            ("/usr/lost+found/x", &file, "-"),
            ("/usr/lost+found", &Kind::Dir, "-"),
            ("/usr/lost+found", &file, "usr"),
        ] {
            assert_eq!(show(&all, path, kind), expected, "{path}");
        }
        assert_eq!(show(&contexts("/usr/.* x"), "/opt/x", &file), "-");
    }

    #[test]
    fn other_files_have_more_weight() {
        let sources = Sources {
            name: "fc".to_owned(),
            main: b"/usr/bin/a main\n/usr/.* main\n/usr/lib/.* lib\n".to_vec(),
            homedirs: b"/usr/h.* homedirs\n".to_vec(),
            local: b"/usr/bin/a local\n/usr/ha.* local\n".to_vec(),
            subs: b"/opt/x /usr/local/y\n".to_vec(),
            subs_dist: b"/usr/local /usr/lib\n".to_vec(),
        };
        let all = FileContexts::new(sources).unwrap();
        let shown = ["/usr/bin/a", "/usr/hb", "/usr/hab", "/usr/local/z", "/opt/x/z", "/opt/y"]
            .map(|path| show(&all, path, &Kind::Dir));
        assert_eq!(shown, ["local", "homedirs", "local", "lib", "lib", "-"]);
    }

    #[test]
    fn patterns_take_no_more_memory_than_they_may() {
        // Each is near the limit for one, and all may match this path.
        let lines: String = (0..500).map(|i| format!("/usr/(x{{4000}}|{i})y t\n")).collect();
        let error = contexts(&lines).lookup(b"/usr/x", &Kind::Dir).unwrap_err().to_string();
        assert!(error.starts_with("fc: the patterns that these files may match take more memory"), "{error}");
    }

    #[test]
    fn broken_lines_are_named() {
        let error = |text: &str| {
            let sources = Sources { name: "fc".to_owned(), local: text.into(), ..Sources::default() };
            let found = FileContexts::new(sources).and_then(|c| c.lookup(b"/usr/x", &Kind::Dir).map(drop));
            found.map_err(|e| e.to_string()).err().unwrap_or_default()
        };
        assert_eq!(
            error("\n/usr"),
            "fc.local: line 2: expected a path, a label, and a kind between them if it has one"
        );
        assert_eq!(error("/usr -x y"), "fc.local: line 1: expected --, -d, -l, -c, -b, -p or -s");
        assert_eq!(error("/usr/ä y"), "fc.local: line 1: has a character that isn't ASCII");
        assert_eq!(
            error("/usr/(?=x).* y"),
            "fc.local: line 1: /usr/(?=x).*: pattern has look-around, which isn't supported"
        );
        // Nothing of this tree can match it.
        assert_eq!(error("/var/(?=x).* y"), "");
    }
}
