//! From names of packages to their files.

use std::collections::BTreeSet;
use std::rc::Rc;

use flix::plan::Selection;
use packages::base::{is_base, is_often};
use packages::{Closure, ClosureError, Database, DatabaseError, Package};
use sysext::extension::HostLibrary;
use sysext::request::home;
use tree::{Event, Events, StaticPath, Tree, TreePath, list_some};

use crate::args::{PACKAGE, PackageArgs};
use crate::lazy_database::LazyDatabase;

/// Most names shown in a note.
const NAMED: usize = 12;

/// Why a package can't be included.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PackagesError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Closure(#[from] ClosureError),
    /// A file that may be a key can't be read.
    #[error(transparent)]
    Services(#[from] services::ServicesError),
    /// Nothing says what belongs to a package.
    #[error("{PACKAGE}{name}: the image has no package database")]
    NoDatabase {
        /// The first package asked for.
        name: String,
    },
}

/// The names that the image lacks, as typed.
pub(crate) fn missing(tree: &Tree, names: &[String]) -> Result<Vec<String>, DatabaseError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let database = Database::read(tree)?;
    let has = |name: &String| database.as_ref().is_some_and(|d| d.package(plain(name)).is_some());
    Ok(names.iter().filter(|n| !has(n)).cloned().collect())
}

/// The image's package database, if packages are named.
///
/// # Errors
/// There is none, or it can't be read.
pub(crate) fn database_of(
    names: &[String],
    tree: &Tree,
    database: &LazyDatabase,
) -> Result<Option<Rc<Database>>, PackagesError> {
    let Some(first) = names.first() else { return Ok(None) };
    let database = database.get(tree)?;
    database.map(Some).ok_or_else(|| PackagesError::NoDatabase { name: first.clone() })
}

/// The files of packages that programs use: of those that are named, and of those that they depend on as far as not every
/// host has them. Libraries of the latter are found by what loads them.
///
/// # Errors
/// There is no database, or a package isn't in it.
pub(crate) fn select(
    names: &[String],
    args: &PackageArgs,
    tree: &Tree,
    database: &LazyDatabase,
    events: &dyn Events,
) -> Result<Vec<Selection>, PackagesError> {
    let Some(database) = database_of(names, tree, database)? else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for name in names {
        let closure = database.closure(&[plain(name)])?;
        let text = format!("{PACKAGE}{name}");
        let mut paths: BTreeSet<TreePath> = BTreeSet::new();
        for package in &closure.named {
            paths.extend(package.runtime_files(&args.locale).cloned());
        }
        if args.depends() {
            let mut included = Vec::new();
            for package in &closure.depends {
                let before = paths.len();
                let files = package.runtime_files(&args.locale).filter(|f| !is_library(f));
                paths.extend(files.cloned());
                if paths.len() > before {
                    included.push(package.name.as_str());
                }
            }
            report(&text, names, &included, &closure, events);
        }
        let depends = if args.depends() { closure.depends.as_slice() } else { &[] };
        let included: Vec<&Package> = closure.named.iter().chain(depends).copied().collect();
        warn_of_compilers(&text, &included, args, tree, events);
        warn_of_init_scripts(&text, &closure.named, depends, tree, events);
        out.push(Selection { text, paths });
    }
    Ok(out)
}

/// Warns of compilers, which look for what they link at its own path.
fn warn_of_compilers(
    text: &str,
    packages: &[&Package],
    args: &PackageArgs,
    tree: &Tree,
    events: &dyn Events,
) {
    let mut files = packages.iter().flat_map(|p| p.runtime_files(&args.locale));
    if let Some(script) = files.find(|file| is_library(file) && is_linker_script(tree, file)) {
        let what = format!(
            "{text} includes a compiler, and what it compiles can't be linked: it would look for {script} on the host"
        );
        events.event(Event::Warning(what.into()));
        events.event(Event::Hint("flatwrap runs compilers in the whole image".into()));
    }
}

/// Warns of scripts by which System V's init would start something of the named packages, or of others of the same software
/// (exim4-base), if the image has no unit of the same name.
pub(crate) fn warn_of_init_scripts(
    text: &str,
    named: &[&Package],
    depends: &[&Package],
    tree: &Tree,
    events: &dyn Events,
) {
    fn software(package: &Package) -> &str {
        package.name.split('-').next().unwrap_or_default()
    }
    let parts = depends.iter().filter(|p| named.iter().any(|n| software(n) == software(p)));
    let scripts = named.iter().chain(parts).flat_map(|p| &p.files);
    let is_replaced = |script: &TreePath| {
        let name = script.file_name().unwrap_or_default();
        let name = String::from_utf8_lossy(name.strip_suffix(b".sh").unwrap_or(name)).into_owned();
        let dirs = ["/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system"];
        MASKED.contains(&name.as_str())
            || dirs.iter().any(|dir| tree.resolve(format!("{dir}/{name}.service"), false).is_ok())
    };
    let alone = scripts.filter(|file| file.starts_with(&INIT.path())).filter(|script| !is_replaced(script));
    if let Some(names) = shown(alone) {
        let what = format!("{text} has no unit for {names}, and nothing starts it");
        events.event(Event::Warning(what.into()));
        let hint =
            "--run 'cat > /usr/lib/systemd/system/…' adds a unit to the image, to be added to the PATHs";
        events.event(Event::Hint(hint.into()));
    }
}

/// What hosts with systemd do themselves: Debian's package of systemd masks them.
const MASKED: [&str; 6] = ["cryptdisks", "cryptdisks-early", "hwclock", "rc", "rcS", "x11-common"];

const INIT: StaticPath = StaticPath::new("/etc/init.d");

/// `names` are all packages asked for, `included` those of which more than libraries are taken.
fn report(text: &str, names: &[String], included: &[&str], closure: &Closure<'_>, events: &dyn Events) {
    let (often, hosts): (Vec<&Package>, Vec<&Package>) =
        closure.base.iter().filter(|p| is_base(p)).partition(|p| is_often(p));
    let often = often.into_iter().filter(|p| !names.iter().any(|name| plain(name) == p.name));
    for package in often {
        let name = &package.name;
        let what = format!("{text} depends on {name}, which the leanest hosts lack: {PACKAGE}{name} adds it");
        events.event(Event::Warning(what.into()));
    }
    for (list, what) in [
        (shown(included.iter().copied()), "includes packages that it depends on"),
        (shown(hosts.iter().map(|p| p.name.as_str())), "omits packages that every host has"),
    ] {
        if let Some(list) = list {
            events.event(Event::Note(format!("{text} {what}: {list}").into()));
        }
    }
    if let Some(names) = shown(closure.missing.iter().map(String::as_str)) {
        let text = format!("{text} depends on what isn't installed in the image: {names}");
        events.event(Event::Warning(text.into()));
    }
}

pub(crate) fn shown<T: ToString>(names: impl Iterator<Item = T>) -> Option<String> {
    Some(list_some(names, NAMED)).filter(|text| !text.is_empty())
}

/// In one of the directories in which all programs look for libraries.
fn is_library(file: &TreePath) -> bool {
    home(file, true).as_ref().and_then(HostLibrary::at).is_some()
}

/// What glibc has for linkers in the place of a library. ld(1), "Implicit linker scripts".
fn is_linker_script(tree: &Tree, file: &TreePath) -> bool {
    const BEGIN: &[u8] = b"/* GNU ld script";
    let content = || tree.get(file).and_then(|n| n.content());
    file.as_relative().ends_with(b".so")
        && content().is_some_and(|c| c.head(BEGIN.len()).is_ok_and(|head| head == BEGIN))
}

/// The name of a package without its version or release, as managers write these: `git=1:2.39`, `nginx/bookworm-backports`.
pub(crate) fn plain(name: &str) -> &str {
    &name[..name.find(['=', '<', '>', '~', '/']).unwrap_or(name.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::sync::Mutex;
    use tree::{Meta, Node};

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Events for Lines {
        fn event(&self, event: Event<'_>) {
            if let Event::Note(text) | Event::Warning(text) = event {
                self.0.lock().unwrap().push(text.into_owned());
            }
        }
    }

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: PackageArgs,
    }

    fn image() -> Tree {
        let status = "Package: git\nStatus: install ok installed\nDepends: libz, perl, libc6, gone\n\n\
                      Package: perl\nStatus: install ok installed\n\nPackage: libz\nStatus: install ok installed\n\n\
                      Package: libc6\nStatus: install ok installed\n";
        let mut tree = Tree::default();
        for (path, text) in [
            ("/var/lib/dpkg/status", status),
            ("/var/lib/dpkg/info/git.list", "/usr/bin/git\n/usr/share/locale/de/git.mo\n"),
            ("/var/lib/dpkg/info/perl.list", "/usr/bin/perl\n"),
            ("/var/lib/dpkg/info/libz.list", "/lib/x86_64-linux-gnu/libz.so.1\n/usr/lib/libz/data\n"),
            ("/usr/bin/git", ""),
            ("/usr/bin/perl", ""),
            ("/usr/share/locale/de/git.mo", ""),
            ("/lib/x86_64-linux-gnu/libz.so.1", ""),
            ("/usr/lib/libz/data", ""),
        ] {
            tree.insert_all(path.parse().unwrap(), Node::file(0o644, text), &Meta::dir()).unwrap();
        }
        tree
    }

    #[test]
    fn files_of_packages() {
        for (words, expected, said) in [
            (&["x"][..], "/usr/bin/git /usr/bin/perl /usr/lib/libz/data", 3),
            (&["x", "--no-depends"], "/usr/bin/git", 0),
            (&["x", "--no-depends", "--locale", "de"], "/usr/bin/git /usr/share/locale/de/git.mo", 0),
        ] {
            let lines = Lines::default();
            let args = Command::parse_from(words).args;
            let found =
                select(&["git=1:2".to_owned()], &args, &image(), &LazyDatabase::default(), &lines).unwrap();
            let paths: Vec<String> = found[0].paths.iter().map(ToString::to_string).collect();
            assert_eq!((found[0].text.as_str(), paths.join(" ").as_str()), ("package:git=1:2", expected));
            assert_eq!(lines.0.lock().unwrap().len(), said, "{:?}", lines.0.lock().unwrap());
        }
        assert_eq!(missing(&image(), &["git".into(), "none".into()]).unwrap(), ["none"]);
    }

    /// What is said of `package:git` in an image in which some files are others.
    fn said(files: &[(&str, &str)], args: &PackageArgs) -> Vec<String> {
        let mut image = image();
        for (path, text) in files {
            let path: TreePath = path.parse().unwrap();
            image.remove(&path);
            image.insert_all(path, Node::file(0o755, *text), &Meta::dir()).unwrap();
        }
        let lines = Lines::default();
        select(&["git".to_owned()], args, &image, &LazyDatabase::default(), &lines).unwrap();
        lines.0.into_inner().unwrap()
    }

    /// slapd and exim4 of Debian 12. Of exim4, another package has the script.
    #[test]
    fn what_only_init_would_start() {
        let status = "Package: git\nStatus: install ok installed\nDepends: git-base, libz\n\n\
                      Package: git-base\nStatus: install ok installed\n\nPackage: libz\nStatus: install ok installed\n";
        let files = [
            ("/var/lib/dpkg/status", status),
            ("/var/lib/dpkg/info/libz.list", "/etc/init.d/procps\n"),
            ("/etc/init.d/procps", "x"),
            (
                "/var/lib/dpkg/info/git.list",
                "/usr/bin/git\n/etc/init.d/git\n/etc/init.d/x11-common\n/etc/init.d/z.sh\n",
            ),
            ("/etc/init.d/git", "x"),
            ("/etc/init.d/x11-common", "x"),
            ("/etc/init.d/z.sh", "x"),
            ("/usr/lib/systemd/system/z.service", "x"),
            ("/var/lib/dpkg/info/git-base.list", "/etc/init.d/git-daemon\n"),
            ("/etc/init.d/git-daemon", "x"),
        ];
        let warned = |words: &[&str]| -> Vec<String> {
            let lines = said(&files, &Command::parse_from(words).args).into_iter();
            lines.filter(|line| line.contains("nothing starts")).collect()
        };
        assert_eq!(
            warned(&["x"]),
            ["package:git has no unit for /etc/init.d/git, /etc/init.d/git-daemon, and nothing starts it"]
        );
        assert_eq!(
            warned(&["x", "--no-depends"]),
            ["package:git has no unit for /etc/init.d/git, and nothing starts it"]
        );
    }

    /// varnish compiles its configuration.
    #[test]
    fn what_compilers_need_has_no_place() {
        let files = [
            ("/var/lib/dpkg/info/libz.list", "/usr/lib/x86_64-linux-gnu/libc.so\n"),
            ("/usr/lib/x86_64-linux-gnu/libc.so", "/* GNU ld script\n*/\nGROUP ( /lib/libc.so.6 )\n"),
        ];
        let warned =
            "package:git includes a compiler, and what it compiles can't be linked: it would look for \
                      /usr/lib/x86_64-linux-gnu/libc.so on the host"
                .to_owned();
        assert!(said(&files, &PackageArgs::default()).contains(&warned));
        assert!(!said(&files, &Command::parse_from(["x", "--no-depends"]).args).contains(&warned));
    }

    #[test]
    fn what_is_said_of_dependencies() {
        let lines = Lines::default();
        select(&["git".to_owned()], &PackageArgs::default(), &image(), &LazyDatabase::default(), &lines)
            .unwrap();
        assert_eq!(
            *lines.0.lock().unwrap(),
            [
                "package:git includes packages that it depends on: libz, perl",
                "package:git omits packages that every host has: libc6",
                "package:git depends on what isn't installed in the image: gone",
            ]
        );
    }
}
