//! The kernels that a host has: their modules, and the options that they were built with.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use tree::{Tree, TreePath, escape};

use crate::files::{file, text};

/// Where kernels have their modules. Merged hosts have one of them as a link to the other.
const MODULES: [&str; 2] = ["/usr/lib/modules", "/usr/lib64/modules"];
/// Bytes of a list that depmod(8) makes, or of a configuration; those of distributions have one or two million.
const LISTS: u64 = 16 << 20;
/// Hosts keep two or three.
const KERNELS_MAX: usize = 16;

/// One kernel.
#[derive(Debug)]
pub(crate) struct Kernel<'t> {
    /// What uname(2) calls it: `6.12.30-flatcar`.
    pub(crate) release: String,
    tree: &'t Tree,
    dir: TreePath,
    modules: OnceCell<BTreeSet<String>>,
    options: OnceCell<Option<BTreeSet<String>>>,
}

impl<'t> Kernel<'t> {
    /// The kernels of a host, with what a merge adds to their modules; none if the host is an image that somebody else's kernel starts.
    pub(crate) fn all(host: &Tree, merged: &'t Tree) -> Vec<Kernel<'t>> {
        let Some(dir) = MODULES.iter().find_map(|dir| host.resolve(dir, true).ok()) else {
            return Vec::new();
        };
        let kernels = host.children(&dir.path).filter(|(_, node)| node.is_dir());
        let kernels = kernels.map(|(path, _)| Kernel {
            release: escape(path.file_name().unwrap_or_default()),
            tree: merged,
            dir: path.clone(),
            modules: OnceCell::new(),
            options: OnceCell::new(),
        });
        // A directory without modules is what a kernel leaves that was removed.
        kernels.filter(Kernel::is_installed).take(KERNELS_MAX).collect()
    }

    /// Whether modprobe(8) finds something by this name: a module, a part of the kernel, or another name of one; none if the tree
    /// doesn't list the kernel's parts.
    pub(crate) fn has_module(&self, name: &str) -> Option<bool> {
        match self.modules().contains(&normal(name)) {
            true => Some(true),
            false => self.lists_parts().then_some(false),
        }
    }

    /// Whether an option is set; none if the tree hasn't the kernel's configuration.
    pub(crate) fn has_option(&self, name: &str) -> Option<bool> {
        Some(self.options.get_or_init(|| self.read_options()).as_ref()?.contains(name))
    }

    fn is_installed(&self) -> bool {
        let is_module =
            |(path, _): (&TreePath, _)| path.file_name().is_some_and(|name| module(name).is_some());
        self.tree.subtree(&self.dir).any(is_module) || self.lists_parts()
    }

    /// Whether the tree lists what the kernel has built in.
    fn lists_parts(&self) -> bool {
        self.dir.join("modules.builtin").is_ok_and(|path| file(self.tree, path.to_absolute()).is_some())
    }

    fn modules(&self) -> &BTreeSet<String> {
        self.modules.get_or_init(|| {
            let mut out: BTreeSet<String> =
                self.tree.subtree(&self.dir).filter_map(|(path, _)| module(path.file_name()?)).collect();
            out.extend(
                self.list("modules.builtin").lines().filter_map(|line| module(file_name(line.as_bytes()))),
            );
            for line in self.list("modules.alias").lines() {
                let mut words = line.split_whitespace();
                if words.next() == Some("alias") {
                    out.extend(words.next().map(normal));
                }
            }
            let builtin = self.list("modules.builtin.modinfo");
            let fields =
                builtin.split('\0').filter_map(|field| field.split_once('.')?.1.strip_prefix("alias="));
            out.extend(fields.map(normal));
            out
        })
    }

    /// A list of modules, as text.
    fn list(&self, name: &str) -> String {
        let node = self.dir.join(name).ok().and_then(|path| file(self.tree, path.to_absolute()));
        let bytes = node.and_then(|node| node.content()?.read(LISTS).ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn read_options(&self) -> Option<BTreeSet<String>> {
        let release = &self.release;
        let places = [
            format!("/boot/config-{release}"),
            format!("/usr/boot/config-{release}"),
            format!("{}/config", self.dir),
            format!("{}/build/.config", self.dir),
        ];
        let bytes = places.iter().find_map(|path| file(self.tree, path)?.content()?.read(LISTS).ok())?;
        let text = String::from_utf8_lossy(&bytes);
        let set = |line: &str| {
            let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
            (value != "n").then(|| name.to_owned())
        };
        Some(text.lines().filter_map(set).collect())
    }
}

/// Other names that modprobe.d(5) gives, and names that it has a command for.
pub(crate) fn configured_names(tree: &Tree) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for dir in ["/usr/lib/modprobe.d", "/etc/modprobe.d"] {
        let Ok(dir) = tree.resolve(dir, true) else { continue };
        for (path, _) in tree.children(&dir.path) {
            let text = text(tree, path.to_absolute()).unwrap_or_default();
            for line in String::from_utf8_lossy(&text).lines() {
                let mut words = line.split_whitespace();
                if matches!(words.next(), Some("alias" | "install")) {
                    out.extend(words.next().map(normal));
                }
            }
        }
    }
    out
}

/// modprobe(8) makes no difference between `-` and `_`.
pub(crate) fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// The module in a file: `ext4` of `ext4.ko.xz`.
fn module(file: &[u8]) -> Option<String> {
    let file = std::str::from_utf8(file).ok()?;
    let (name, ending) = file.split_once(".ko")?;
    matches!(ending, "" | ".gz" | ".xz" | ".zst").then(|| normal(name))
}

fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or_default()
}
