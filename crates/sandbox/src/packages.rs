//! Package managers: which one a root file system has, and the command that installs packages with it.

use std::ffi::OsString;
use std::fmt;

use tree::Tree;

use super::Run;

mod archives;
pub use archives::{ARCHIVES, Archive, LIST, ListError};

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Manager {
    /// Alpine, Wolfi.
    Apk,
    /// Debian, Ubuntu.
    Apt,
    /// Fedora, Enterprise Linux.
    Dnf,
    /// The small images of Enterprise Linux.
    Microdnf,
    /// Enterprise Linux 7.
    Yum,
    /// openSUSE, SLES.
    Zypper,
    /// Arch Linux.
    Pacman,
}

/// In order of preference: an image with several (Fedora's `yum` is `dnf`) uses the first.
const KNOWN: &[(Manager, &[&str])] = &[
    (Manager::Apk, &["/sbin/apk", "/usr/bin/apk"]),
    (Manager::Apt, &["/usr/bin/apt-get"]),
    (Manager::Dnf, &["/usr/bin/dnf", "/usr/bin/dnf5"]),
    (Manager::Microdnf, &["/usr/bin/microdnf"]),
    (Manager::Yum, &["/usr/bin/yum"]),
    (Manager::Zypper, &["/usr/bin/zypper"]),
    (Manager::Pacman, &["/usr/bin/pacman"]),
];

/// The names of packages come after the script as arguments, so nothing of them is ever read by a shell.
///
/// apt: recommended packages stay out, as in container builds (nginx needs none of its own); the lists are dropped, since
/// they are the larger part of what would be stored. `--force-unsafe-io`: a run that is cut off is thrown away as a whole.
const APT: &str = "apt-get -o Acquire::Retries=3 update \
    && apt-get -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install -y --no-install-recommends -- \"$@\" \
    && apt-get clean && rm -rf /var/lib/apt/lists/*";

/// dnf 4 and dnf 5. No `--`: names start with a letter or digit, and not all of these programs know it. What was downloaded
/// and the repositories' metadata (hundreds of megabytes with Fedora) are dropped here and below.
const DNF: &str = "d=$(command -v dnf || command -v dnf5) \
    && $d install -y --setopt=install_weak_deps=False \"$@\" && $d clean all";

const MICRODNF: &str = "microdnf install -y --setopt=install_weak_deps=0 \"$@\" && microdnf clean all";

const YUM: &str = "yum install -y \"$@\" && yum clean all";

/// 102 and 103: installed, and something should be restarted. zypper(8), "Exit codes".
const ZYPPER: &str = "zypper --non-interactive install --no-recommends --auto-agree-with-licenses -- \"$@\" || \
    case $? in 102|103) ;; *) exit $?;; esac; zypper --non-interactive clean --all";

/// pacman 7 locks its downloads in by landlock and another user, neither of which works everywhere inside this sandbox; older
/// ones don't know the option.
const PACMAN: &str = "case $(pacman -S --help) in *--disable-sandbox*) set -- --disable-sandbox -- \"$@\";; \
    *) set -- -- \"$@\";; esac; pacman -Sy --noconfirm --needed \"$@\" \
    && rm -rf /var/cache/pacman/pkg/* /var/lib/pacman/sync/*";

/// Why a package can't be installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum PackageError {
    /// Not a name that the managers take, or one that they would take for an option, a file or a pattern.
    #[error("package {name:?} has {bad:?}, expected letters, digits and {allowed:?}")]
    BadName {
        name: String,
        /// What is wrong in it.
        bad: String,
        /// Signs that may stand behind the first letter or digit.
        allowed: &'static str,
    },
    #[error("package name is empty")]
    Empty,
}

/// Finds the package manager of a root file system.
pub fn detect(tree: &Tree) -> Option<Manager> {
    let is_program = |path: &&str| {
        tree.resolve(path, true)
            .ok()
            .and_then(|r| tree.get(&r.path))
            .is_some_and(|n| n.is_file() && n.meta.mode & 0o111 != 0)
    };
    KNOWN.iter().find(|(_, paths)| paths.iter().any(&is_program)).map(|(m, _)| *m)
}

/// Why a package manager failed, by the last lines that it printed: what it calls an error, and before that what it
/// couldn't download.
pub(super) fn reason(tail: &[String]) -> Option<String> {
    const ERRORS: [&str; 6] =
        ["E: ", "ERROR: ", "Error: ", "error: ", "No match for argument", "No provider of "];
    const DOWNLOADS: [&str; 3] = ["WARNING: ", "W: Failed to fetch", "Errors during downloading"];
    let lines: Vec<&str> = tail.iter().map(|l| l.trim()).collect();
    let find = |words: &[&str]| lines.iter().position(|l| words.iter().any(|w| l.starts_with(w)));
    let mut parts: Vec<String> = Vec::new();
    parts.extend(find(&DOWNLOADS).map(|i| lines[i].to_owned()));
    // dnf and yum name the package before they say "Error".
    if let Some(i) = find(&["No match for argument", "No package "]).or_else(|| find(&ERRORS)) {
        let mut text = lines[i].to_owned();
        // apk: "ERROR: unable to select packages:" and the package on the next line.
        if let Some(next) = lines.get(i + 1).filter(|_| text.ends_with(':')) {
            text = format!("{text} {}", next.trim_end_matches(':'));
        }
        parts.push(text);
    }
    if parts.is_empty() {
        parts.extend(lines.last().map(|l| (*l).to_owned()));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

impl Manager {
    /// The command that installs `packages` and what they depend on, asking nothing.
    ///
    /// # Errors
    /// A name that isn't a package's.
    pub fn install(self, packages: &[String]) -> Result<Run, PackageError> {
        for package in packages {
            self.check(package)?;
        }
        let words: &[&str] = match self {
            Manager::Apk => &["apk", "add", "--no-cache", "--no-progress", "--"],
            Manager::Apt => &["/bin/sh", "-c", APT, "apt"],
            Manager::Dnf => &["/bin/sh", "-c", DNF, "dnf"],
            Manager::Microdnf => &["/bin/sh", "-c", MICRODNF, "microdnf"],
            Manager::Yum => &["/bin/sh", "-c", YUM, "yum"],
            Manager::Zypper => &["/bin/sh", "-c", ZYPPER, "zypper"],
            Manager::Pacman => &["/bin/sh", "-c", PACMAN, "pacman"],
        };
        let argv = words.iter().map(OsString::from).chain(packages.iter().map(OsString::from)).collect();
        let mut run = Run::new(argv);
        run.installs = Some(packages.to_vec());
        run.title = Some(format!("installing {} ({self})", packages.join(", ")));
        Ok(run)
    }

    /// Versions may be given as the manager writes them: `curl=8.5.0-r0`, `tilde=1.1.2*`, `nginx/bookworm-backports`, `libc6:i386`.
    fn check(self, name: &str) -> Result<(), PackageError> {
        let allowed = match self {
            Manager::Apk => "+-._=~<>",
            Manager::Apt => "+-._=~:/",
            _ => "+-._=~:",
        };
        let bad = |bad: &str| PackageError::BadName { name: name.to_owned(), bad: bad.to_owned(), allowed };
        let first = name.chars().next().ok_or(PackageError::Empty)?;
        if !first.is_ascii_alphanumeric() {
            return Err(bad(&format!("{first} as its first sign")));
        }
        // `NAME=1.2*` is any revision of a version. In a name, apt takes a star for a regular expression's.
        let is_revision = |at: usize| self == Manager::Apt && at + 1 == name.len() && name.contains('=');
        let mut rest = name.char_indices().skip(1);
        let is_good = |(at, c): &(usize, char)| {
            c.is_ascii_alphanumeric() || allowed.contains(*c) || *c == '*' && is_revision(*at)
        };
        if let Some((_, c)) = rest.find(|sign| !is_good(sign)) {
            return Err(bad(&c.to_string()));
        }
        // "name-" asks apt to remove the package.
        if name.ends_with('-') {
            return Err(bad("- at its end"));
        }
        Ok(())
    }
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Manager::Apk => "apk",
            Manager::Apt => "apt",
            Manager::Dnf => "dnf",
            Manager::Microdnf => "microdnf",
            Manager::Yum => "yum",
            Manager::Zypper => "zypper",
            Manager::Pacman => "pacman",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Meta, Node};

    fn tree(files: &[(&str, Node)]) -> Tree {
        let mut tree = Tree::default();
        for (path, node) in files {
            tree.insert_all(path.parse().unwrap(), node.clone(), &Meta::dir()).unwrap();
        }
        tree
    }

    #[test]
    fn detection() {
        let program = || Node::file(0o755, "x");
        let rows: &[(&str, Tree, Option<Manager>)] = &[
            ("nothing", Tree::default(), None),
            ("alpine", tree(&[("/sbin/apk", program())]), Some(Manager::Apk)),
            (
                "alpine, /usr merged",
                tree(&[("/usr/bin/apk", program()), ("/sbin", Node::symlink("usr/bin"))]),
                Some(Manager::Apk),
            ),
            ("debian", tree(&[("/usr/bin/apt-get", program())]), Some(Manager::Apt)),
            (
                "fedora",
                tree(&[("/usr/bin/dnf5", program()), ("/usr/bin/yum", Node::symlink("dnf5"))]),
                Some(Manager::Dnf),
            ),
            ("centos 7", tree(&[("/usr/bin/yum", program())]), Some(Manager::Yum)),
            ("dangling", tree(&[("/usr/bin/dnf", Node::symlink("dnf-3"))]), None),
            ("not executable", tree(&[("/usr/bin/zypper", Node::file(0o644, "x"))]), None),
            ("arch", tree(&[("/usr/bin/pacman", program())]), Some(Manager::Pacman)),
        ];
        for (name, tree, expected) in rows {
            assert_eq!(detect(tree), *expected, "{name}");
        }
    }

    #[test]
    fn names() {
        let rows: &[(Manager, &str, bool)] = &[
            (Manager::Apt, "nginx", true),
            (Manager::Apt, "g++", true),
            (Manager::Apt, "libc6:i386", true),
            (Manager::Apt, "nginx/bookworm-backports", true),
            (Manager::Apt, "nginx=1.22.1-9+deb12u1", true),
            (Manager::Apt, "tilde=1.1.2*", true),
            (Manager::Apt, "tilde=1.*.2", false),
            (Manager::Apt, "tilde*", false),
            (Manager::Apk, "tilde=1.1.2*", false),
            (Manager::Apt, "nginx-", false),
            (Manager::Apt, "-oDpkg::Pre-Invoke::=reboot", false),
            (Manager::Apt, "./evil.deb", false),
            (Manager::Apt, "a;reboot", false),
            (Manager::Apt, "a b", false),
            (Manager::Apt, "a*", false),
            (Manager::Apt, "a\nb", false),
            (Manager::Apt, "", false),
            (Manager::Apk, "curl=8.5.0-r0", true),
            (Manager::Apk, "so:libc.musl", false),
            (Manager::Apk, "python3~3.12", true),
            (Manager::Dnf, "https://example.com/x.rpm", false),
            (Manager::Dnf, "@core", false),
            (Manager::Pacman, "gcc-libs", true),
        ];
        for (manager, name, good) in rows {
            assert_eq!(manager.install(&[(*name).to_owned()]).is_ok(), *good, "{manager} {name:?}");
        }
    }

    /// As the programs print it.
    #[test]
    fn reasons() {
        for (said, expected) in [
            (
                &["Reading package lists...", "E: Unable to locate package prel"][..],
                "E: Unable to locate package prel",
            ),
            (
                &[
                    "W: Failed to fetch http://x/InRelease  Could not resolve 'x'",
                    "W: Some index files failed to download.",
                    "E: Unable to locate package jq",
                ],
                "W: Failed to fetch http://x/InRelease  Could not resolve 'x'; E: Unable to locate package jq",
            ),
            (
                &[
                    "ERROR: unable to select packages:",
                    "  prel (no such package):",
                    "    required by: world[prel]",
                ],
                "ERROR: unable to select packages: prel (no such package)",
            ),
            (
                &["No match for argument: prel", "Error: Unable to find a match: prel"],
                "No match for argument: prel",
            ),
            (&["error: target not found: prel"], "error: target not found: prel"),
            (&["No provider of 'prel' found."], "No provider of 'prel' found."),
            (&["something else"], "something else"),
        ] {
            let tail: Vec<String> = said.iter().map(|l| (*l).to_owned()).collect();
            assert_eq!(reason(&tail).unwrap(), expected);
        }
        assert_eq!(reason(&[]), None);
    }

    #[test]
    fn no_name_is_part_of_a_script() {
        for (manager, _) in KNOWN {
            let run = manager.install(&["somepackage".to_owned(), "other".to_owned()]).unwrap();
            let holders: Vec<_> =
                run.argv.iter().filter(|a| a.to_string_lossy().contains("somepackage")).collect();
            assert_eq!(holders, [&OsString::from("somepackage")], "{manager}");
            assert_eq!(run.argv.last(), Some(&OsString::from("other")), "{manager}");
        }
    }

    /// What the scripts call, by functions in the programs' places.
    #[test]
    fn scripts() {
        let quiet = "say() { echo \"$@\"; }; rm() { say rm; }\n";
        let rows: &[(&str, Manager, &str, i32, &[&str])] = &[
            (
                "dnf",
                Manager::Dnf,
                "dnf() { say dnf \"$@\"; }; dnf5() { say dnf5 \"$@\"; }",
                0,
                &["dnf install -y --setopt=install_weak_deps=False a b", "dnf clean all"],
            ),
            (
                "dnf5 alone",
                Manager::Dnf,
                "dnf5() { say dnf5 \"$@\"; }",
                0,
                &["dnf5 install -y --setopt=install_weak_deps=False a b", "dnf5 clean all"],
            ),
            ("dnf fails", Manager::Dnf, "dnf() { say $1; return 7; }", 7, &["install"]),
            (
                "microdnf",
                Manager::Microdnf,
                "microdnf() { say m \"$@\"; }",
                0,
                &["m install -y --setopt=install_weak_deps=0 a b", "m clean all"],
            ),
            ("yum", Manager::Yum, "yum() { say \"$@\"; }", 0, &["install -y a b", "clean all"]),
            (
                "zypper",
                Manager::Zypper,
                "zypper() { say \"$@\"; }",
                0,
                &[
                    "--non-interactive install --no-recommends --auto-agree-with-licenses -- a b",
                    "--non-interactive clean --all",
                ],
            ),
            (
                "restart",
                Manager::Zypper,
                "zypper() { say $2; [ $2 = clean ] || return 103; }",
                0,
                &["install", "clean"],
            ),
            ("zypper fails", Manager::Zypper, "zypper() { say $2; return 104; }", 104, &["install"]),
            (
                "pacman 6",
                Manager::Pacman,
                "pacman() { [ $2 = --help ] || say \"$@\"; }",
                0,
                &["-Sy --noconfirm --needed -- a b", "rm"],
            ),
            (
                "pacman 7",
                Manager::Pacman,
                "pacman() { [ $2 = --help ] && echo '  --disable-sandbox'  || say \"$@\"; }",
                0,
                &["-Sy --noconfirm --needed --disable-sandbox -- a b", "rm"],
            ),
            ("pacman fails", Manager::Pacman, "pacman() { [ $2 = --help ] || return 9; }", 9, &[]),
        ];
        for (name, manager, stubs, status, lines) in rows {
            let argv = manager.install(&["a".to_owned(), "b".to_owned()]).unwrap().argv;
            let mut command = std::process::Command::new(&argv[0]);
            command
                .arg(&argv[1])
                .arg(format!("{quiet}{stubs}\n{}", argv[2].to_string_lossy()))
                .args(&argv[3..]);
            let done = command.env("PATH", "/does/not/exist").output().unwrap();
            let said = String::from_utf8(done.stdout).unwrap();
            assert_eq!(
                (done.status.code(), said.lines().collect::<Vec<_>>()),
                (Some(*status), lines.to_vec()),
                "{name}"
            );
        }
    }
}
