//! The extension's tree, made from a plan and the image.

use std::collections::HashMap;

use tree::{Ino, Kind, Meta, Node, Tree, TreePath};

use crate::{
    key_stores,
    plan::{Plan, PlanError, Shown},
    prune::{self, Pruned},
    script::{self, Role},
    service_user,
};

/// What was left out of the image on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Devices, sockets and pipes: they would not work in an extension.
    pub specials: Vec<TreePath>,
    /// Programs that lost set-id bits or file capabilities.
    pub privileged: Vec<TreePath>,
    /// What `--prune` saved.
    pub pruned: Option<Pruned>,
}

impl Plan {
    /// Makes the tree: the image in the sysroot, the scripts beside it, and what shows on the host.
    ///
    /// # Errors
    /// The image has something in the way, or a unit can't be read.
    pub fn build(&self, mut image: Tree) -> Result<(Tree, Report), PlanError> {
        let sysroot = &self.options.sysroot;
        // What is in these is never seen, and their device nodes are of no use to anybody.
        for dir in ["/dev", "/proc", "/sys"] {
            let dir = TreePath::new(dir)?;
            if self.mounts.is_host(&dir) {
                let children: Vec<TreePath> = image.children(&dir).map(|(p, _)| p.clone()).collect();
                for child in children {
                    image.remove(&child);
                }
            }
        }
        let keep: Vec<&TreePath> = self.shown.values().map(Shown::path).collect();
        let pruned =
            self.options.prune.as_ref().map(|locales| prune::prune(&mut image, &self.mounts, &keep, locales));
        let key_stores = key_stores::keep(&mut image, &self.mounts)?;
        self.mounts.make_places(&mut image)?;
        let mut out = Tree::default();
        let mut report = Report { pruned, ..Report::default() };
        out.make_dirs(sysroot, &Meta::dir())?;
        graft(&mut out, sysroot, &image, &mut report)?;

        let scripts = sysroot.join(script::DIR)?;
        out.insert(scripts.clone(), Node::dir())?;
        // Where the private root is put together.
        out.insert(scripts.join("root")?, Node::dir())?;
        for (path, node) in key_stores {
            out.insert_all(sysroot.join(path.as_relative())?, node, &Meta::dir())?;
        }
        let setpriv = service_user::has_setpriv(&image);
        drop(image);

        let enter = script::enter(&self.options, &self.mounts, &self.variables, self.becomes_users);
        let mut files = vec![
            ("enter", 0o644, enter),
            ("as-root", 0o755, script::inside(&self.options, Role::Root)),
            ("as-user", 0o755, script::inside(&self.options, Role::User)),
            ("fstab.root", 0o644, script::table(&self.mounts, Role::Root, false)),
            ("fstab.user", 0o644, script::table(&self.mounts, Role::User, false)),
            ("fstab.user.nosuid", 0o644, script::table(&self.mounts, Role::User, true)),
        ];
        if self.becomes_users {
            files.push((script::UNIT, 0o755, script::for_units(&self.options)));
            files.push(("as-unit", 0o755, script::inside(&self.options, Role::Unit { setpriv })));
        }
        for (name, mode, text) in files {
            out.insert(scripts.join(name)?, Node::file(mode, text))?;
        }
        for (target, shown) in &self.shown {
            let node = match shown {
                Shown::EntryPoint(program) => Node::file(0o755, script::entry(&self.options, program)),
                Shown::Command(command) => Node::file(0o755, script::command(&self.options, command)),
                Shown::Link(path) => Node::symlink(sysroot.join(path.as_relative())?.to_absolute()),
                Shown::Unit(_) => continue,
            };
            out.insert_all(target.clone(), node, &Meta::dir())?;
        }
        for (target, text) in &self.units {
            out.insert_all(target.clone(), Node::file(0o644, text.as_slice()), &Meta::dir())?;
        }
        Ok((out, report))
    }
}

/// Copies `image` below `at`, hard links kept, without what would not work or be dangerous there.
fn graft(out: &mut Tree, at: &TreePath, image: &Tree, report: &mut Report) -> Result<(), PlanError> {
    let mut first: HashMap<Ino, TreePath> = HashMap::new();
    for (path, ino, node) in image.iter_inodes() {
        let target = at.join(path.as_relative())?;
        if matches!(node.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo | Kind::Socket)
        {
            report.specials.push(path.clone());
            continue;
        }
        if image.nlink(ino) > 1 {
            if let Some(other) = first.get(&ino) {
                out.link(target, other)?;
                continue;
            }
            first.insert(ino, target.clone());
        }
        let mut node = node.clone();
        // On the host, outside of the private root, these would be set-id programs that anybody could start, with the
        // host's libraries; inside they give nobody anything, since others than root are in a user namespace there.
        if node.is_file() {
            let capability = node.meta.xattrs.remove(&b"security.capability"[..]).is_some();
            if node.meta.mode & 0o6000 != 0 || capability {
                node.meta.mode &= 0o1777;
                report.privileged.push(path.clone());
            }
        }
        out.insert(target, node)?;
    }
    Ok(())
}
