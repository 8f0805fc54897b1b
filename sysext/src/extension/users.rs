//! Users and groups that an extension counts on: an image's /etc/passwd stays behind, so the host has to have them, or a
//! sysusers.d file of the extension makes them.

use std::collections::BTreeSet;

use super::ExtensionError;
use super::accounts::{Account, made, mentions};
use super::findings::Findings;
use super::rules::USER;
use tree::Tree;

/// Finds units, and other files that name users, with users that nobody makes.
pub(super) fn check(tree: &Tree, lint: &mut Findings<'_>) -> Result<(), ExtensionError> {
    let made = made(tree)?;
    if made.unclear {
        return Ok(());
    }
    for (path, mentions) in mentions(tree)? {
        let mut names = BTreeSet::new();
        for m in mentions {
            if made.has(m.account, &m.name) || !names.insert((m.account, m.name)) {
                continue;
            }
            let what = match m.account {
                Account::User => "user",
                Account::Group => "group",
            };
            let message = format!(
                "{} (line {}): the host has to have this {what}, which nothing in the extension makes",
                m.shown, m.line
            );
            lint.add(&USER, Some(&path), message);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Extension, ExtensionOptions, Release};
    use tree::{Meta, Node, TreePath, escape};

    /// What is said of an extension with these files.
    fn said(files: &[(&str, &str)]) -> Vec<String> {
        let mut tree = Tree::default();
        for (path, text) in files {
            tree.insert_all(path.parse().unwrap(), Node::file(0o644, *text), &Meta::dir()).unwrap();
        }
        let release = Release { reload_manager: true, ..Release::default() };
        let options = ExtensionOptions::default();
        let made = Extension::new(tree, "t".parse().unwrap(), release, &options).unwrap();
        let users = made.findings().iter().filter(|f| f.rule == "user");
        users
            .map(|f| {
                let (what, _) = f.message.split_once(": the host has to have this ").unwrap();
                let file = f.path.as_ref().and_then(TreePath::file_name).unwrap();
                format!("{} {what}", escape(file))
            })
            .collect()
    }

    const UNIT: &str = "/usr/lib/systemd/system/a.service";

    #[test]
    fn accounts_of_units() {
        let table: [(&str, &[&str]); 12] = [
            ("User=www\nGroup=web", &["a.service User=www (line 2)", "a.service Group=web (line 3)"]),
            ("User=root\nGroup=tty", &[]),
            ("User=1000\nGroup=0", &[]),
            ("User=%i", &[]),
            ("User=www\nUser=", &[]),
            ("User=www\nUser=root", &[]),
            ("User=systemd-network", &[]),
            ("DynamicUser=yes\nUser=www", &[]),
            ("DynamicUser=no\nUser=www", &["a.service User=www (line 3)"]),
            (
                "DynamicUser=yes\nSupplementaryGroups=plugdev",
                &["a.service SupplementaryGroups=plugdev (line 3)"],
            ),
            (
                "SupplementaryGroups=a video\nSupplementaryGroups=b",
                &["a.service SupplementaryGroups=a (line 2)", "a.service SupplementaryGroups=b (line 3)"],
            ),
            ("[Unit]\nUser=www", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(said(&[(UNIT, &format!("[Service]\n{text}\n"))]), expected, "{text}");
        }
    }

    #[test]
    fn sysusers_makes_them() {
        let unit = (UNIT, "[Service]\nUser=www\nGroup=web\nSupplementaryGroups=more\n");
        let with = |conf: &str| said(&[unit, ("/usr/lib/sysusers.d/a.conf", conf)]).len();
        for (conf, left) in [
            ("u www -\n", 2),
            ("u! www 33:web \"A server\" /srv\ng web -\ng more -\n", 0),
            ("# u www -\n", 3),
            ("m www web\n", 1),
            ("m \"www\" more\ng web 70\n", 0),
            ("u %i -\n", 0),
        ] {
            assert_eq!(with(conf), left, "{conf}");
        }
    }

    #[test]
    fn accounts_of_other_files() {
        assert_eq!(
            said(&[
                (UNIT, "[Service]\nUser=www\n"),
                ("/usr/lib/systemd/system/a.service.d/x.conf", "[Service]\nDynamicUser=1\n"),
                ("/usr/lib/systemd/system/b.socket", "[Socket]\nSocketUser=root\nSocketGroup=docker\n"),
                ("/usr/lib/systemd/user/c.service", "[Service]\nUser=nobody-there\n"),
                (
                    "/usr/lib/tmpfiles.d/d.conf",
                    "# x\nd /run/d 0755 dd :ee -\nd /run/e - - -\nf /run/f 0644 root root\n"
                ),
                (
                    "/usr/lib/udev/rules.d/e.rules",
                    "KERNEL==\"x\", GROUP==\"y\", OWNER=\"own\", GROUP:=\"plugdev\", MODE=\"0660\"\nGROUP=\"$env{X}\"\n"
                ),
                ("/usr/share/dbus-1/system-services/f.service", "[D-BUS Service]\nName=f\nUser=messagebus\n"),
                (
                    "/usr/share/dbus-1/system.d/g.conf",
                    "<busconfig>\n<policy user='gg'><allow own=\"g\"/></policy>\n<policy user=\"root\"></policy>\n"
                ),
            ]),
            [
                "b.socket SocketGroup=docker (line 3)",
                "f.service User=messagebus (line 3)",
                "g.conf <policy user=\"gg\"> (line 2)",
                "d.conf user dd (line 2)",
                "d.conf group ee (line 2)",
                "e.rules OWNER=\"own\" (line 1)",
                "e.rules GROUP=\"plugdev\" (line 1)",
            ]
        );
    }
}
