//! What a merge on a running system doesn't apply: what is read once, earlier in a boot or by a daemon when it starts.

use std::cell::OnceCell;

use sysext::extension::late::LATE_FILES;
use sysext::lint::release_file;
use tree::{ContentError, StaticPath, Tree, TreePath};

use crate::layer::Layer;
use crate::overlay::{Merged, Owner};
use crate::rules::{KERNEL_MODULES, LABELS, LATE};
use crate::units::{Units, names};
use crate::{Finding, Host, Severity};

const SYSEXT: &str = "systemd-sysext.service";

/// Whether a unit of the host's starts behind the merge of a boot, by systemd-sysext.service's own order or that of the unit.
pub(crate) fn follows_merge(host: &Host, units: &Units, unit: &str) -> bool {
    let has = |of: &str, key: &str, wanted: &str| {
        let lines = units.directives(&host.tree, of);
        lines
            .iter()
            .filter(|d| d.section == "Unit" && d.key == key)
            .any(|d| names(d).any(|name| name == wanted))
    };
    has(SYSEXT, "Before", unit) || has(unit, "After", SYSEXT)
}

pub(crate) fn findings(
    host: &Host,
    units: &Units,
    merged: &Merged,
    layers: &[Layer<'_>],
) -> Result<Vec<Finding>, ContentError> {
    let mut out = Vec::new();
    let follow = LATE_FILES.each_ref().map(|_| OnceCell::new());
    for layer in layers {
        let name = Some(layer.name.as_str());
        let release = release_file::find(layer.tree, &layer.name)?.map(|f| f.release);
        let restarted = |unit: &str| {
            release.as_ref().is_some_and(|r| {
                r.restart_units.iter().chain(&r.reload_or_restart_units).any(|restarted| restarted == unit)
            })
        };
        for (files, follows) in LATE_FILES.iter().zip(&follow) {
            let Some(path) = files.first(layer.tree) else { continue };
            let (what, service) = (files.what, files.service);
            let (message, severity) = if restarted(service) {
                (format!("{what}: {service} is restarted by the merge"), Severity::Note)
            } else if layer.runs(files.commands) {
                (format!("{what}: a unit of the extension applies them"), Severity::Note)
            } else if *follows.get_or_init(|| follows_merge(host, units, service)) {
                (
                    format!("{what}: applied by a boot, and not by a merge on the running system"),
                    Severity::Note,
                )
            } else {
                (
                    format!(
                        "{what}: {service} reads them before the merge, and nothing in the extension applies them"
                    ),
                    if files.is_needed { Severity::Warning } else { Severity::Note },
                )
            };
            out.push(LATE.finding(name, Some(path), message).with(severity));
        }
        labels(host, layer, &mut out);
    }
    modules(host, merged, layers, &mut out);
    Ok(out)
}

/// Modules of a kernel that isn't the host's, or that modprobe(8) doesn't find.
fn modules(host: &Host, merged: &Merged, layers: &[Layer<'_>], out: &mut Vec<Finding>) {
    const MODULES: StaticPath = StaticPath::new("/usr/lib/modules");
    let dir = MODULES.path();
    let kernels = |tree: &Tree| -> Vec<TreePath> {
        tree.children(&dir).filter(|(_, node)| node.is_dir()).map(|(path, _)| path.clone()).collect()
    };
    let hosts = kernels(&host.tree);
    for (i, layer) in layers.iter().enumerate() {
        for kernel in kernels(layer.tree) {
            let is_module =
                |path: &TreePath| path.file_name().is_some_and(|n| n.windows(3).any(|w| w == b".ko"));
            if !layer.tree.subtree(&kernel).any(|(path, _)| is_module(path)) {
                continue;
            }
            let name = Some(layer.name.as_str());
            let shown = |path: &TreePath| tree::escape(path.file_name().unwrap_or_default());
            if !hosts.contains(&kernel) {
                let others: Vec<String> = hosts.iter().map(shown).collect();
                let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
                let message = format!(
                    "has modules of kernel {}, and the host has the modules of {others}",
                    shown(&kernel)
                );
                let severity = if hosts.is_empty() { Severity::Warning } else { Severity::Error };
                out.push(KERNEL_MODULES.finding(name, Some(&kernel), message).with(severity));
                continue;
            }
            let listed =
                |file: &str| kernel.join(file).is_ok_and(|path| merged.owner(&path) == Owner::Extension(i));
            if !listed("modules.dep.bin") && !layer.runs(&["depmod", "insmod"]) {
                let message = "depmod hasn't listed its modules: modprobe doesn't find them";
                out.push(KERNEL_MODULES.finding(name, Some(&kernel), message).with(Severity::Warning));
            }
        }
    }
}

/// Files without labels, on a host with a policy.
fn labels(host: &Host, layer: &Layer<'_>, out: &mut Vec<Finding>) {
    const CONFIGURATION: &str = "/etc/selinux/config";
    let Some(text) = crate::files::text(&host.tree, CONFIGURATION) else { return };
    let (fields, _) = release_file::fields(&text);
    let severity = match fields.get("SELINUX").map(String::as_str) {
        Some("enforcing") => Severity::Error,
        Some("permissive") => Severity::Warning,
        _ => return,
    };
    let is_labelled = |node: &tree::Node| node.meta.xattrs.contains_key(b"security.selinux".as_slice());
    if !layer.labels_known || layer.tree.iter().any(|(_, node)| is_labelled(node)) {
        return;
    }
    let mode = fields.get("SELINUX").map(String::as_str).unwrap_or_default();
    let message = format!(
        "its files have no SELinux labels, and the host's policy is {mode}: services are denied them"
    );
    out.push(LABELS.finding(Some(layer.name.as_str()), None, message).with(severity));
}
