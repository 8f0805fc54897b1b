//! Files that most programs with a certain library need and that are easily forgotten: the common character sets, descriptions of the
//! common terminals, the place where OpenSSL looks for the host's certificates.

use std::collections::{BTreeMap, BTreeSet};

use elf::closure::{Closure, Object};
use elf::{Family, read_only_strings};
use tree::{Patch, StaticPath, TreePath};

use super::host::symlink_above;
use super::planner::Planner;
use super::selection::list;
use super::{Action, PlanError, Why, confine};

/// Converters of the character sets that are included for programs that use iconv(3), by the names of their files. The
/// larger ones, of Asian character sets, come with `--charsets`.
const CONVERTERS: [&str; 7] = ["CP1252", "ISO8859-1", "ISO8859-15", "UNICODE", "UTF-16", "UTF-32", "UTF-7"];

/// Longest list of converters. Bytes. glibc's has 60 KB.
const LIST_LIMIT: u64 = 1 << 20;

/// Terminals that are described in the extension. terminfo(5).
const TERMINALS: [&str; 34] = [
    "Eterm",
    "alacritty",
    "ansi",
    "cygwin",
    "dumb",
    "foot",
    "gnome",
    "gnome-256color",
    "konsole",
    "konsole-256color",
    "linux",
    "putty",
    "putty-256color",
    "rxvt",
    "rxvt-256color",
    "rxvt-unicode",
    "rxvt-unicode-256color",
    "screen",
    "screen-256color",
    "screen.xterm-256color",
    "st",
    "st-256color",
    "sun",
    "tmux",
    "tmux-256color",
    "vt100",
    "vt102",
    "vt220",
    "vt52",
    "xterm",
    "xterm-256color",
    "xterm-color",
    "xterm-kitty",
    "xterm-mono",
];

/// OpenSSL's directory of most hosts.
const HOST_SSL: StaticPath = StaticPath::new("/etc/ssl");

/// Where hosts have their certificates and OpenSSL's configuration, by the names below its own directory.
const OPENSSL: [(&str, &str); 3] = [
    ("cert.pem", "/etc/ssl/certs/ca-certificates.crt"),
    ("certs", "/etc/ssl/certs"),
    ("openssl.cnf", "/etc/ssl/openssl.cnf"),
];

impl Planner<'_> {
    /// Includes the common character sets, if a program of glibc uses iconv(3) and its C library can be led to them.
    /// Whether it did: the converters are not part of `closure`.
    pub(super) fn common_charsets(&mut self, closure: &Closure) -> Result<bool, PlanError> {
        if !self.tree.iter().any(|(path, _)| path.file_name() == Some(b"gconv-modules")) {
            return Ok(false);
        }
        let glibc = closure.loaders.iter().any(|l| l.family == Family::Glibc);
        if !glibc || self.converter(closure).is_none() {
            return Ok(false);
        }
        let target = self.request.sysroot.join("gconv")?;
        let mut folders = BTreeSet::new();
        for (path, object) in &closure.objects {
            let libc = object.elf.soname.as_deref() == Some(b"libc.so.6");
            let Some(content) = self.tree.get(path).and_then(|n| n.content()).filter(|_| libc) else {
                continue;
            };
            let found = confine::charsets(content, &target)
                .map_err(|source| PlanError::Content { path: path.clone(), source })?;
            folders.extend(found.folder.filter(|_| found.fits));
        }
        // With several C libraries the user has to decide.
        let (Some(folder), true) = (folders.pop_first(), folders.is_empty()) else { return Ok(false) };
        let Ok(folder) = self.tree.resolve(folder.to_absolute(), true) else { return Ok(false) };
        let list = folder.path.join("gconv-modules")?;
        let Some(content) = self.tree.get(&list).and_then(|n| n.content()) else { return Ok(false) };
        let Ok(text) = content.read(LIST_LIMIT) else { return Ok(false) };
        let why = Why::Default("character sets".to_owned());
        let mut converters = Vec::new();
        for converter in CONVERTERS {
            let file = folder.path.join(format!("{converter}.so"))?;
            if self.tree.get(&file).is_some_and(|n| n.is_file()) {
                self.bring(&file, &target.join(format!("{converter}.so"))?, &why, (false, true))?;
                converters.push(converter);
            }
        }
        if !converters.is_empty() {
            let text = only(&String::from_utf8_lossy(&text), &converters);
            let size = text.len() as u64;
            self.put(target.join("gconv-modules")?, None, Action::Text(text.into_bytes()), why, size)?;
        }
        Ok(!converters.is_empty())
    }

    /// The first object but the C library that uses iconv(3).
    pub(super) fn converter<'c>(&self, closure: &'c Closure) -> Option<&'c TreePath> {
        let converts = |(path, object): &(&TreePath, &Object)| {
            let libc = object.is_loader || object.elf.soname.as_deref() == Some(b"libc.so.6");
            let content = self.tree.get(path).and_then(|n| n.content()).filter(|_| !libc);
            content.is_some_and(|c| elf::mentions(c, &["iconv_open"]).unwrap_or(false))
        };
        closure.objects.iter().find(converts).map(|(path, _)| path)
    }

    /// Includes descriptions of the common terminals, if a library reads them from a list of directories that can be led to
    /// them. Reports libraries whose lists have no room.
    pub(super) fn terminals(&mut self, closure: &Closure) -> Result<(), PlanError> {
        let home = self.request.sysroot.join("terminfo")?;
        for (path, object) in &closure.objects {
            let lists: Vec<String> =
                self.terminal_lists(path, object)?.into_iter().map(|(_, list)| list).collect();
            let described =
                |list: &&String| TERMINALS.iter().any(|name| self.description(list, name).is_some());
            match lists.iter().find(|list| led(list, &home).is_some()) {
                Some(list) if !self.has_terminals(&home) => self.descriptions(list, &home)?,
                Some(_) => {}
                None => {
                    if let Some(list) = lists.iter().max_by_key(|list| list.len()).filter(described) {
                        self.warnings.insert(format!(
                            "{path}: terminal descriptions aren't included, since {home} is longer than {list}, which \
                             is compiled in"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Includes what the directories of a list have for the common terminals.
    fn descriptions(&mut self, list: &str, home: &TreePath) -> Result<(), PlanError> {
        let why = Why::Default("terminal descriptions".to_owned());
        for name in TERMINALS {
            if let Some(found) = self.description(list, name) {
                self.bring(&found, &home.join(&name[..1])?.join(name)?, &why, (false, true))?;
            }
        }
        Ok(())
    }

    /// The file that describes a terminal, by a list of directories.
    fn description(&self, list: &str, name: &str) -> Option<TreePath> {
        let letter = &name[..1];
        let place = |dir: &str| self.tree.resolve(format!("{dir}/{letter}/{name}"), true).ok();
        let found = list.split(':').find_map(place)?.path;
        self.tree.get(&found).is_some_and(|n| n.is_file()).then_some(found)
    }

    /// Whether the extension has descriptions of terminals. `home`: their directory.
    fn has_terminals(&self, home: &TreePath) -> bool {
        self.plan.entries.range(home..).next().is_some_and(|(path, _)| path.starts_with(home))
    }

    /// The patches that lead a library to the terminal descriptions of the sysroot.
    pub(super) fn terminal_patches(&self, path: &TreePath, object: &Object) -> Result<Vec<Patch>, PlanError> {
        let home = self.request.sysroot.join("terminfo")?;
        if !self.has_terminals(&home) {
            return Ok(Vec::new());
        }
        let lists = self.terminal_lists(path, object)?;
        Ok(lists.into_iter().filter_map(|(at, list)| Some(Patch { at, bytes: led(&list, &home)? })).collect())
    }

    /// Lists of directories of terminal descriptions in a curses library, with their offsets.
    fn terminal_lists(&self, path: &TreePath, object: &Object) -> Result<Vec<(u64, String)>, PlanError> {
        let soname = object.elf.soname.as_deref().unwrap_or_default();
        let curses = soname.starts_with(b"libtinfo") || soname.starts_with(b"libncurses");
        let Some(content) = self.tree.get(path).and_then(|n| n.content()).filter(|_| curses) else {
            return Ok(Vec::new());
        };
        let bytes = content
            .read(confine::LIMIT)
            .map_err(|source| PlanError::Content { path: path.clone(), source })?;
        let mut out = Vec::new();
        let mut at = 0;
        for string in bytes.split(|&b| b == 0) {
            if string.split(|&b| b == b':').all(|d| d.starts_with(b"/") && d.ends_with(b"/terminfo"))
                && let Ok(list) = std::str::from_utf8(string)
            {
                out.push((at, list.to_owned()));
            }
            at += string.len() as u64 + 1;
        }
        Ok(out)
    }

    /// Puts links to the host's certificates and configuration where the image's OpenSSL looks for them, unless that is the
    /// host's /etc/ssl. Reports directories that an extension can't have.
    pub(super) fn openssl(&mut self, closure: &Closure) -> Result<(), PlanError> {
        let can_hold = |dir: &&TreePath| sysext::request::allowed(dir) && symlink_above(dir).is_none();
        let mut linked: BTreeSet<TreePath> = BTreeSet::new();
        let mut others: BTreeMap<&TreePath, BTreeSet<TreePath>> = BTreeMap::new();
        for (path, object) in &closure.objects {
            let soname = object.elf.soname.as_deref().unwrap_or_default();
            let Some(content) = self.tree.get(path).and_then(|n| n.content()) else { continue };
            if !soname.starts_with(b"libcrypto.so") {
                continue;
            }
            let mut dirs = BTreeSet::new();
            // crypto/cversion.c. A file that can't be read has no directory.
            let _ = read_only_strings(content, &mut |string| {
                let dir = string.strip_prefix(b"OPENSSLDIR: \"").and_then(|s| s.strip_suffix(b"\""));
                dirs.extend(dir.and_then(|d| TreePath::new(d).ok()));
            });
            // One for each library, however many it names.
            linked.extend(dirs.iter().find(can_hold).cloned());
            others.insert(path, dirs);
        }
        let has_own = |dir: &TreePath| {
            OPENSSL.iter().any(|(n, _)| dir.join(n).is_ok_and(|place| self.plan.entries.contains_key(&place)))
        };
        for (library, mut dirs) in others {
            dirs.retain(|dir| !linked.contains(dir) && *dir != HOST_SSL.path() && !has_own(dir));
            if let Some(dirs) = list(&dirs) {
                self.warnings.insert(format!(
                    "{library}: looks for certificates in {dirs}, which can't be linked to the host's"
                ));
            }
        }
        for dir in linked {
            for (name, host) in OPENSSL {
                let place = dir.join(name)?;
                let real = self.tree.resolve(place.to_absolute(), true).ok().map(|r| r.path);
                let taken = self.plan.entries.contains_key(&place);
                // Files of the image below /usr are not configuration of the host.
                if taken || real.as_ref().is_some_and(sysext::request::allowed) {
                    continue;
                }
                let why = Why::Default("certificates of the host".to_owned());
                self.put(place, None, Action::Symlink(host.as_bytes().to_vec()), why, 0)?;
            }
        }
        Ok(())
    }
}

/// The lines of a list of converters for these. The format: iconv/gconv_conf.c.
fn only(text: &str, converters: &[&str]) -> String {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let lines: Vec<Vec<String>> = text.lines().map(words).collect();
    let is_kept = |w: &&Vec<String>| w.len() >= 4 && w[0] == "module" && converters.contains(&w[3].as_str());
    let names: BTreeSet<&String> = lines.iter().filter(is_kept).flat_map(|w| [&w[1], &w[2]]).collect();
    let is_alias = |w: &Vec<String>| w.len() >= 3 && w[0] == "alias" && names.contains(&w[2]);
    lines.iter().filter(|w| is_kept(w) || is_alias(w)).map(|w| w.join(" ") + "\n").collect()
}

/// The replacement for a list of directories: the sysroot's, then the host's if there is room, in the same length. None if there is
/// no room.
fn led(list: &str, home: &TreePath) -> Option<Vec<u8>> {
    let mut out = home.to_absolute().to_vec();
    let host: &[u8] = b":/usr/share/terminfo";
    if out.len() + host.len() <= list.len() {
        out.extend_from_slice(host);
    }
    (out.len() <= list.len()).then(|| {
        out.resize(list.len(), b'/');
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converters_of_a_list() {
        let text = "# c\nalias\tL1//\tISO-8859-1//\nmodule\tISO-8859-1//\tINTERNAL\tISO8859-1\t1\n\
            alias\tK//\tKOI8-R//\nmodule\tKOI8-R//\tINTERNAL\tKOI8-R\t1\n";
        let expected = "alias L1// ISO-8859-1//\nmodule ISO-8859-1// INTERNAL ISO8859-1 1\n";
        assert_eq!(only(text, &["ISO8859-1"]), expected);
    }

    #[test]
    fn lists_of_directories_keep_their_length() {
        for (list, home, expected) in [
            (
                "/etc/terminfo:/lib/terminfo:/usr/share/terminfo",
                "/usr/lib/flix/mc/terminfo",
                Some("/usr/lib/flix/mc/terminfo:/usr/share/terminfo//"),
            ),
            (
                "/etc/terminfo:/lib/terminfo:/usr/share/terminfo",
                "/usr/lib/flix/a-name/terminfo",
                Some("/usr/lib/flix/a-name/terminfo//////////////////"),
            ),
            ("/etc/terminfo:/a/terminfo", "/usr/lib/flix/a-name/terminfo", None),
        ] {
            let got = led(list, &home.parse().unwrap());
            assert_eq!(got.as_deref(), expected.map(str::as_bytes), "{list} {home}");
        }
    }
}
