//! Programs that compute the paths of their directories.
//!
//! A family is recognized by a string of its program or library, whatever either is called: usually the environment variable
//! that overrides its directories.

use std::collections::BTreeSet;

use tree::{Tree, TreePath};

/// Programs of one kind.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Family {
    /// The string.
    mark: &'static str,
    /// A description of the directories, for users.
    pub name: &'static str,
    /// Where they are: a star stands for any end of a name.
    folders: &'static [&'static str],
}

const fn family(mark: &'static str, name: &'static str, folders: &'static [&'static str]) -> Family {
    Family { mark, name, folders }
}

/// By mark.
const FAMILIES: &[Family] = &[
    family("<prefix:lib/aspell>", "Aspell's filters and dictionaries", &["/usr/lib/aspell"]),
    family("CMAKE_ROOT", "CMake's modules", &["/usr/share/cmake-[0-9]*", "/usr/share/cmake"]),
    family(
        "COMPILER_PATH",
        "the compiler's parts",
        &["/usr/lib/gcc", "/usr/libexec/gcc", "/usr/lib/gcc-cross"],
    ),
    family(
        "Compiled in modules:\n",
        "Apache's modules",
        &["/usr/lib/apache2/modules", "/usr/lib/httpd/modules", "/usr/lib64/httpd/modules"],
    ),
    family(
        "EMACSLOADPATH",
        "Emacs's Lisp",
        &["/usr/share/emacs/[0-9]*", "/usr/libexec/emacs/[0-9]*", "/usr/lib/emacs/[0-9]*"],
    ),
    family(
        "FONTCONFIG_FILE",
        "fonts and their configuration",
        &["/usr/share/fontconfig", "/usr/share/fonts"],
    ),
    family(
        "GDK_PIXBUF_MODULE_FILE",
        "loaders of image formats",
        &["/usr/lib/gdk-pixbuf-2.0", "/usr/lib/*/gdk-pixbuf-2.0"],
    ),
    family("GROFF_TMAC_PATH", "groff's macros", &["/usr/share/groff/[0-9]*"]),
    family(
        "GST_PLUGIN_SYSTEM_PATH_1_0",
        "GStreamer's plugins",
        &["/usr/lib/gstreamer-1.0", "/usr/lib/*/gstreamer-1.0"],
    ),
    family("GS_LIB", "Ghostscript's resources", &["/usr/share/ghostscript"]),
    family(
        "GUILE_SYSTEM_PATH",
        "Guile's modules",
        &["/usr/share/guile", "/usr/lib/guile", "/usr/lib/*/guile"],
    ),
    family("GVBINDIR", "Graphviz's plugins", &["/usr/lib/graphviz", "/usr/lib/*/graphviz"]),
    family("LUA_PATH", "Lua's modules", &["/usr/share/lua", "/usr/lib/lua", "/usr/lib/*/lua"]),
    family(
        "MAGICK_CODER_MODULE_PATH",
        "ImageMagick's coders",
        &["/usr/lib/ImageMagick-*", "/usr/lib/*/ImageMagick-*", "/usr/share/ImageMagick-*"],
    ),
    family(
        "OCTAVE_HOME",
        "Octave's functions",
        &["/usr/share/octave", "/usr/lib/octave", "/usr/lib/*/octave"],
    ),
    family(
        "PERL5LIB",
        "Perl's modules",
        &[
            "/usr/share/perl/[0-9]*",
            "/usr/share/perl5",
            "/usr/lib/perl5",
            "/usr/lib/*/perl",
            "/usr/lib/*/perl5",
            "/usr/lib/*/perl-base",
        ],
    ),
    family("PHP_INI_SCAN_DIR", "PHP's extensions", &["/usr/lib/php", "/usr/lib/php[0-9]*"]),
    family(
        "PYTHONUNBUFFERED",
        "the standard library of Python",
        &["/usr/lib/python[0-9]*", "/usr/local/lib/python[0-9]*"],
    ),
    family(
        "RUBYLIB",
        "Ruby's standard library",
        &["/usr/lib/ruby", "/usr/lib/*/ruby", "/usr/local/lib/ruby"],
    ),
    family("R_HOME", "R's packages", &["/usr/lib/R", "/usr/local/lib/R"]),
    family("SBCL_HOME", "SBCL's core", &["/usr/lib/sbcl", "/usr/local/lib/sbcl"]),
    family("SWI_HOME_DIR", "Prolog's libraries", &["/usr/lib/swi-prolog", "/usr/lib/swipl"]),
    family("TCL_LIBRARY", "Tcl's scripts", &["/usr/share/tcltk/tcl[0-9]*", "/usr/lib/tcl[0-9]*"]),
    family(
        "TEXMFCNF",
        "the files of TeX",
        &["/usr/share/texlive", "/usr/share/texmf", "/usr/share/texmf-dist"],
    ),
    family("VIMRUNTIME", "Vim's runtime files", &["/usr/share/vim/vim[0-9]*"]),
    family("__fish_data_dir", "fish's functions", &["/usr/share/fish"]),
    family(
        "could not find any valid magic files!",
        "the table of file types",
        &["/usr/share/misc/magic.mgc", "/usr/lib/file/magic.mgc"],
    ),
];

/// Of programs that end without a locale of UTF-8, by what they print then (tmux, mosh).
pub(super) const LOCALES: Family = family(
    "UTF-8 locale",
    "a UTF-8 locale, where the host's C library has none",
    &["/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8"],
);

/// Strings of Rust have no end by which they could be told apart: by the beginning of the library's name.
const RUST: Family = family(
    "librustc_driver-",
    "Rust's standard library",
    &["/usr/lib/rustlib", "/usr/local/lib/rustlib", "/usr/local/rustup/toolchains/*/lib/rustlib"],
);

/// The families that a string is the mark of.
pub(super) fn by_mark(string: &[u8]) -> impl Iterator<Item = &'static Family> {
    let locales = demands_locale(string).then_some(&LOCALES);
    FAMILIES.iter().filter(move |f| f.mark.as_bytes() == string).chain(locales)
}

/// The family of a library of this name.
pub(super) fn by_library(name: &[u8]) -> Option<&'static Family> {
    name.starts_with(RUST.mark.as_bytes()).then_some(&RUST)
}

/// Whether a message says that the locale has to be one of UTF-8.
fn demands_locale(string: &[u8]) -> bool {
    const MESSAGE_MAX: usize = 200;
    let has = |word: &[u8]| string.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    // Few strings have the digit, and there are millions of strings.
    string.len() < MESSAGE_MAX
        && string.contains(&b'8')
        && has(b"utf-8")
        && has(b"locale")
        && [&b"need"[..], b"require", b"must"].into_iter().any(has)
}

impl Family {
    /// Whether it is an interpreter whose variables others list, too: sudo, to remove them.
    pub(super) fn is_listed(&self) -> bool {
        matches!(self.mark, "PERL5LIB" | "PYTHONUNBUFFERED" | "RUBYLIB")
    }

    /// Whether a program that only loads the family's library needs the directories. One that can be extended in Lua doesn't.
    pub(super) fn is_embedded(&self) -> bool {
        self.mark != "LUA_PATH"
    }

    /// Its files and folders in an image.
    pub(super) fn folders(&self, tree: &Tree) -> BTreeSet<TreePath> {
        let mut out = BTreeSet::new();
        for pattern in self.folders {
            let mut found = vec![TreePath::root()];
            for part in pattern.split('/').filter(|p| !p.is_empty()) {
                let mut next = Vec::new();
                for dir in found {
                    match part.contains(['*', '[']) {
                        true => {
                            let fits = |(p, _): &(&TreePath, _)| p.file_name().is_some_and(|n| fits(n, part));
                            next.extend(tree.children(&dir).filter(fits).map(|(p, _)| p.clone()));
                        }
                        false => next.extend(dir.join(part).ok().filter(|p| tree.contains(p))),
                    }
                }
                found = next;
            }
            out.extend(found.into_iter().filter(|p| tree.get(p).is_some_and(|n| n.is_dir() || n.is_file())));
        }
        out
    }
}

/// Whether a name fits a pattern: its beginning, then `[0-9]` for a digit, then `*` for the rest.
fn fits(name: &[u8], pattern: &str) -> bool {
    let digit = pattern.contains("[0-9]");
    let start = pattern.split(['*', '[']).next().unwrap_or_default();
    let Some(rest) = name.strip_prefix(start.as_bytes()) else { return false };
    !digit || rest.first().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Meta, Node};

    #[test]
    fn the_table_is_sorted() {
        assert!(FAMILIES.is_sorted());
    }

    #[test]
    fn folders_of_an_image() {
        let mut tree = Tree::default();
        for file in ["usr/lib/python3.11/os.py", "usr/lib/python3/dist-packages/x.py", "usr/lib/pythonic/x"] {
            tree.insert_all(file.parse().unwrap(), Node::file(0o644, "x"), &Meta::dir()).unwrap();
        }
        let python = by_mark(b"PYTHONUNBUFFERED").next().unwrap();
        let got: Vec<String> = python.folders(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(got, ["/usr/lib/python3", "/usr/lib/python3.11"]);
        assert_eq!(by_mark(b"HOME").count(), 0);
    }

    #[test]
    fn messages_that_demand_a_locale() {
        for (message, expected) in [
            ("need UTF-8 locale (LC_CTYPE) but have %s", true),
            ("mosh-server needs a UTF-8 native locale to run.\n\n", true),
            ("the locale's encoding must be UTF-8", true),
            ("UTF-8 locale", false),
            ("needs a locale", false),
        ] {
            assert_eq!(by_mark(message.as_bytes()).count() == 1, expected, "{message}");
        }
    }
}
