//! A merged /etc: the image's, with what is the host's in it.
//!
//! Files that say who the host and its users are, and that are replaced while programs run (by rename, so that a mount would
//! keep the old ones), are symlinks into the host's own /etc, which is mounted beside. All else of the host's is mounted over
//! what the image has by the same name, if the host has it.

use std::collections::{BTreeMap, BTreeSet};

use elf::closure::Options as ClosureOptions;
use tree::{Kind, Node, StaticPath, Tree, TreePath};

/// Where the host's /etc is mounted, for symlinks into it. As deep as /etc itself, so that the relative symlinks in it lead to
/// the same places.
pub(crate) const HOST_ETC: StaticPath = StaticPath::new("/.flatwrap-etc");

pub(crate) const ETC: StaticPath = StaticPath::new("/etc");

/// Entries of /etc that belong to the image's own programs and libraries, whatever the host has there: what the loader and
/// the links of alternatives lead to, the modules that PAM loads, and what the image is.
const IMAGES: [&[u8]; 10] = [
    b"alternatives",
    b"debian_version",
    b"ld.so.cache",
    b"ld.so.conf",
    b"ld.so.conf.d",
    b"ld.so.preload",
    b"lsb-release",
    b"os-release",
    b"pam.d",
    b"security",
];

/// Entries of /etc by which distributions set up a whole machine, and which its own programs read: a program behind an entry
/// point has no use for them, and each mount takes time at each start.
const MACHINES: [&[u8]; 47] = [
    b"adduser.conf",
    b"apk",
    b"apt",
    b"bash.bashrc",
    b"bindresvport.blacklist",
    b"binfmt.d",
    b"conf.d",
    b"cron.d",
    b"cron.daily",
    b"cron.hourly",
    b"cron.monthly",
    b"cron.weekly",
    b"cron.yearly",
    b"debconf.conf",
    b"deluser.conf",
    b"dnf",
    b"dpkg",
    b"e2scrub.conf",
    b"init.d",
    b"inittab",
    b"issue",
    b"issue.net",
    b"kernel",
    b"libaudit.conf",
    b"logcheck",
    b"logrotate.d",
    b"mke2fs.conf",
    b"modprobe.d",
    b"modules-load.d",
    b"motd",
    b"opt",
    b"pam.conf",
    b"profile",
    b"profile.d",
    b"rc0.d",
    b"rc1.d",
    b"rc2.d",
    b"rc3.d",
    b"rc4.d",
    b"rc5.d",
    b"rc6.d",
    b"rcS.d",
    b"rpm",
    b"skel",
    b"tmpfiles.d",
    b"update-motd.d",
    b"yum.repos.d",
];

/// Files that are the host's, whatever the image has, and that programs see replaced while they run.
const FOLLOWED: [StaticPath; 7] = [
    StaticPath::new("/etc/group"),
    StaticPath::new("/etc/gshadow"),
    StaticPath::new("/etc/hostname"),
    StaticPath::new("/etc/machine-id"),
    StaticPath::new("/etc/passwd"),
    RESOLV_CONF,
    StaticPath::new("/etc/shadow"),
];

const RESOLV_CONF: StaticPath = StaticPath::new("/etc/resolv.conf");

/// What else is the host's if the host has it: how names are resolved, its time zone, and whom it trusts. Whether each is a
/// file. The files are symlinks to others below /usr on some hosts.
const IDENTITY: [(StaticPath, bool); 5] = [
    (StaticPath::new("/etc/hosts"), true),
    (StaticPath::new("/etc/localtime"), true),
    (StaticPath::new("/etc/nsswitch.conf"), true),
    (StaticPath::new("/etc/pki"), false),
    (StaticPath::new("/etc/ssl"), false),
];

/// Directories of [`IDENTITY`] in which the host's entries are seen one by one, so that what the host lacks is the image's:
/// OpenSSL's configuration, key stores.
const OPENED: [StaticPath; 5] = [
    StaticPath::new("/etc/pki"),
    StaticPath::new("/etc/pki/ca-trust"),
    StaticPath::new("/etc/pki/ca-trust/extracted"),
    StaticPath::new("/etc/pki/tls"),
    StaticPath::new("/etc/ssl"),
];

/// Directories in these that are the host's even if the image has none: whom it trusts.
const TRUST: [StaticPath; 4] = [
    StaticPath::new("/etc/pki/ca-trust/extracted/openssl"),
    StaticPath::new("/etc/pki/ca-trust/extracted/pem"),
    StaticPath::new("/etc/pki/tls/certs"),
    StaticPath::new("/etc/ssl/certs"),
];

/// What C libraries and the programs of many packages read, whether their files name it or not.
const READ: [&[u8]; 8] = [
    b"ca-certificates",
    b"environment",
    b"gai.conf",
    b"host.conf",
    b"locale.conf",
    b"protocols",
    b"services",
    b"timezone",
];

/// Names of /etc that programs read and the image lacks, at most: each costs a symlink in the image.
const MOST_NAMES: usize = 256;
/// Bytes of a script that are searched for names.
const SCRIPT_LIMIT: usize = 1 << 20;

/// What of a merged directory is the host's.
pub(crate) struct Merged {
    /// Mounts of what the host may have, and whether each is a file.
    pub(crate) mounts: BTreeMap<TreePath, bool>,
    /// Symlinks to what the host has.
    pub(crate) links: BTreeSet<TreePath>,
    /// What would be such a symlink if there weren't too many.
    pub(crate) unseen: Vec<TreePath>,
}

/// Plans a merged /etc. `names` are those that the programs read.
pub(crate) fn merged(image: &Tree, names: &BTreeSet<Vec<u8>>) -> Merged {
    let etc = ETC.path();
    let followed: BTreeSet<TreePath> = FOLLOWED.map(StaticPath::path).into();
    let own = entries(image, &etc).filter(|(path, _)| {
        let others = |list: &[&[u8]]| path.file_name().is_some_and(|name| list.contains(&name));
        !followed.contains(path) && !others(&IMAGES) && !others(&MACHINES)
    });
    let identity = IDENTITY.iter().map(|(path, file)| (path.path(), *file));
    let mut mounts = BTreeMap::new();
    let mut todo: Vec<(TreePath, bool)> = identity.chain(own).collect();
    while let Some((path, is_file)) = todo.pop() {
        let is_opened = OPENED.iter().any(|d| d.path() == path) && image.get(&path).is_some_and(Node::is_dir);
        if !is_opened {
            mounts.insert(path, is_file);
            continue;
        }
        let trust = TRUST.iter().map(|d| d.path()).filter(|d| d.parent().as_ref() == Some(&path));
        todo.extend(trust.filter(|d| !image.contains(d)).map(|d| (d, false)));
        todo.extend(entries(image, &path));
    }
    let lacking = READ.into_iter().chain(names.iter().map(Vec::as_slice));
    let lacking = lacking.filter(|name| !IMAGES.contains(name)).filter_map(|name| etc.join(name).ok());
    let mut lacking = lacking.filter(|path| !image.contains(path) && !mounts.contains_key(path));
    let links = followed.iter().cloned().chain(lacking.by_ref().take(MOST_NAMES)).collect();
    let unseen = lacking.collect();
    Merged { mounts, links, unseen }
}

/// Files and directories in a directory of the image, and whether each is a file. A symlink's target is there by its own name.
fn entries(image: &Tree, dir: &TreePath) -> impl Iterator<Item = (TreePath, bool)> {
    let own = image.children(dir).filter(|(_, node)| matches!(node.kind, Kind::File(_) | Kind::Dir));
    own.map(|(path, node)| (path.clone(), !node.is_dir()))
}

/// The resolver, which is followed if all else of /etc is the image's: without it no name resolves in most images.
pub(crate) fn resolver() -> TreePath {
    RESOLV_CONF.path()
}

/// Names in /etc that programs read: those with the programs' names, and those that the programs and the libraries that they
/// load name. `programs` are real paths of the image.
pub(crate) fn names(image: &Tree, programs: &BTreeSet<TreePath>) -> BTreeSet<Vec<u8>> {
    let mut out = BTreeSet::new();
    let mut objects = programs.clone();
    for program in programs {
        out.extend(program.file_name().map(<[u8]>::to_vec));
        let mut resolver = elf::Resolver::new(image, ClosureOptions::of_start());
        // What can't be read names nothing.
        if let Ok(true) = resolver.add_root(program)
            && let Ok(closure) = resolver.finish()
        {
            objects.extend(closure.maps.values().flat_map(|map| map.start().iter().cloned()));
        }
    }
    for content in objects.iter().filter_map(|path| image.get(path).and_then(Node::content)) {
        let head = content.head(4).unwrap_or_default();
        if head == *b"\x7fELF" {
            let _ = elf::read_only_strings(content, &mut |text| out.extend(name_of(text)));
        } else if head.starts_with(b"#!") {
            let text = content.head(SCRIPT_LIMIT).unwrap_or_default();
            let starts = (0..text.len()).filter(|&at| text[at..].starts_with(PREFIX));
            out.extend(starts.filter_map(|at| name_of(&text[at..])));
        }
    }
    out
}

const PREFIX: &[u8] = b"/etc/";

/// `/etc/NAME…`, the name being one of few surprises.
fn name_of(text: &[u8]) -> Option<Vec<u8>> {
    let rest = text.strip_prefix(PREFIX)?;
    let plain = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+');
    let name: Vec<u8> = rest.iter().take_while(plain).copied().collect();
    let ends = rest.get(name.len()).is_none_or(|&b| b != b'%' && b != b'$' && b != b'*');
    (ends && !name.is_empty() && name != b"." && name != b"..").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::Meta;

    #[test]
    fn names_that_are_too_many() {
        let names: BTreeSet<Vec<u8>> = (0..300).map(|n| format!("n{n:03}").into_bytes()).collect();
        let Merged { links, unseen, .. } = merged(&Tree::default(), &names);
        assert_eq!(links.len(), FOLLOWED.len() + MOST_NAMES);
        // Those of C libraries are there in any case.
        assert_eq!(unseen.len(), 300 + READ.len() - MOST_NAMES);
        assert_eq!(unseen.last().unwrap().to_string(), "/etc/n299");
    }

    #[test]
    fn names_in_scripts() {
        let mut image = Tree::default();
        let text = "#!/bin/sh\n. /etc/tool/rc; [ -e /etc/tool.conf ] && cat /etc/$x /etc/%s /etc/.. /etc/\n";
        image.insert_all("/usr/bin/run".parse().unwrap(), Node::file(0o755, text), &Meta::dir()).unwrap();
        let got = names(&image, &BTreeSet::from(["/usr/bin/run".parse().unwrap()]));
        let got: Vec<String> = got.iter().map(|n| String::from_utf8_lossy(n).into_owned()).collect();
        assert_eq!(got.join(" "), "run tool tool.conf");
    }
}
