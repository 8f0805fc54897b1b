//! What programs load later, by dlopen(3), and no DT_NEEDED names.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use tree::TreePath;

use super::process::Process;
use super::search::Found;
use super::{ClosureError, Reason, Resolver};
use crate::loader::Family;
use crate::{ElfKind, Priority};

/// How much of the `.note.dlopen` entries to take along. UAPI.12.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DlopenPolicy {
    /// Nothing.
    None,
    /// What the program can't do without.
    Required,
    /// Also what its author recommends, as far as the image has it.
    #[default]
    Recommended,
    /// Also what its author suggests.
    All,
}

/// A library that the user names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtraLib {
    /// A file of the image, or a folder whose libraries are all meant.
    Path(TreePath),
    /// A name that is looked for as the program would.
    Soname(String),
}

impl FromStr for ExtraLib {
    type Err = tree::PathError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Ok(if s.contains('/') { ExtraLib::Path(s.parse()?) } else { ExtraLib::Soname(s.to_owned()) })
    }
}

impl fmt::Display for ExtraLib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExtraLib::Path(p) => p.fmt(f),
            ExtraLib::Soname(s) => f.write_str(s),
        }
    }
}

impl Resolver<'_> {
    /// Loads all that is no DT_NEEDED into a process, until nothing new turns up.
    pub(super) fn load_extras(
        &mut self,
        process: &mut Process<'_>,
        family: Family,
    ) -> Result<(), ClosureError> {
        self.user_libs(process)?;
        process.run(&mut self.files)?;
        if family == Family::Glibc && !self.options.needed_only {
            self.glibc_libs(process)?;
            process.run(&mut self.files)?;
        }
        let mut next = 0;
        while next < process.loaded.len() {
            self.dlopen_notes(process, next)?;
            process.run(&mut self.files)?;
            next += 1;
        }
        Ok(())
    }

    /// Lets the user's libraries stand in for names that no search finds. Once.
    pub(super) fn offer_extras(&mut self) -> Result<(), ClosureError> {
        if self.extras_offered || self.options.sealed {
            return Ok(());
        }
        self.extras_offered = true;
        for extra in self.options.extra_libs.clone() {
            let found = match &extra {
                ExtraLib::Path(path) => self.libraries_at(path)?,
                ExtraLib::Soname(name) => {
                    let found = self.libraries_named(name)?;
                    // Which one is meant is asked when no search finds any: see `user_libs`.
                    if found.len() == 1 { found } else { Vec::new() }
                }
            };
            for found in found {
                self.files.offer(&found);
            }
        }
        Ok(())
    }

    /// The shared objects of a file name anywhere in the image, each once.
    fn libraries_named(&mut self, name: &str) -> Result<Vec<Found>, ClosureError> {
        let tree = self.files.tree;
        let paths = tree.iter().map(|(p, _)| p).filter(|p| p.file_name() == Some(name.as_bytes()));
        let mut out: Vec<Found> = Vec::new();
        for path in paths {
            for found in self.libraries_at(path)? {
                if found.elf.kind == ElfKind::SharedObject && !out.iter().any(|o| o.path == found.path) {
                    out.push(found);
                }
            }
        }
        Ok(out)
    }

    fn user_libs(&mut self, process: &mut Process<'_>) -> Result<(), ClosureError> {
        let main = process.loaded[0].elf.clone();
        for (i, extra) in self.options.extra_libs.clone().into_iter().enumerate() {
            let why = Reason::Extra { text: extra.to_string() };
            match &extra {
                ExtraLib::Soname(name) => {
                    if process.dlopen(&mut self.files, 0, name.as_bytes(), &why)? {
                        self.extras_used.insert(i);
                        continue;
                    }
                    let fits = |f: &Found| f.elf.is_compatible(&main);
                    let places: Vec<TreePath> =
                        self.libraries_named(name)?.into_iter().filter(fits).map(|f| f.path).collect();
                    if places.len() > 1 && !self.options.sealed {
                        return Err(ClosureError::ManyExtraLibs { name: name.clone(), places });
                    }
                }
                ExtraLib::Path(path) => {
                    for found in self.libraries_at(path)? {
                        if found.elf.is_compatible(&main) {
                            self.extras_used.insert(i);
                            self.closure.extra_dirs.extend(found.link.parent());
                            process.open(&mut self.files, found, &why)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The shared objects at a path of the image: itself, or all below it.
    fn libraries_at(&mut self, path: &TreePath) -> Result<Vec<Found>, ClosureError> {
        let tree = self.files.tree;
        let asked = path.to_absolute();
        let (Ok(real), Ok(link)) = (tree.resolve(&asked, true), tree.resolve(&asked, false)) else {
            return Ok(Vec::new());
        };
        let mut out = Vec::new();
        if tree.get(&real.path).is_some_and(|n| n.is_dir()) {
            for (path, node) in tree.subtree(&real.path) {
                let real = match node.symlink_target() {
                    Some(_) => tree.resolve(path.to_absolute(), true).ok().map(|r| r.path),
                    None => node.is_file().then(|| path.clone()),
                };
                let Some(real) = real else { continue };
                let elf = match self.files.elf(&real) {
                    Ok(elf) => elf,
                    // Nobody has named it.
                    Err(e @ ClosureError::Elf { .. }) => {
                        self.closure.warnings.insert(format!("{e}; it is passed over"));
                        continue;
                    }
                    Err(e) => return Err(e),
                };
                if let Some(elf) = elf.filter(|e| e.kind == ElfKind::SharedObject) {
                    out.push(Found { link: path.clone(), ..Found::at(real, elf) });
                }
            }
        } else if let Some(elf) = self.files.elf(&real.path)? {
            out.push(Found { link: link.path, ..Found::at(real.path, elf) });
        }
        Ok(out)
    }

    /// glibc's libraries, for a program that may unpack others and open them. They are loaded at its start: libraries of a
    /// process go by their names, and those that are unpacked often have a DT_RUNPATH of their own, which keeps the
    /// loader from looking where the program's libraries are.
    pub(super) fn preload(&mut self, process: &mut Process<'_>, family: Family) -> Result<(), ClosureError> {
        if family != Family::Glibc || self.options.needed_only || !self.unpacks(process)? {
            return Ok(());
        }
        let by = process.loaded[0].path.clone();
        let why = Reason::Dlopen { by: by.clone(), feature: "libraries that it unpacks".to_owned() };
        let mut names = Vec::new();
        for name in OF_GLIBC {
            if process.dlopen(&mut self.files, 0, name.as_bytes(), &why)? {
                names.push(name.to_owned());
            }
        }
        process.run(&mut self.files)?;
        self.closure.notes.insert(format!(
            "{by}: carries data and opens libraries, perhaps out of it: all of glibc is included for them"
        ));
        self.closure.preloads.insert(by, names);
        Ok(())
    }

    /// Name services and the unwinder, for programs that use them. Both are loaded by libc.so.6, with its search path.
    fn glibc_libs(&mut self, process: &mut Process<'_>) -> Result<(), ClosureError> {
        let Some(libc) = process.find(|l| l.elf.soname.as_deref() == Some(b"libc.so.6")) else {
            return Ok(());
        };
        let unpacks = self.closure.preloads.contains_key(&process.loaded[0].path);
        if unpacks || self.uses(process, libc, &UNWINDING)? {
            process.dlopen(&mut self.files, libc, b"libgcc_s.so.1", &Reason::Threads)?;
        }
        if !unpacks && !self.uses(process, libc, &NAME_SERVICE)? {
            return Ok(());
        }
        let mut services = name_services(&self.files);
        // What every host's nsswitch.conf names, and glibc itself where there is none.
        services.extend(["files", "dns"].map(str::to_owned));
        for service in services {
            let name = format!("libnss_{service}.so.2");
            // Those that are built in (files and dns since glibc 2.34) have no file.
            process.dlopen(&mut self.files, libc, name.as_bytes(), &Reason::NameService { service })?;
        }
        Ok(())
    }

    /// Whether the program may unpack libraries and open them, as those of PyInstaller do. They bring all that they need but
    /// for the C library, whose parts have to be of one version.
    fn unpacks(&mut self, process: &Process<'_>) -> Result<bool, ClosureError> {
        let main = &process.loaded[0];
        if main.elf.kind != ElfKind::DynamicExecutable || !self.files.mentions(&main.path, &["dlopen"])? {
            return Ok(false);
        }
        let Some(content) = self.files.tree.get(&main.path).and_then(|n| n.content()) else {
            return Ok(false);
        };
        let payload = crate::payload::payload(content)
            .map_err(|source| ClosureError::Elf { path: main.path.clone(), source })?;
        Ok(payload >= PAYLOAD)
    }

    /// Whether anything but libc itself names one of libc's functions.
    fn uses(
        &mut self,
        process: &Process<'_>,
        libc: usize,
        functions: &[&'static str],
    ) -> Result<bool, ClosureError> {
        for (i, loaded) in process.loaded.iter().enumerate() {
            if i != libc && self.files.mentions(&loaded.path, functions)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn dlopen_notes(&mut self, process: &mut Process<'_>, index: usize) -> Result<(), ClosureError> {
        let object = process.loaded[index].clone();
        for note in &object.elf.dlopen {
            let wanted = match note.priority {
                Priority::Required => DlopenPolicy::Required,
                Priority::Recommended => DlopenPolicy::Recommended,
                Priority::Suggested => DlopenPolicy::All,
            };
            if self.options.dlopen < wanted {
                continue;
            }
            let feature = note.feature.as_ref().or(note.description.as_ref()).cloned().unwrap_or_default();
            let why = Reason::Dlopen { by: object.path.clone(), feature: feature.clone() };
            let mut found = false;
            for name in &note.soname {
                // Alternatives: the first that is there is what the program will take.
                if process.dlopen(&mut self.files, index, name, &why)? {
                    found = true;
                    break;
                }
            }
            let names: Vec<String> = note.soname.iter().map(|n| n.escape_ascii().to_string()).collect();
            let names = names.join(" or ");
            match (found, note.priority) {
                (true, Priority::Required) => {}
                (true, _) => {
                    self.closure.notes.insert(format!("{names} is included for {}: {feature}", object.path));
                }
                (false, Priority::Required) => process.missing(index, names.as_bytes(), Some(&why)),
                (false, _) => {
                    self.closure.notes.insert(format!(
                        "{names} is not in the image; {} can do without: {feature}",
                        object.path
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Functions of libc that look something up by nsswitch.conf. nss(5), the lookups in nss/ of glibc.
const NAME_SERVICE: [&str; 50] = [
    "getpwnam",
    "getpwnam_r",
    "getpwuid",
    "getpwuid_r",
    "getpwent",
    "getpwent_r",
    "getgrnam",
    "getgrnam_r",
    "getgrgid",
    "getgrgid_r",
    "getgrent",
    "getgrent_r",
    "getgrouplist",
    "initgroups",
    "getspnam",
    "getspnam_r",
    "getspent",
    "getsgnam",
    "getaddrinfo",
    "getnameinfo",
    "gethostbyname",
    "gethostbyname_r",
    "gethostbyname2",
    "gethostbyname2_r",
    "gethostbyaddr",
    "gethostbyaddr_r",
    "gethostent",
    "getservbyname",
    "getservbyname_r",
    "getservbyport",
    "getservbyport_r",
    "getservent",
    "getprotobyname",
    "getprotobyname_r",
    "getprotobynumber",
    "getprotobynumber_r",
    "getprotoent",
    "getnetbyname",
    "getnetbyname_r",
    "getnetbyaddr",
    "getnetent",
    "getrpcbyname",
    "getrpcbynumber",
    "getrpcent",
    "getnetgrent",
    "innetgr",
    "setnetgrent",
    "ether_hostton",
    "ether_ntohost",
    "cuserid",
];

/// What a program has to carry to be taken for one that unpacks libraries. Bytes. Less than any library; more than the
/// signatures and marks that tools append.
const PAYLOAD: u64 = 4 << 10;

/// The libraries of glibc but for libc.so.6. Those that an image lacks are parts of libc there, or unknown to it.
const OF_GLIBC: [&str; 10] = [
    "libm.so.6",
    "libmvec.so.1",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libutil.so.1",
    "libresolv.so.2",
    "libanl.so.1",
    "libnsl.so.1",
    "libBrokenLocale.so.1",
];

/// Functions of libc that open libgcc_s.so.1: `__libc_unwind_link_get` in glibc.
const UNWINDING: [&str; 5] =
    ["pthread_cancel", "pthread_exit", "thrd_exit", "backtrace", "pthread_cleanup_push"];

/// The services that the image's nsswitch.conf names, sorted. nsswitch.conf(5).
fn name_services(files: &super::search::Files<'_>) -> BTreeSet<String> {
    let text = files
        .tree
        .resolve("/etc/nsswitch.conf", true)
        .ok()
        .and_then(|r| files.tree.get(&r.path)?.content()?.read(1 << 20).ok())
        .unwrap_or_default();
    services(&String::from_utf8_lossy(&text))
}

fn services(text: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let Some((_, services)) = line.split_once(':') else { continue };
        // "[NOTFOUND=return]" are actions; they may hold spaces.
        let mut inside = false;
        for word in services.split_whitespace() {
            if !inside
                && !word.starts_with('[')
                && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            {
                out.insert(word.to_owned());
            }
            inside = (inside || word.starts_with('[')) && !word.ends_with(']');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_nsswitch() {
        let text = "# c\npasswd: files systemd # x\nhosts:\tfiles mdns4_minimal [NOTFOUND=return !UNAVAIL = x] dns\nbad\n";
        let got: Vec<_> = services(text).into_iter().collect();
        assert_eq!(got, ["dns", "files", "mdns4_minimal", "systemd"]);
    }

    #[test]
    fn extra_libs_are_paths_or_names() {
        assert!(matches!("libx.so.1".parse(), Ok(ExtraLib::Soname(_))));
        assert!(matches!("/usr/lib/libx.so".parse(), Ok(ExtraLib::Path(_))));
        assert!("/usr/../lib".parse::<ExtraLib>().is_err());
    }
}
