//! The programs of the matrix: what is taken out of a root, how it is run, and what it has to say.

use std::fs;

use anyhow::{Context, Result};

use super::{Form, Root};

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A script of bash's, with dash as its child; on Alpine a script of busybox's.
    Shell,
    /// A page over TLS by curl, on Alpine by busybox's wget with ssl_client; and none from whom it doesn't trust.
    Tls,
    /// json, sqlite3, ctypes, ssl and others, with their folder.
    Python,
    /// POSIX, List::Util, Encode and others, with their folders.
    Perl,
    /// A Go program with C in it.
    Go,
    /// A Rust program with threads.
    Rust,
    /// A C++ program with threads, exceptions and iconv; for musl one of C.
    Cpp,
}

/// In the order of the table.
pub const ALL: [Kind; 7] =
    [Kind::Shell, Kind::Tls, Kind::Python, Kind::Perl, Kind::Go, Kind::Rust, Kind::Cpp];

/// A program of a root.
#[derive(Debug)]
pub struct Job {
    /// PATHs for flix.
    pub items: Vec<String>,
    /// Its options.
    pub options: Vec<&'static str>,
    /// How it is run where the extension is merged. `$PAGE` is a page over TLS, its authority is /tmp/ca.crt.
    pub argv: Vec<String>,
    /// How it is run in its own root.
    pub at_home: Vec<String>,
    /// What it prints.
    pub says: &'static str,
}

impl Kind {
    /// Its name in the names of tests and in the table's head.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Shell => "shell",
            Kind::Tls => "curl",
            Kind::Python => "python3",
            Kind::Perl => "perl",
            Kind::Go => "go",
            Kind::Rust => "rust",
            Kind::Cpp => "c++",
        }
    }
}

const SHELL_SAYS: &str = "word one\nword two\nthen c\ndash reads\ntrapped\n";
const ASH: &str =
    "set -- one two; for w; do echo word $w; done | while read -r l; do echo \"$l\"; done; echo $((6 * 7))";
const ASH_SAYS: &str = "word one\nword two\n42\n";
const TLS: &str =
    "curl -sS --cacert /tmp/ca.crt $PAGE; curl -s --cacert /tmp/other.crt $PAGE || echo untrusted $?";
const TLS_SAYS: &str = "a page over TLS\nuntrusted 60\n";
// By its path: to a busybox that is the shell, its own name is one of its own commands. In the image it is in /bin.
const WGET: &str = "export PATH=/usr/bin:/bin SSL_CERT_FILE=/tmp/ca.crt; b=/usr/bin/busybox; [ -x $b ] || b=/bin/busybox; \
    $b wget -q -O - $PAGE";
const WGET_SAYS: &str = "a page over TLS\n";
const PYTHON_SAYS: &str = "json 2\nsqlite 42\nstrlen 5\nzlib 1000\nsha256 ba7816bf 0.125\nidna xn--bcher-kva b'\\xe9'\nthread\n\
                           a page over TLS\nuntrusted True\n";
const PERL_SAYS: &str = "floor 2 1970\nsum 10 120\nencode 3\nsha256 ba7816bf\nclone 2\nlocalhost 127.0.0.1\n";
const GO_SAYS: &str =
    "callback 42 3\ngoroutines [0 1 4 9 16 25 36 49]\nuser root\nlocalhost 127.0.0.1\nrecovered true\n";
const RUST_SAYS: &str = "threads 36 1\ncaught true\nlocalhost 127.0.0.1\n";
const CPP_SAYS: &str =
    "caught odd 1\neven 2\ncaught odd 3\neven 4\nregex a-b- own 1\nlatin 3\njapanese 2\nlocalhost 4\n";
const C_SAYS: &str = "threads 20 1\nlatin 2\nlocalhost 4\n";

impl Root {
    /// A program of this root.
    ///
    /// # Errors
    /// The root lacks what it is said to have.
    pub fn job(&self, kind: Kind) -> Result<Job> {
        match self.form {
            Form::Musl => Ok(musl(kind)),
            Form::Nix => self.nix(kind),
            Form::Usual => self.usual(kind),
        }
    }

    fn usual(&self, kind: Kind) -> Result<Job> {
        Ok(match kind {
            Kind::Shell => {
                job(&["/usr/bin/matrix-sh", "/bin/bash", "/bin/dash"], &["/usr/bin/matrix-sh"], SHELL_SAYS)
            }
            Kind::Tls => by_shell(&["/usr/bin/curl"], TLS, TLS_SAYS),
            Kind::Python => {
                let folder = self.python()?;
                let program = format!("/usr/bin/{folder}");
                let items = ["/usr/bin/python3", &program, &format!("/usr/lib/{folder}")];
                job(&items, &["/usr/bin/python3", "/tmp/matrix.py"], PYTHON_SAYS)
            }
            Kind::Perl => {
                let lib = format!("/usr/{}", self.lib);
                let folders = [format!("{lib}/perl"), format!("{lib}/perl-base"), "/usr/share/perl".into()];
                let items = ["/usr/bin/perl", &folders[0], &folders[1], &folders[2]];
                let job = job(&items, &["/usr/bin/perl", "/tmp/matrix.pl"], PERL_SAYS);
                // perl looks for them where they are, whatever the host has there.
                let options = if self.lib == "lib64" { vec!["--allow", "host-symlink"] } else { Vec::new() };
                Job { options, ..job }
            }
            Kind::Go => job(&["/usr/bin/matrix-go"], &["/usr/bin/matrix-go"], GO_SAYS),
            Kind::Rust => job(&["/usr/bin/matrix-rs"], &["/usr/bin/matrix-rs"], RUST_SAYS),
            Kind::Cpp => {
                let job = job(&["/usr/bin/matrix-cc"], &["/usr/bin/matrix-cc"], CPP_SAYS);
                Job { options: vec!["--charsets"], ..job }
            }
        })
    }

    /// From places of the store to usual ones.
    fn nix(&self, kind: Kind) -> Result<Job> {
        let mut job = self.usual(kind)?;
        let store = |name: &str| {
            let name = format!("-{name}");
            let found = names(&self.dir.join("nix/store"))?.into_iter().find(|n| n.ends_with(&name));
            Ok::<_, anyhow::Error>(format!("/nix/store/{}", found.with_context(|| format!("no {name}"))?))
        };
        let bin = |package: &str, program: &str| {
            Ok::<_, anyhow::Error>(format!("{}/bin/{program}", store(package)?))
        };
        let moved = |from: String, to: &str| format!("{from}:{to}");
        match kind {
            Kind::Shell => {
                job.items = vec![
                    moved(bin("matrix", "matrix-sh")?, "/usr/bin/matrix-sh"),
                    moved(bin("bash", "bash")?, "/usr/bin/bash"),
                    moved(bin("dash", "dash")?, "/usr/bin/dash"),
                ];
            }
            Kind::Tls => job.items = vec![moved(bin("curl", "curl")?, "/usr/bin/curl")],
            Kind::Python => {
                let python = self.python()?;
                job.items = vec![
                    moved(bin("python3", &python)?, "/usr/bin/python3"),
                    moved(format!("{}/lib/{python}", store("python3")?), &format!("/usr/lib/{python}")),
                ];
            }
            Kind::Perl => {
                let lib = format!("{}/lib/perl5", store("perl")?);
                job.items =
                    vec![moved(bin("perl", "perl")?, "/usr/bin/perl"), moved(lib.clone(), "/usr/lib/perl5")];
                // The folders that are compiled in are the store's, as they are in Nix's own perl.
                job.argv = words(&[
                    "/bin/busybox",
                    "env",
                    "PERL5LIB=/usr/lib/perl5",
                    "/usr/bin/perl",
                    "/tmp/matrix.pl",
                ]);
                job.at_home = words(&["perl", "-I", &lib, "/tmp/matrix.pl"]);
                return Ok(job);
            }
            Kind::Go | Kind::Rust | Kind::Cpp => {
                let name = job.items[0].trim_start_matches("/usr/bin/").to_owned();
                job.items = vec![moved(bin("matrix", &name)?, &format!("/usr/bin/{name}"))];
            }
        }
        // By PATH, which has the store's folders there.
        if let Some(first) = job.at_home.first_mut() {
            *first = first.trim_start_matches("/usr/bin/").to_owned();
        }
        Ok(job)
    }

    /// `python3.11`.
    fn python(&self) -> Result<String> {
        let lib = match self.form {
            Form::Nix => {
                let store = self.dir.join("nix/store");
                let python = names(&store)?.into_iter().find(|n| n.ends_with("-python3"));
                store.join(python.context("no python3 in the store")?).join("lib")
            }
            _ => self.dir.join("usr/lib"),
        };
        let found = names(&lib)?.into_iter().find(|n| n.starts_with("python3."));
        found.with_context(|| format!("no python3 in {lib:?}"))
    }
}

fn musl(kind: Kind) -> Job {
    match kind {
        Kind::Shell => {
            let argv = ["/usr/bin/busybox", "sh", "-c", ASH];
            let at_home = words(&["/bin/busybox", "sh", "-c", ASH]);
            Job { at_home, ..job(&["/bin/busybox:/usr/bin/busybox"], &argv, ASH_SAYS) }
        }
        Kind::Tls => by_shell(&["/bin/busybox:/usr/bin/busybox", "/usr/bin/ssl_client"], WGET, WGET_SAYS),
        _ => job(&["/usr/bin/matrix-c"], &["/usr/bin/matrix-c"], C_SAYS),
    }
}

fn job(items: &[&str], argv: &[&str], says: &'static str) -> Job {
    Job { items: words(items), options: Vec::new(), argv: words(argv), at_home: words(argv), says }
}

/// By the host's own shell, in its own root by the root's.
fn by_shell(items: &[&str], script: &str, says: &'static str) -> Job {
    let at_home = words(&["sh", "-c", script]);
    Job { at_home, ..job(items, &["/bin/busybox", "sh", "-c", script], says) }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|w| (*w).to_owned()).collect()
}

fn names(dir: &std::path::Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("{dir:?}"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
