//! Which files of a package its programs use.

use tree::TreePath;

use crate::Package;

/// Folders of documentation.
const DOCUMENTATION: &[&str] = &[
    "usr/share/bug",
    "usr/share/devhelp",
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/gtk-doc",
    "usr/share/help",
    "usr/share/info",
    "usr/share/linda",
    "usr/share/lintian",
    "usr/share/man",
    "usr/share/menu",
    "usr/share/omf",
    "usr/local/share/doc",
    "usr/local/share/info",
    "usr/local/share/man",
];

/// Folders of what compilers and debuggers read.
const DEVELOPMENT: &[&str] = &[
    "usr/include",
    "usr/lib/debug",
    "usr/share/aclocal",
    "usr/share/gcc",
    "usr/share/gdb/auto-load",
    "usr/share/gir-1.0",
    "usr/share/pkgconfig",
    "usr/src",
];

/// Files for whoever maintains a system.
const MAINTENANCE: &[&str] = &["usr/share/libgcrypt20/clean-up-unmanaged-libraries"];

const LOCALES: &[&str] = &["usr/share/locale", "usr/share/locale-langpack", "usr/local/share/locale"];

impl Package {
    /// Its files without documentation, manual pages, headers, debug information and translations, but for those of
    /// `locales` (`de`, `pt_BR`).
    ///
    /// Headers and static libraries of a package that has little else (`libc6-dev`) are what it is for: a compiler depends
    /// on it.
    pub fn runtime_files(&self, locales: &[String]) -> impl Iterator<Item = &TreePath> {
        let is_development = ["-dev", "-devel", "-headers"].iter().any(|end| self.name.ends_with(end));
        self.files.iter().filter(move |file| {
            let path = file.as_relative();
            let below = |dirs: &[&str]| dirs.iter().any(|d| rest(path, d).is_some());
            let translation = LOCALES.iter().find_map(|d| rest(path, d));
            !below(DOCUMENTATION)
                && !MAINTENANCE.iter().any(|m| m.as_bytes() == path)
                && (is_development || !(below(DEVELOPMENT) || is_for_linkers(path)))
                && translation.is_none_or(|rest| {
                    let of = rest.split(|&b| b == b'/').next().unwrap_or_default();
                    locales.iter().any(|l| is_of_locale(of, l.as_bytes()))
                })
        })
    }
}

/// What is below the folder.
fn rest<'p>(path: &'p [u8], dir: &str) -> Option<&'p [u8]> {
    path.strip_prefix(dir.as_bytes())?.strip_prefix(b"/")
}

/// Libtool archives (`.la`) and pkg-config files. Programs find plugins by the `.la` files beside them.
fn is_for_linkers(path: &[u8]) -> bool {
    let in_usual_dir = || {
        let parts: Vec<&[u8]> = path.split(|&b| b == b'/').collect();
        match parts.as_slice() {
            [b"usr", b"lib" | b"lib64" | b"lib32", _] | [b"lib" | b"lib64" | b"lib32", _] => true,
            [b"usr", b"lib", triplet, _] => tree::is_triplet(triplet),
            _ => false,
        }
    };
    (path.ends_with(b".la") && in_usual_dir())
        || (path.ends_with(b".pc") && path.windows(11).any(|w| w == b"/pkgconfig/"))
}

/// Whether a folder of translations is for a locale: `de` and `de_AT` for `de`, `de` and `de_AT` for `de_AT`.
fn is_of_locale(folder: &[u8], locale: &[u8]) -> bool {
    let locale = locale.split(|b| b".".contains(b)).next().unwrap_or_default();
    let language = |l: &[u8]| l.split(|b| b"_@".contains(b)).next().map(<[u8]>::to_vec);
    let general = |l: &[u8]| !l.contains(&b'_');
    folder == locale || (language(folder) == language(locale) && (general(folder) || general(locale)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_use() {
        let all = [
            "/etc/app.conf",
            "/usr/bin/app",
            "/usr/include/app.h",
            "/usr/lib/app/plugin.la",
            "/usr/lib/x86_64-linux-gnu/libapp.la",
            "/usr/lib/x86_64-linux-gnu/pkgconfig/app.pc",
            "/usr/share/app/doc/x",
            "/usr/share/doc/app/copyright",
            "/usr/share/doctor/x",
            "/usr/share/locale/de/LC_MESSAGES/app.mo",
            "/usr/share/locale/pt/LC_MESSAGES/app.mo",
            "/usr/share/locale/pt_BR/LC_MESSAGES/app.mo",
            "/usr/share/man/man1/app.1.gz",
        ];
        let package = |name: &str| Package {
            name: name.to_owned(),
            files: all.iter().map(|p| p.parse().unwrap()).collect(),
            ..Package::default()
        };
        let left = |name: &str, locales: &[&str]| {
            let locales: Vec<String> = locales.iter().map(|l| (*l).to_owned()).collect();
            let package = package(name);
            let files: Vec<String> = package.runtime_files(&locales).map(ToString::to_string).collect();
            files.join(" ")
        };
        let plain =
            "/etc/app.conf /usr/bin/app /usr/lib/app/plugin.la /usr/share/app/doc/x /usr/share/doctor/x";
        assert_eq!(left("app", &[]), plain);
        assert_eq!(left("app", &["de_AT.UTF-8"]), format!("{plain} /usr/share/locale/de/LC_MESSAGES/app.mo"));
        assert!(
            left("app", &["pt"])
                .ends_with("/pt/LC_MESSAGES/app.mo /usr/share/locale/pt_BR/LC_MESSAGES/app.mo")
        );
        assert!(
            left("app-dev", &[])
                .contains("/usr/include/app.h /usr/lib/app/plugin.la /usr/lib/x86_64-linux-gnu/libapp.la")
        );
    }
}
