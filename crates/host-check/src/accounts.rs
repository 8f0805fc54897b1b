//! Users and groups that extensions' files name, and who makes them.

use std::collections::BTreeSet;

use sysext::extension::accounts::{Account, made, mentions};
use sysext::extension::unit_programs::is_unit;
use sysext::lint::release_file;
use tree::{ContentError, TreePath};

use crate::files::text;
use crate::layer::Layer;
use crate::rules::{ACCOUNT, ACCOUNT_LATE};
use crate::units::Units;
use crate::{Finding, Host, Severity};

/// Where a host has its accounts: in its own files, in those of an image (nss-altfiles), and in what Flatcar's are made from.
const FILES: [(&str, &str); 4] = [
    ("/etc/passwd", "/etc/group"),
    ("/usr/lib/passwd", "/usr/lib/group"),
    ("/usr/share/baselayout/passwd", "/usr/share/baselayout/group"),
    ("/usr/etc/passwd", "/usr/etc/group"),
];

#[derive(Default)]
struct Accounts {
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
}

impl Accounts {
    fn has(&self, account: Account, name: &str) -> bool {
        match account {
            Account::User => self.users.contains(name),
            Account::Group => self.groups.contains(name),
        }
    }
}

pub(crate) fn findings(
    host: &Host,
    units: &Units,
    layers: &[Layer<'_>],
) -> Result<Vec<Finding>, ContentError> {
    let mut out = Vec::new();
    let Some(mut hosts) = of_host(host) else { return Ok(out) };
    // What an extension can't be asked is asked nobody.
    let Ok(own) = made(&host.tree) else { return Ok(out) };
    hosts.users.extend(own.users);
    hosts.groups.extend(own.groups);
    let all: Vec<_> = layers.iter().map(|e| made(e.tree).unwrap_or_default()).collect();
    for (i, layer) in layers.iter().enumerate() {
        let Ok(found) = mentions(layer.tree) else { continue };
        let at_once = applies_at_once(host, units, layer)?;
        let mut told = BTreeSet::new();
        for (path, mentions) in found.into_iter().filter(|(path, _)| !is_link_to_unit(path)) {
            for mention in mentions {
                let name = &mention.name;
                let number = name.bytes().all(|b| b.is_ascii_digit());
                if number || name.contains('%') || hosts.has(mention.account, name) {
                    continue;
                }
                if !told.insert((mention.account, name.clone())) {
                    continue;
                }
                let word = if mention.account == Account::User { "user" } else { "group" };
                let makes = |made: &sysext::extension::accounts::Made| match mention.account {
                    Account::User => made.users.contains(name),
                    Account::Group => made.groups.contains(name),
                };
                let by = Some(layer.name.as_str());
                // A unit that lacks its user doesn't start; others skip a line.
                let severity = match is_unit(&path) {
                    true => Severity::Error,
                    false => Severity::Warning,
                };
                if all.iter().any(|made| made.unclear) {
                    continue;
                } else if !all.iter().any(makes) {
                    let message =
                        format!("{}: neither the host nor an extension has this {word}", mention.shown);
                    out.push(ACCOUNT.finding(by, Some(&path), message).with(severity));
                } else if !at_once && makes(&all[i]) {
                    let message = format!(
                        "{}: nothing makes this {word} after the merge, since a boot has read sysusers.d by then",
                        mention.shown
                    );
                    out.push(ACCOUNT_LATE.finding(by, Some(&path), message).with(severity));
                }
            }
        }
    }
    Ok(out)
}

/// Whether it is in `NAME.wants` or the like, where units are by another name.
fn is_link_to_unit(path: &TreePath) -> bool {
    let dir = path.parent();
    let name = dir.as_ref().and_then(TreePath::file_name).unwrap_or_default();
    [b".wants".as_slice(), b".requires", b".upholds"].iter().any(|ending| name.ends_with(ending))
}

/// Whether an extension has its sysusers.d read behind the merge.
fn applies_at_once(host: &Host, units: &Units, layer: &Layer<'_>) -> Result<bool, ContentError> {
    const SERVICE: &str = "systemd-sysusers.service";
    let restarts = release_file::find(layer.tree, &layer.name)?.is_some_and(|f| {
        let release = &f.release;
        release.restart_units.iter().chain(&release.reload_or_restart_units).any(|unit| unit == SERVICE)
    });
    Ok(restarts || layer.runs(&["systemd-sysusers"]) || crate::late::follows_merge(host, units, SERVICE))
}

/// The host's accounts; none if its files of them aren't there, as in an image that makes them when it boots.
fn of_host(host: &Host) -> Option<Accounts> {
    let mut out = Accounts::default();
    let mut any = false;
    let names = |text: Vec<u8>| -> Vec<String> {
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
    };
    for (users, groups) in FILES {
        if let Some(found) = text(&host.tree, users) {
            any = true;
            out.users.extend(names(found));
        }
        out.groups.extend(text(&host.tree, groups).map(names).unwrap_or_default());
    }
    any.then_some(out)
}
