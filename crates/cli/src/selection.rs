//! From the options that select files to the files: runs are traced, lists are read and written.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use flix::plan::Selection;
use oci::Rootfs;
use sandbox::{Run, SandboxError};
use store::Cache;
use sysext::{RequestError, RequestedPath};
use tree::{Event, Events, HostError, PathError, ReadOptions, StaticPath, Tree, TreePath};

use crate::args::{SandboxArgs, SelectionArgs};

/// Bytes of a list of paths. That of a whole Debian desktop has a tenth of it.
const LIST_LIMIT: u64 = 256 << 20;
/// More paths than this in a warning help nobody.
const NAMED: usize = 5;

/// Why there is no selection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub(crate) enum SelectionError {
    /// The command, or the sandbox.
    #[error("trace: {0}")]
    Trace(#[source] SandboxError),
    /// The directory with a command's input.
    #[error(transparent)]
    Files(#[from] HostError),
    #[error("{path:?}: {source}")]
    List { path: PathBuf, source: io::Error },
    /// A line that is no path.
    #[error("{path:?}: line {line}: {source}")]
    Line { path: PathBuf, line: usize, source: LineError },
    /// A file name that takes more than a line.
    #[error("{path:?}: {name} can't be listed, since its name has a line break")]
    LineBreak { path: PathBuf, name: TreePath },
}

/// What is wrong with a line of a list.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LineError {
    #[error("got {0:?}, expected an absolute path")]
    Relative(String),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Pattern(RequestError),
}

/// Removes files that belong to the host from a trace, whatever image the program is from.
pub(crate) type LeaveOut = fn(&Tree, &mut BTreeSet<TreePath>);

/// Everything that the options select, but for what is the host's business among the files of traces.
///
/// # Errors
/// A command that fails, a list that can't be read or written.
pub(crate) fn select(
    args: &SelectionArgs,
    sandbox: &SandboxArgs,
    rootfs: &Rootfs,
    leave_out: LeaveOut,
    cache: &Cache,
    events: &dyn Events,
) -> Result<Vec<Selection>, SelectionError> {
    let mut out = Vec::new();
    let files = match &args.trace_files {
        Some(dir) => Some(Tree::from_dir(dir, &ReadOptions::default())?),
        None => None,
    };
    let runs: Vec<Run> = args.trace.iter().map(|c| sandbox.with_settings(Run::shell(c))).collect();
    let traced = sandbox::trace(rootfs, &runs, files.as_ref(), cache, events);
    for (command, mut paths) in args.trace.iter().zip(traced.map_err(SelectionError::Trace)?) {
        leave_out(&rootfs.tree, &mut paths);
        out.push(Selection { text: format!("--trace '{command}'"), paths });
    }
    for path in &args.paths_from {
        out.push(read(path, &rootfs.tree, events)?);
    }
    if let Some(path) = &args.paths_to {
        write(path, &out)?;
    }
    Ok(out)
}

fn read(path: &Path, tree: &Tree, events: &dyn Events) -> Result<Selection, SelectionError> {
    let list = |source| SelectionError::List { path: path.to_owned(), source };
    let len = std::fs::metadata(path).map_err(list)?.len();
    if len > LIST_LIMIT {
        let text = format!("got {len} bytes, expected at most {LIST_LIMIT}");
        return Err(list(io::Error::new(io::ErrorKind::InvalidData, text)));
    }
    let bytes = std::fs::read(path).map_err(list)?;
    let (mut paths, mut missing) = (BTreeSet::new(), Vec::new());
    for (i, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let found = parse(line, tree);
        match found.map_err(|source| SelectionError::Line { path: path.to_owned(), line: i + 1, source })? {
            Some(found) if found.is_empty() => missing.push(String::from_utf8_lossy(line).trim().to_owned()),
            Some(found) => paths.extend(found),
            None => {}
        }
    }
    if !missing.is_empty() {
        let shown = missing.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if missing.len() > NAMED { ", …" } else { "" };
        let n = missing.len();
        let text = format!("{path:?}: {n} lines match nothing in the image: {shown}{more}");
        events.event(Event::Warning(text.into()));
    }
    Ok(Selection { text: format!("--paths-from {}", path.display()), paths })
}

/// What a line of a list stands for in the tree, which may be nothing. `None`: an empty line or a comment.
fn parse(line: &[u8], tree: &Tree) -> Result<Option<Vec<TreePath>>, LineError> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.trim_ascii().is_empty() || line.trim_ascii_start().starts_with(b"#") {
        return Ok(None);
    }
    if !line.starts_with(b"/") {
        return Err(LineError::Relative(String::from_utf8_lossy(line).into_owned()));
    }
    let path = TreePath::new(line)?;
    if tree.resolve(path.to_absolute(), false).is_ok() {
        return Ok(Some(vec![path]));
    }
    let Ok(text) = std::str::from_utf8(line) else { return Ok(Some(Vec::new())) };
    let pattern = RequestedPath { text: text.to_owned(), source: text.to_owned(), target: None };
    if !pattern.is_pattern() {
        return Ok(Some(Vec::new()));
    }
    match pattern.matches(tree) {
        Ok(found) => Ok(Some(found)),
        Err(RequestError::NoMatch(_)) => Ok(Some(Vec::new())),
        Err(e) => Err(LineError::Pattern(e)),
    }
}

fn write(path: &Path, selections: &[Selection]) -> Result<(), SelectionError> {
    let mut out = String::from("# Paths of the image, for --paths-from. Selected by:\n").into_bytes();
    for selection in selections {
        // A command may have several lines.
        out.extend(format!("#   {}\n", selection.text.replace('\n', "\n#   ")).bytes());
    }
    let paths: BTreeSet<&TreePath> = selections.iter().flat_map(|s| &s.paths).collect();
    for name in paths {
        let line = name.to_absolute();
        if line.contains(&b'\n') || line.ends_with(b"\r") {
            return Err(SelectionError::LineBreak { path: path.to_owned(), name: name.clone() });
        }
        out.extend(line);
        out.push(b'\n');
    }
    std::fs::write(path, out).map_err(|source| SelectionError::List { path: path.to_owned(), source })
}

/// Files and folders that each host has its own of, for programs that run on the host itself.
const HOSTS: [StaticPath; 43] = [
    StaticPath::new("/etc/bash.bashrc"),
    StaticPath::new("/etc/ca-certificates"),
    StaticPath::new("/etc/crypto-policies"),
    StaticPath::new("/etc/environment"),
    StaticPath::new("/etc/fstab"),
    StaticPath::new("/etc/gai.conf"),
    StaticPath::new("/etc/group"),
    StaticPath::new("/etc/gshadow"),
    StaticPath::new("/etc/host.conf"),
    StaticPath::new("/etc/hostname"),
    StaticPath::new("/etc/hosts"),
    StaticPath::new("/etc/hosts.allow"),
    StaticPath::new("/etc/hosts.deny"),
    StaticPath::new("/etc/ld.so.cache"),
    StaticPath::new("/etc/ld.so.conf"),
    StaticPath::new("/etc/ld.so.conf.d"),
    StaticPath::new("/etc/ld.so.preload"),
    StaticPath::new("/etc/locale.alias"),
    StaticPath::new("/etc/locale.conf"),
    StaticPath::new("/etc/localtime"),
    StaticPath::new("/etc/login.defs"),
    StaticPath::new("/etc/machine-id"),
    StaticPath::new("/etc/mtab"),
    StaticPath::new("/etc/nsswitch.conf"),
    StaticPath::new("/etc/os-release"),
    StaticPath::new("/etc/passwd"),
    StaticPath::new("/etc/pki"),
    StaticPath::new("/etc/profile"),
    StaticPath::new("/etc/resolv.conf"),
    StaticPath::new("/etc/selinux"),
    StaticPath::new("/etc/shadow"),
    StaticPath::new("/etc/ssl"),
    StaticPath::new("/etc/timezone"),
    StaticPath::new("/home"),
    StaticPath::new("/root"),
    StaticPath::new("/run"),
    StaticPath::new("/tmp"),
    StaticPath::new("/usr/lib/locale/locale-archive"),
    StaticPath::new("/usr/lib/os-release"),
    StaticPath::new("/usr/lib64/locale/locale-archive"),
    StaticPath::new("/usr/share/ca-certificates"),
    StaticPath::new("/usr/share/zoneinfo"),
    StaticPath::new("/var/tmp"),
];

/// Leaves out what a program of an extension finds on each host: the host's own settings, the folders above all others, and
/// the shell that ran the command, if it was used by no other name than `sh`.
pub(crate) fn leave_out_hosts(tree: &Tree, paths: &mut BTreeSet<TreePath>) {
    paths.retain(|path| !is_hosts(path));
    let real = |path: &TreePath| tree.resolve(path.to_absolute(), true).ok().map(|r| r.path);
    let Ok(shell) = tree.resolve("/bin/sh", true).map(|r| r.path) else { return };
    let mut names = paths.iter().filter(|path| **path != shell && real(path).as_ref() == Some(&shell));
    if shell.file_name() != Some(b"sh") && names.all(|path| path.file_name() == Some(b"sh")) {
        paths.remove(&shell);
    }
}

fn is_hosts(path: &TreePath) -> bool {
    path.depth() < 2 || HOSTS.iter().any(|h| path.starts_with(&h.path()))
}

/// Programs that are looked for by their names when commands are to be traced: the first word of each simple command.
/// Words that a shell knows itself are none, nor are functions of the commands and what only a shell can tell.
pub(crate) fn programs(commands: &[String]) -> Vec<String> {
    let plain = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || "+-._/".contains(c));
    let words = commands.iter().flat_map(|c| c.split(['|', '&', ';', '\n'])).filter_map(|part| {
        let assigned = |word: &&str| word.split_once('=').is_some_and(|(name, _)| plain(&name));
        part.split_whitespace().find(|word| !assigned(word))
    });
    let functions: BTreeSet<&str> =
        commands.iter().flat_map(|c| c.split_whitespace()).filter_map(|w| w.strip_suffix("()")).collect();
    let words = words.filter(|w| plain(w) && !SHELL.contains(w) && !functions.contains(w));
    words.map(str::to_owned).collect()
}

/// Reserved words and built-in commands of sh. POSIX.1-2017, XCU 2.4 and 2.14, 1.6.
const SHELL: [&str; 46] = [
    ".", ":", "alias", "bg", "break", "case", "cd", "command", "continue", "do", "done", "echo", "elif",
    "else", "esac", "eval", "exec", "exit", "export", "false", "fg", "fi", "for", "getopts", "if", "in",
    "jobs", "kill", "local", "printf", "pwd", "read", "readonly", "return", "set", "shift", "test", "then",
    "times", "trap", "true", "ulimit", "umask", "unset", "until", "while",
];

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Meta, Node, Silent};

    fn image() -> Tree {
        let mut tree = Tree::default();
        for path in ["/usr/bin/a", "/usr/share/x/one", "/usr/share/x/deep/two", "/usr/share/[y]"] {
            tree.insert_all(path.parse().unwrap(), Node::file(0o644, "x"), &Meta::dir()).unwrap();
        }
        tree
    }

    #[test]
    fn lines() {
        for (line, expected) in [
            ("", None),
            ("  # a comment", None),
            ("/usr/bin/a", Some("/usr/bin/a")),
            ("/usr/bin/a\r", Some("/usr/bin/a")),
            ("/usr/share/x", Some("/usr/share/x")),
            ("/usr/share/x/*", Some("/usr/share/x/deep /usr/share/x/one")),
            ("/usr/share/x/**", Some("/usr/share/x/deep /usr/share/x/deep/two /usr/share/x/one")),
            ("/usr/share/[y]", Some("/usr/share/[y]")),
            ("/usr/bin/none", Some("")),
            ("/usr/bin/n*", Some("")),
        ] {
            let got = parse(line.as_bytes(), &image()).unwrap();
            let got = got.map(|v| v.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            assert_eq!(got.as_deref(), expected, "{line:?}");
        }
        for (line, expected) in [
            ("usr/bin/a", "got \"usr/bin/a\", expected an absolute path"),
            ("/usr/../a", "path \"/usr/../a\" has a \"..\" component"),
            ("/usr/[", "pattern \"/usr/[\" is wrong"),
        ] {
            let e = parse(line.as_bytes(), &image()).unwrap_err().to_string();
            assert!(e.starts_with(expected), "{e}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list");
        let all: BTreeSet<TreePath> =
            image().iter().map(|(p, _)| p.clone()).filter(|p| !p.is_root()).collect();
        let selection = |text: &str| Selection { text: text.to_owned(), paths: all.clone() };
        write(&list, &[selection("--trace 'a\nb'"), selection("--trace c")]).unwrap();
        let text = std::fs::read_to_string(&list).unwrap();
        assert!(text.starts_with("# Paths of the image, for --paths-from. Selected by:\n#   --trace 'a\n#   b'\n#   --trace c\n/usr\n"), "{text}");
        assert_eq!(read(&list, &image(), &Silent).unwrap().paths, all);
        let odd = Selection { text: String::new(), paths: ["/a\nb".parse().unwrap()].into() };
        let e = write(&list, &[odd]).unwrap_err().to_string();
        assert!(e.ends_with("can't be listed, since its name has a line break"), "{e}");
    }

    #[test]
    fn programs_of_commands() {
        for (command, expected) in [
            ("git --version", "git"),
            ("cd /tmp && HOME=/tmp X= git clone a b | wc -l; true", "git wc"),
            ("if [ -e x ]; then y; fi", ""),
            ("$(echo a) b", ""),
            ("/usr/lib/x/y", "/usr/lib/x/y"),
            ("exec a", ""),
            ("a() { b \"$@\"; }\na c; d", "d"),
        ] {
            assert_eq!(programs(&[command.to_owned()]).join(" "), expected, "{command}");
        }
    }

    #[test]
    fn the_shell_is_the_hosts() {
        let mut tree = image();
        for (path, target) in [("/bin/sh", "busybox"), ("/bin/wget", "busybox")] {
            tree.insert_all(path.parse().unwrap(), Node::symlink(target), &Meta::dir()).unwrap();
        }
        tree.insert("/bin/busybox".parse().unwrap(), Node::file(0o755, "x")).unwrap();
        for (paths, expected) in [
            (&["/bin/busybox", "/bin/sh", "/etc/passwd", "/usr/bin/a"][..], "/bin/sh /usr/bin/a"),
            (&["/bin/busybox", "/bin/sh", "/bin/wget"], "/bin/busybox /bin/sh /bin/wget"),
        ] {
            let mut paths: BTreeSet<TreePath> = paths.iter().map(|p| p.parse().unwrap()).collect();
            leave_out_hosts(&tree, &mut paths);
            let got: Vec<String> = paths.iter().map(ToString::to_string).collect();
            assert_eq!(got.join(" "), expected);
        }
    }

    #[test]
    fn what_is_the_hosts() {
        for (path, expected) in [
            ("/bin", true),
            ("/usr/bin", false),
            ("/etc/ssl/certs/x.pem", true),
            ("/etc/java-17-openjdk/x", false),
            ("/usr/share/zoneinfo/UTC", true),
            ("/usr/share/zoneinfos", false),
        ] {
            assert_eq!(is_hosts(&path.parse().unwrap()), expected, "{path}");
        }
    }
}
