//! From names of packages to all that their programs see in a root of their own.

use std::collections::{BTreeMap, BTreeSet};

use elf::closure::Options;
use flix::plan::Selection;
use packages::{Closure, Database, Package};
use services::{FIRST_START_PROGRAMS, KEY_MAKERS, is_configuration, is_secret};
use sysext::extension::unit_programs::{UNIT_LIMIT, is_unit, programs as unit_programs};
use sysext::request::home;
use tree::{Event, Events, Kind, StaticPath, Tree, TreePath};

use crate::args::{PACKAGE, PackageArgs};
use crate::lazy_database::LazyDatabase;
use crate::package_selection::{PackagesError, database_of, plain, shown, warn_of_init_scripts};

/// Programs that scripts and other programs start without saying so, and the description of a terminal: of the packages that
/// have them, no other depends on these (Debian's essential packages), and yet each relies on them.
const TOOLS: [&str; 20] = [
    "/bin/sh",
    "/bin/bash",
    "/bin/cat",
    "/bin/grep",
    "/bin/gzip",
    "/bin/sed",
    "/bin/tar",
    "/bin/hostname",
    "/usr/bin/awk",
    "/usr/bin/diff",
    "/usr/bin/env",
    "/usr/bin/find",
    "/usr/bin/getent",
    "/usr/bin/id",
    "/usr/bin/logger",
    "/usr/bin/setpriv",
    "/usr/bin/which",
    "/usr/bin/tput",
    "/lib/terminfo/x/xterm",
    "/usr/share/terminfo/x/xterm",
];

/// Bytes of a script's first line. BINPRM_BUF_SIZE, linux/binfmts.h.
const LINE: usize = 256;

/// Libraries that check certificates, by the beginnings of their names.
const TLS_LIBRARIES: [&[u8]; 4] = [b"libssl.so", b"libgnutls.so", b"libmbedtls.so", b"libnss3.so"];

/// Where a script of a package, on which those libraries' packages don't depend, puts the certificates that are trusted.
const CERTIFICATES: [StaticPath; 4] = [
    StaticPath::new("/etc/ca-certificates"),
    StaticPath::new("/etc/pki/ca-trust/extracted"),
    StaticPath::new("/etc/pki/tls/certs"),
    StaticPath::new("/etc/ssl/certs"),
];

/// Where a host's systemd finds units of its system.
const UNITS: StaticPath = StaticPath::new("/usr/lib/systemd/system");

/// What else it, or the host's D-Bus, reads.
const SERVICE_DIRS: [StaticPath; 3] = [
    StaticPath::new("/usr/lib/sysusers.d"),
    StaticPath::new("/usr/lib/tmpfiles.d"),
    StaticPath::new("/usr/share/dbus-1/system.d"),
];

/// Where files that no package owns are of use to programs: what maintainer scripts made.
const MADE: [StaticPath; 6] = [
    StaticPath::new("/bin"),
    StaticPath::new("/etc"),
    StaticPath::new("/lib"),
    StaticPath::new("/opt"),
    StaticPath::new("/sbin"),
    StaticPath::new("/usr"),
];

const ETC: StaticPath = StaticPath::new("/etc");

/// Where each package's directory holds what changes.
const STATE: StaticPath = StaticPath::new("/var/lib");

/// The files of packages and of all that they depend on, the base system included; what is needed only to install packages
/// is left out. What no package owns is included if it belongs to these: links to them, and files beside them.
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
    let plain_names: Vec<&str> = names.iter().map(|n| plain(n)).collect();
    let closure = database.closure(&plain_names)?;
    let text = names.iter().map(|n| format!("{PACKAGE}{n}")).collect::<Vec<_>>().join(" ");
    let mut kept: BTreeMap<(&str, &str), &Package> = BTreeMap::new();
    kept.extend(closure.named.iter().map(|p| (p.key(), *p)));
    if args.depends() {
        kept.extend(closure.depends.iter().chain(&closure.base).map(|p| (p.key(), *p)));
        // Alpine's /bin/sh is a link of a package, and what it leads to belongs to another.
        let files = kept.values().flat_map(|p| &p.files);
        let mut tools: BTreeSet<Vec<u8>> =
            flatwrap::programs(tree, files).iter().filter_map(|program| interpreter(tree, program)).collect();
        tools.extend(TOOLS.iter().map(|tool| tool.as_bytes().to_vec()));
        let found = tools.iter().filter_map(|tool| tree.resolve(tool, true).ok());
        let tools: BTreeSet<&str> = found
            .flat_map(|found| found.links.into_iter().chain([found.path]))
            .filter_map(|path| database.owner(&path))
            .map(|p| p.name.as_str())
            .collect();
        let tools: Vec<&str> = tools.into_iter().collect();
        let base = database.closure(&tools)?;
        kept.extend([&base.named, &base.depends, &base.base].into_iter().flatten().map(|p| (p.key(), *p)));
        if let Some(names) = shown(kept.values().map(|p| p.name.as_str())) {
            let n = kept.len();
            events.event(Event::Note(format!("the private root has {n} packages: {names}").into()));
        }
    }
    if let Some(names) = shown(closure.missing.iter().map(String::as_str)) {
        let text = format!("{text} depends on what isn't installed in the image: {names}");
        events.event(Event::Warning(text.into()));
    }
    let depends = if args.depends() { closure.depends.as_slice() } else { &[] };
    warn_of_init_scripts(&text, &closure.named, depends, tree, events);
    let mut paths: BTreeSet<TreePath> =
        kept.values().flat_map(|p| p.runtime_files(&args.locale)).cloned().collect();
    let selected: Vec<&Package> = kept.into_values().collect();
    paths.extend(made(tree, &database, &selected, &paths)?);
    paths.extend(made_state(tree, &database, &selected));
    if args.depends() {
        paths.extend(libraries(tree, &paths));
    }
    paths.extend(certificates(tree, &paths));
    Ok(vec![Selection { text, paths }])
}

/// The interpreter of a script: Debian's perl-base has one that its packages don't depend on.
fn interpreter(tree: &Tree, program: &TreePath) -> Option<Vec<u8>> {
    let real = tree.resolve(program.to_absolute(), true).ok()?;
    let head = tree.get(&real.path)?.content()?.head(LINE).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|&b| b == b'\n').next()?;
    let mut words = line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
    let first = words.next()?;
    if !first.ends_with(b"/env") {
        return Some(first.to_vec());
    }
    let name = words.find(|w| !w.starts_with(b"-") && !w.contains(&b'='))?;
    Some(crate::root::program(tree, std::str::from_utf8(name).ok()?)?.to_absolute())
}

/// The certificates that the image trusts, if one of the files checks some or leads to them: for hosts that have none.
fn certificates(tree: &Tree, paths: &BTreeSet<TreePath>) -> BTreeSet<TreePath> {
    let folders = CERTIFICATES.map(StaticPath::path);
    let is_there = |path: &TreePath| folders.iter().any(|dir| path.starts_with(dir));
    let uses = |path: &&TreePath| {
        let name = path.file_name().unwrap_or_default();
        let leads = || tree.resolve(path.to_absolute(), true).is_ok_and(|r| is_there(&r.path));
        TLS_LIBRARIES.iter().any(|l| name.starts_with(l)) || leads()
    };
    if !paths.iter().any(|path| uses(&path)) {
        return BTreeSet::new();
    }
    let mut out = BTreeSet::new();
    for (path, node) in tree.iter() {
        let link = node.symlink_target().and_then(|_| tree.resolve(path.to_absolute(), true).ok());
        // Libraries go by links to the folders: OpenSSL's /usr/lib/ssl/certs is another package's.
        if !is_there(path) && !link.as_ref().is_some_and(|found| is_there(&found.path)) {
            continue;
        }
        out.insert(path.clone());
        if let Some(found) = link {
            out.extend(found.links);
            out.insert(found.path);
        }
    }
    out
}

/// Files of /etc that no package owns and that no two hosts may share, but for those that were chosen.
pub(crate) fn secrets(
    tree: &Tree,
    database: &LazyDatabase,
    chosen: &BTreeSet<TreePath>,
) -> Result<BTreeSet<TreePath>, PackagesError> {
    let Some(database) = database.get(tree)? else { return Ok(BTreeSet::new()) };
    let mut out = BTreeSet::new();
    for (path, node) in tree.subtree(&ETC.path()) {
        if node.is_file()
            && !chosen.contains(path)
            && database.owner(path).is_none()
            && is_secret(path, node)?
        {
            out.insert(path.clone());
        }
    }
    Ok(out)
}

/// What no package owns and belongs to the files: links that lead to one of them, and files in the same directory as one, or
/// in a directory below it that has nothing else; links in the packages' directories of /etc. No secrets.
fn made(
    tree: &Tree,
    database: &Database,
    packages: &[&Package],
    paths: &BTreeSet<TreePath>,
) -> Result<BTreeSet<TreePath>, PackagesError> {
    let beside: BTreeSet<TreePath> = paths.iter().filter_map(TreePath::parent).collect();
    let owned: BTreeSet<TreePath> =
        database.packages().flat_map(|p| &p.files).filter_map(TreePath::parent).collect();
    let etc = ETC.path();
    let is_beside = |path: &TreePath| {
        let mut above = std::iter::successors(path.parent(), TreePath::parent);
        above.find(|dir| owned.contains(dir)).is_some_and(|dir| dir.depth() > 0 && beside.contains(&dir))
    };
    let listed: BTreeSet<&TreePath> = packages.iter().flat_map(|p| &p.directories).collect();
    let is_configuration = |path: &TreePath| {
        let mut above = std::iter::successors(path.parent(), TreePath::parent);
        path.starts_with(&etc)
            && is_configuration(path)
            && above.any(|dir| dir.depth() > 1 && listed.contains(&dir))
    };
    let mut out = BTreeSet::new();
    for (path, node) in tree.iter() {
        if !MADE.iter().any(|dir| path.starts_with(&dir.path())) || database.owner(path).is_some() {
            continue;
        }
        match node.kind {
            Kind::Symlink(_) => {
                // Of a service's configuration: those of mods-enabled, or to a key that each host has to have.
                if is_configuration(path) {
                    out.insert(path.clone());
                }
                let Ok(found) = tree.resolve(path.to_absolute(), true) else { continue };
                let is_dir = tree.get(&found.path).is_some_and(tree::Node::is_dir);
                if paths.contains(&found.path) || (is_dir && beside.contains(&found.path)) {
                    out.extend(found.links);
                }
            }
            Kind::File(_) if is_beside(path) && !(path.starts_with(&etc) && is_secret(path, node)?) => {
                out.insert(path.clone());
            }
            _ => {}
        }
    }
    Ok(out)
}

/// What no package owns in directories of packages below /var: what their scripts made there, as TeX's formats. Only what root
/// has and everybody may read: the rest is a service's data, or a key.
fn made_state(tree: &Tree, database: &Database, packages: &[&Package]) -> BTreeSet<TreePath> {
    let owned: BTreeSet<&TreePath> = database.packages().flat_map(|p| &p.directories).collect();
    let selected: BTreeSet<&TreePath> = packages.iter().flat_map(|p| &p.directories).collect();
    let var = STATE.path();
    let mut out = BTreeSet::new();
    for (path, node) in tree.subtree(&var) {
        let is_public = node.meta.uid == 0 && node.meta.mode & 0o004 != 0;
        if node.is_dir() || !is_public || database.owner(path).is_some() {
            continue;
        }
        let above = std::iter::successors(path.parent(), TreePath::parent);
        // Each package lists /var/lib.
        let mut own = above.take_while(|dir| dir.depth() > var.depth());
        if own.find(|dir| owned.contains(dir)).is_some_and(|dir| selected.contains(&dir)) {
            out.insert(path.clone());
        }
    }
    out
}

/// Libraries that the files load and that none of their packages depends on: Debian's mc needs libcom_err, which each Debian
/// has.
fn libraries(tree: &Tree, paths: &BTreeSet<TreePath>) -> BTreeSet<TreePath> {
    let mut resolver = elf::Resolver::new(tree, Options::of_start());
    for path in paths {
        let content = tree.get(path).and_then(tree::Node::content);
        if content.is_some_and(|content| content.head(4).is_ok_and(|head| head == b"\x7fELF")) {
            // What can't be loaded loads nothing.
            let _ = resolver.add_root(path);
        }
    }
    let Ok(closure) = resolver.finish() else { return BTreeSet::new() };
    let found = closure.objects.into_keys().chain(closure.links.into_keys());
    found.filter(|path| !paths.contains(path)).collect()
}

/// The packages of a closure by their distance: those that are named, those that these depend on directly, and so on.
fn by_distance<'p>(closure: &Closure<'p>) -> Vec<Vec<&'p Package>> {
    let mut rest: BTreeMap<&str, Vec<&'p Package>> = BTreeMap::new();
    for package in &closure.depends {
        rest.entry(package.name.as_str()).or_default().push(package);
    }
    let mut out = vec![closure.named.clone()];
    loop {
        let last = out.last().into_iter().flatten();
        let wanted: BTreeSet<&str> =
            last.flat_map(|p| &p.depends).flat_map(|d| &d.alternatives).map(String::as_str).collect();
        let next: Vec<&Package> = wanted.iter().filter_map(|name| rest.remove(name)).flatten().collect();
        if next.is_empty() {
            return out;
        }
        out.push(next);
    }
}

/// The programs for which packages are installed: those of the packages themselves, or, of one that has none
/// (`default-jre-headless`, `postgresql`), those of the nearest that it depends on and of those
/// that begin with its name; and the program with the package's name.
///
/// # Errors
/// There is no database, or a package isn't in it.
pub(crate) fn programs(
    names: &[String],
    tree: &Tree,
    database: &LazyDatabase,
) -> Result<Vec<TreePath>, PackagesError> {
    let Some(database) = database.get(tree)? else { return Ok(Vec::new()) };
    let mut out: BTreeMap<TreePath, TreePath> = BTreeMap::new();
    for name in names.iter().map(|n| plain(n)) {
        let closure = database.closure(&[name])?;
        let of = |packages: &[&Package]| -> Vec<TreePath> {
            packages.iter().flat_map(|p| flatwrap::programs(tree, &p.files)).collect()
        };
        let called = |found: &[TreePath]| {
            crate::root::program(tree, name).filter(|_| !found.iter().any(|p| is_called(p, name)))
        };
        let own = of(&closure.named);
        let called = called(&own);
        let levels = by_distance(&closure);
        let mut found =
            levels.iter().map(|packages| of(packages)).find(|f| !f.is_empty()).unwrap_or_default();
        if own.is_empty() {
            // What has no program is often the head of a family: postgresql has its psql in postgresql-client-common.
            let is_part = |p: &&&Package| p.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
            found.extend(of(&closure.depends.iter().filter(is_part).copied().collect::<Vec<_>>()));
        }
        found.extend(called);
        for path in found {
            // By two names for one place, the first counts.
            if let Some(place) = home(&path, false) {
                out.entry(place).or_insert(path);
            }
        }
    }
    Ok(out.into_values().collect())
}

/// What is shown on the host for services.
#[derive(Debug, Default)]
pub(crate) struct ServiceFiles {
    /// Files and programs, by their paths in the image.
    pub(crate) paths: Vec<TreePath>,
    /// Programs that units start in places where an extension can't show any (`/etc/mysql/debian-start`), and those that would
    /// hide the host's own (`openssl`).
    pub(crate) elsewhere: Vec<TreePath>,
}

/// What the host's systemd reads of packages and of those that they depend on directly: units, and which users and directories
/// it makes for them; if there is neither a unit nor a program of the packages themselves, of the nearest that have a unit. The programs that the units start are shown, too.
///
/// # Errors
/// There is no database, or a package isn't in it.
pub(crate) fn service_files(
    names: &[String],
    tree: &Tree,
    database: &LazyDatabase,
) -> Result<ServiceFiles, PackagesError> {
    let Some(database) = database.get(tree)? else { return Ok(ServiceFiles::default()) };
    let mut out = BTreeSet::new();
    for name in names.iter().map(|n| plain(n)) {
        let closure = database.closure(&[name])?;
        // Nobody has asked for the services of what a program depends on.
        let mut is_enough = closure.named.iter().any(|p| !flatwrap::programs(tree, &p.files).is_empty());
        for (distance, packages) in by_distance(&closure).into_iter().enumerate() {
            if distance > 1 && is_enough {
                break;
            }
            for file in packages.iter().flat_map(|p| &p.files) {
                let Some(place) = home(file, false) else { continue };
                // An alias of a unit would become another unit.
                if !tree.get(file).is_some_and(tree::Node::is_file) {
                    continue;
                }
                let is_system = place.starts_with(&UNITS.path()) && is_unit(&place);
                if is_system || SERVICE_DIRS.iter().any(|dir| place.starts_with(&dir.path())) {
                    is_enough |= is_system;
                    out.insert(file.clone());
                }
            }
        }
    }
    let mut programs = BTreeSet::new();
    let mut key_makers = Vec::new();
    // A host makes with them what the packages' scripts have made in the image: openssh-server has them of openssh-client.
    if out.iter().any(|file| home(file, false).as_ref().is_some_and(is_unit)) {
        let named: Vec<&str> = names.iter().map(|n| plain(n)).collect();
        let closure = database.closure(&named)?;
        let files = closure.named.iter().chain(&closure.depends).flat_map(|p| &p.files);
        let is_one = |p: &&TreePath| {
            p.file_name().is_some_and(|name| FIRST_START_PROGRAMS.iter().any(|one| one.as_bytes() == name))
        };
        programs.extend(flatwrap::programs(tree, files.clone().filter(is_one)));
        let called =
            |name: &str| flatwrap::programs(tree, files.clone().filter(|path| is_called(path, name)));
        for (package, program) in KEY_MAKERS {
            if !called(package).is_empty() {
                key_makers.extend(called(program));
            }
        }
    }
    for file in &out {
        let Ok(found) = tree.resolve(file.to_absolute(), true) else { continue };
        let Some(content) = tree.get(&found.path).and_then(|n| n.content()) else { continue };
        let Some(text) = content.read(UNIT_LIMIT).ok().and_then(|t| String::from_utf8(t).ok()) else {
            continue;
        };
        let starts = unit_programs(&text).into_iter().filter(|e| e.starts).map(|e| e.program);
        let is_there = |path: &TreePath| {
            let real = tree.resolve(path.to_absolute(), true).ok();
            real.and_then(|r| tree.get(&r.path)).is_some_and(|n| n.is_file() && n.meta.mode & 0o111 != 0)
        };
        let places = starts.filter_map(|p| TreePath::new(p).ok());
        programs.extend(places.filter(|p| is_there(p)));
    }
    let (programs, mut elsewhere): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(|p| home(p, false).is_some());
    out.extend(programs);
    elsewhere.extend(key_makers);
    Ok(ServiceFiles { paths: out.into_iter().collect(), elsewhere })
}

fn is_called(path: &TreePath, name: &str) -> bool {
    path.file_name() == Some(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Meta, Node, Silent};

    fn image() -> Tree {
        let status = [
            ("git", "libc6, perl"),
            ("perl", "libc6, adduser"),
            ("libc6", ""),
            ("dash", "libc6"),
            ("vim", ""),
            ("meta", "java"),
            ("metameta", "meta2"),
            ("meta2", "common"),
            ("common", "libc6, metameta-client"),
            ("metameta-client", ""),
            ("java", "libc6"),
            ("adduser", ""),
            ("tool", ""),
            ("perl-base", ""),
        ];
        let status: String = status
            .iter()
            .map(|(name, needs)| {
                format!(
                    "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nDepends: {needs}\n\n"
                )
            })
            .collect();
        let mut tree = Tree::default();
        let mut add = |path: &str, node: Node| {
            tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
        };
        for (path, text) in [
            ("/var/lib/dpkg/status", status.as_str()),
            (
                "/var/lib/dpkg/info/git.list",
                "/etc\n/etc/git\n/var/lib\n/var/lib/git\n/usr/bin/git\n/usr/lib/git/core\n/usr/share/doc/git/x\n",
            ),
            ("/var/lib/dpkg/info/perl.list", "/usr/bin/perl\n/usr/share/perl/x.pm\n"),
            ("/var/lib/dpkg/info/libc6.list", "/usr/lib/libc.so.6\n/etc/ld.so.conf\n"),
            ("/var/lib/dpkg/info/dash.list", "/usr/bin/dash\n"),
            ("/var/lib/dpkg/info/vim.list", "/var/lib\n/var/lib/vim\n/usr/bin/vim.basic\n/usr/share/vim/x\n"),
            ("/var/lib/dpkg/info/java.list", "/usr/lib/jvm/bin/java\n/usr/bin/jar\n"),
            ("/var/lib/dpkg/info/adduser.list", "/usr/sbin/adduser\n"),
            ("/var/lib/dpkg/info/tool.list", "/usr/bin/tool\n/usr/bin/tool2\n"),
            ("/var/lib/dpkg/info/perl-base.list", "/usr/bin/perl5\n"),
            (
                "/var/lib/dpkg/info/common.list",
                "/usr/sbin/commond\n/lib/systemd/system/common.service\n/usr/share/dbus-1/system.d/common.conf\n",
            ),
            (
                "/var/lib/dpkg/info/metameta-client.list",
                "/usr/bin/client\n/usr/bin/ssh-keygen\n/usr/bin/openssl\n/usr/sbin/make-ssl-cert\n",
            ),
            (
                "/lib/systemd/system/common.service",
                "[Service]\nExecStart=/usr/sbin/commond\nExecStartPost=!/etc/common/start\n",
            ),
            ("/usr/share/dbus-1/system.d/common.conf", ""),
            ("/etc/git/made.conf", "unowned, beside"),
            ("/etc/git/made.key", "-----BEGIN PRIVATE KEY-----"),
            ("/etc/keys/git.key", "-----BEGIN PRIVATE KEY-----"),
            ("/usr/share/doc/git/x", ""),
            ("/usr/lib/git/core", ""),
            ("/usr/lib/git/cache/a", "unowned, below"),
            ("/var/lib/git/made/a", "unowned, below"),
            ("/var/lib/vim/made", "unowned, another's"),
            ("/var/lib/made", "unowned, nobody's"),
            ("/usr/share/perl/x.pm", ""),
            ("/usr/share/perl/x.pmc", "unowned, beside"),
            ("/usr/share/vim/x", ""),
            ("/usr/share/vim/tags", "unowned, another's"),
            ("/usr/lib/libc.so.6", ""),
            ("/etc/ld.so.conf", ""),
            ("/etc/ld.so.cache", ""),
        ] {
            add(path, Node::file(0o644, text));
        }
        // A key, and a service's data.
        add("/var/lib/git/made/key", Node::file(0o600, "unowned, below"));
        let mut data = Node::file(0o644, "unowned, below");
        data.meta.uid = 100;
        add("/var/lib/git/made/data", data);
        for program in
            ["/usr/bin/git", "/usr/bin/perl", "/usr/bin/dash", "/usr/bin/vim.basic", "/usr/bin/jar"]
        {
            add(program, Node::file(0o755, ""));
        }
        add("/usr/bin/tool", Node::file(0o755, "#! /usr/bin/perl5 -w\n"));
        add("/usr/bin/tool2", Node::file(0o755, "#!/usr/bin/env -S vim.basic -f\n"));
        add("/usr/bin/perl5", Node::file(0o755, ""));
        add("/usr/lib/jvm/bin/java", Node::file(0o755, ""));
        add("/usr/sbin/adduser", Node::file(0o755, ""));
        add("/usr/sbin/commond", Node::file(0o755, ""));
        add("/etc/common/start", Node::file(0o755, ""));
        add("/usr/bin/client", Node::file(0o755, ""));
        add("/usr/bin/openssl", Node::file(0o755, ""));
        add("/usr/sbin/make-ssl-cert", Node::file(0o755, ""));
        add("/usr/bin/ssh-keygen", Node::file(0o755, ""));
        add("/bin", Node::symlink("usr/bin"));
        add("/usr/bin/sh", Node::symlink("dash"));
        // An applet of busybox, where /sbin is no symlink.
        add("/sbin/applet", Node::symlink("/usr/bin/dash"));
        add("/usr/bin/vi", Node::symlink("vim.basic"));
        add("/usr/lib/git/link", Node::symlink("../libc.so.6"));
        add("/etc/git/private/git.key", Node::symlink("/etc/keys/git.key"));
        add("/etc/rc.d/S01git", Node::symlink("../keys/git.key"));
        tree
    }

    #[test]
    fn what_a_private_root_has() {
        let args = PackageArgs::default();
        let found = select(&["git".to_owned()], &args, &image(), &LazyDatabase::default(), &Silent).unwrap();
        let paths: Vec<String> = found[0].paths.iter().map(ToString::to_string).collect();
        assert_eq!(
            paths.join(" "),
            "/bin /etc/common/start /etc/git/made.conf /etc/git/private/git.key /etc/ld.so.cache /etc/ld.so.conf /sbin/applet /usr/bin/dash /usr/bin/git /usr/bin/perl /usr/bin/sh \
             /usr/lib/git/cache/a /usr/lib/git/core /usr/lib/git/link /usr/lib/libc.so.6 /usr/share/perl/x.pm \
             /usr/share/perl/x.pmc /var/lib/git/made/a"
        );
        // Each host has its own.
        let secrets = secrets(&image(), &LazyDatabase::default(), &found[0].paths).unwrap();
        let secrets: Vec<String> = secrets.iter().map(ToString::to_string).collect();
        assert_eq!(secrets.join(" "), "/etc/git/made.key /etc/keys/git.key");
        let found = select(&["tool".to_owned()], &args, &image(), &LazyDatabase::default(), &Silent).unwrap();
        for path in ["/usr/bin/perl5", "/usr/bin/vim.basic", "/usr/bin/dash"] {
            assert!(found[0].paths.contains(&path.parse().unwrap()), "{path}");
        }
        let e = select(&["none".to_owned()], &args, &image(), &LazyDatabase::default(), &Silent).unwrap_err();
        assert_eq!(e.to_string(), "package none is not installed in the image");
    }

    #[test]
    fn libraries_that_no_package_depends_on() {
        let lab = elf::testing::TestRoot::musl();
        lab.with_musl().shared_library("usr/lib/libtwo.so", "libtwo.so", &[], &[]);
        lab.shared_library("usr/lib/libone.so.1.0", "libone.so.1", &["usr/lib/libtwo.so"], &[]);
        lab.symlink("usr/lib/libone.so.1", "libone.so.1.0");
        lab.program("usr/bin/prog", &["usr/lib/libone.so.1.0"], &[]);
        lab.write(
            "var/lib/dpkg/status",
            "Package: prog\nStatus: install ok installed\nArchitecture: amd64\n\n",
        );
        lab.write("var/lib/dpkg/info/prog.list", "/usr/bin/prog\n");
        let found = select(
            &["prog".to_owned()],
            &PackageArgs::default(),
            &lab.tree(),
            &LazyDatabase::default(),
            &Silent,
        )
        .unwrap();
        let paths: Vec<String> = found[0].paths.iter().map(ToString::to_string).collect();
        for path in ["/usr/lib/libone.so.1", "/usr/lib/libone.so.1.0", "/usr/lib/libtwo.so"] {
            assert!(paths.iter().any(|p| p == path), "{path} {paths:?}");
        }
    }

    #[test]
    fn certificates_are_there_for_those_who_check_them() {
        let mut tree = Tree::default();
        let mut add = |path: &str, node: Node| {
            tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
        };
        add("/etc/ssl/certs/all.crt", Node::file(0o644, "x"));
        add("/etc/ssl/certs/a.pem", Node::symlink("/usr/share/ca/a.crt"));
        add("/usr/share/ca/a.crt", Node::file(0o644, "x"));
        add("/usr/lib/libssl.so.3", Node::file(0o644, "x"));
        add("/usr/lib/libz.so.1", Node::file(0o644, "x"));
        add("/usr/lib/ssl/certs", Node::symlink("/etc/ssl/certs"));
        add("/usr/lib/x/cacerts", Node::symlink("/etc/ssl/certs/all.crt"));
        let all = "/etc/ssl/certs /etc/ssl/certs/a.pem /etc/ssl/certs/all.crt /usr/lib/ssl/certs /usr/lib/x/cacerts \
                   /usr/share/ca/a.crt";
        for (path, expected) in
            [("/usr/lib/libssl.so.3", all), ("/usr/lib/x/cacerts", all), ("/usr/lib/libz.so.1", "")]
        {
            let found = certificates(&tree, &BTreeSet::from([path.parse().unwrap()]));
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expected, "{path}");
        }
    }

    #[test]
    fn entry_points_of_packages() {
        for (names, expected) in [
            (&["git"][..], "/usr/bin/git"),
            (&["git", "perl"], "/usr/bin/git /usr/bin/perl"),
            (&["meta"], "/usr/bin/jar"),
            (
                &["metameta"],
                "/usr/bin/client /usr/sbin/commond /usr/sbin/make-ssl-cert /usr/bin/openssl /usr/bin/ssh-keygen",
            ),
            (&["libc6"], ""),
        ] {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            let got: Vec<String> = programs(&names, &image(), &LazyDatabase::default())
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(got.join(" "), expected, "{names:?}");
        }
    }

    #[test]
    fn units_of_packages() {
        let all = "/lib/systemd/system/common.service /usr/bin/ssh-keygen /usr/sbin/commond \
             /usr/share/dbus-1/system.d/common.conf /etc/common/start /usr/bin/openssl";
        for (name, expected) in [("common", all), ("meta2", all), ("metameta", all), ("git", "")] {
            let got = service_files(&[name.to_owned()], &image(), &LazyDatabase::default()).unwrap();
            let got: Vec<String> = got.paths.iter().chain(&got.elsewhere).map(ToString::to_string).collect();
            assert_eq!(got.join(" "), expected, "{name}");
        }
    }
}
