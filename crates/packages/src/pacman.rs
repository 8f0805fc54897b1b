//! pacman's database: a directory for each package, with `desc` and `files` in it. libalpm's be_local.c.

use tree::{Tree, TreePath};

use crate::budget::Budget;
use crate::files::{bytes, text};
use crate::{DatabaseError, Dependency, Package};

const LOCAL: &str = "/var/lib/pacman/local";

pub(crate) fn read(tree: &Tree, budget: &mut Budget) -> Result<Vec<Package>, DatabaseError> {
    let mut out = Vec::new();
    let Ok(dir) = tree.resolve(LOCAL, true) else { return Ok(out) };
    for (path, _) in tree.children(&dir.path).filter(|(_, node)| node.is_dir()) {
        let Some(desc) = text(tree, &format!("{path}/desc"), budget)? else { continue };
        let Some(package) = described(&desc, budget)? else { continue };
        let files = bytes(tree, &format!("{path}/files"), budget)?.unwrap_or_default();
        let (files, configuration) = listed(&files, budget)?;
        out.push(Package { files, configuration, ..package });
    }
    Ok(out)
}

/// `%NAME%` on a line, then its values, one a line, then an empty one.
fn described(text: &str, budget: &mut Budget) -> Result<Option<Package>, DatabaseError> {
    let mut package = Package::default();
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            section = "";
        } else if section.is_empty() {
            section = line;
        } else {
            match section {
                "%NAME%" => package.name = line.to_owned(),
                "%VERSION%" => package.version = line.to_owned(),
                "%ARCH%" => package.architecture = line.to_owned(),
                "%DEPENDS%" => {
                    budget.name(line)?;
                    package.depends.push(Dependency { alternatives: vec![name(line)] });
                }
                "%PROVIDES%" => {
                    budget.name(line)?;
                    package.provides.push(name(line));
                }
                _ => {}
            }
        }
    }
    if package.name.is_empty() {
        return Ok(None);
    }
    budget.package(&package)?;
    Ok(Some(package))
}

/// `glibc>=2.38`, `libz.so=1-64`.
fn name(text: &str) -> String {
    text[..text.find(['<', '>', '=']).unwrap_or(text.len())].to_owned()
}

/// Files and configuration files, both without the slash at their start.
fn listed(text: &[u8], budget: &mut Budget) -> Result<(Vec<TreePath>, Vec<TreePath>), DatabaseError> {
    let (mut files, mut configuration) = (Vec::new(), Vec::new());
    let mut section: &[u8] = b"";
    for line in text.split(|&b| b == b'\n') {
        let list = match (section, line) {
            (_, b"") => {
                section = b"";
                continue;
            }
            (b"", _) => {
                section = line;
                continue;
            }
            (b"%FILES%", _) => &mut files,
            (b"%BACKUP%", _) => &mut configuration,
            _ => continue,
        };
        let path = match section {
            b"%BACKUP%" => line.split(|&b| b == b'\t').next().unwrap_or_default(),
            _ => line,
        };
        let Ok(path) = TreePath::new(path) else { continue };
        budget.file(&path)?;
        list.push(path);
    }
    Ok((files, configuration))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Database;
    use tree::{Meta, Node};

    #[test]
    fn a_package_of_two_files() {
        let mut tree = Tree::default();
        let desc = "%NAME%\ngit\n\n%VERSION%\n2.45-1\n\n%ARCH%\nx86_64\n\n%DEPENDS%\ncurl\nglibc>=2.38\n\n\
                    %PROVIDES%\nlibx.so=1-64\n\n%DESC%\n%NAME%\nother\n";
        let files =
            "%FILES%\nusr/\nusr/bin/\nusr/bin/git\netc/gitconfig\n../x\n\n%BACKUP%\netc/gitconfig\tabc\n";
        for (path, text) in [
            ("/var/lib/pacman/local/git-2.45-1/desc", desc),
            ("/var/lib/pacman/local/git-2.45-1/files", files),
            ("/var/lib/pacman/local/ALPM_DB_VERSION", "9"),
            ("/var/lib/pacman/local/none/desc", "%%\n\n%NAME%\n\n"),
            ("/usr/bin/git", "x"),
            ("/etc/gitconfig", "x"),
        ] {
            tree.insert_all(path.parse().unwrap(), Node::file(0o644, text), &Meta::dir()).unwrap();
        }
        let db = Database::read(&tree).unwrap().unwrap();
        let all: Vec<&Package> = db.packages().collect();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].name.as_str(), all[0].version.as_str()), ("git", "2.45-1"));
        assert_eq!(all[0].provides, ["libx.so"]);
        assert_eq!(all[0].depends[1].alternatives, ["glibc"]);
        assert_eq!(all[0].files, ["/etc/gitconfig".parse().unwrap(), "/usr/bin/git".parse().unwrap()]);
        assert_eq!(all[0].configuration, ["/etc/gitconfig".parse().unwrap()]);
    }
}
