//! The users and groups of an image. passwd(5), group(5).

use std::collections::HashMap;

use tree::{ContentError, Tree, TreePath};

/// Bytes. Larger files are no error: nothing in them counts.
const FILE_LIMIT: u64 = 1 << 20;

/// A user of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// Its number in the image.
    pub uid: u32,
    /// The number of its primary group in the image.
    pub gid: u32,
    /// The comment field.
    pub comment: String,
    /// The home directory.
    pub home: String,
    /// The login shell.
    pub shell: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub name: String,
    pub gid: u32,
    pub members: Vec<String>,
}

/// All of an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    pub users: Vec<User>,
    pub groups: Vec<Group>,
    /// Positions in `users` and `groups`. Of several with the same name or number, the first counts, as for the C library.
    user_names: HashMap<String, usize>,
    user_numbers: HashMap<u32, usize>,
    group_names: HashMap<String, usize>,
    group_numbers: HashMap<u32, usize>,
}

impl Accounts {
    /// Reads /etc/passwd and /etc/group; malformed lines are skipped.
    pub(crate) fn read(tree: &Tree) -> Result<Accounts, (TreePath, ContentError)> {
        let mut out = Accounts::default();
        for line in lines(tree, "/etc/passwd")? {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, comment, home, shell, ..] = fields.as_slice() else { continue };
            let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { continue };
            if is_name(name) {
                let [name, comment, home, shell] = [name, comment, home, shell].map(|s| (*s).to_owned());
                out.user_names.entry(name.clone()).or_insert(out.users.len());
                out.user_numbers.entry(uid).or_insert(out.users.len());
                out.users.push(User { name, uid, gid, comment, home, shell });
            }
        }
        for line in lines(tree, "/etc/group")? {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, members, ..] = fields.as_slice() else { continue };
            let Ok(gid) = gid.parse() else { continue };
            if is_name(name) {
                let members = members.split(',').filter(|m| is_name(m)).map(str::to_owned).collect();
                out.group_names.entry((*name).to_owned()).or_insert(out.groups.len());
                out.group_numbers.entry(gid).or_insert(out.groups.len());
                out.groups.push(Group { name: (*name).to_owned(), gid, members });
            }
        }
        Ok(out)
    }

    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.get(*self.user_names.get(name)?)
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(*self.group_names.get(name)?)
    }

    pub(crate) fn user_of(&self, uid: u32) -> Option<&User> {
        self.users.get(*self.user_numbers.get(&uid)?)
    }

    pub(crate) fn group_of(&self, gid: u32) -> Option<&Group> {
        self.groups.get(*self.group_numbers.get(&gid)?)
    }
}

/// A name that systemd-sysusers takes. systemd's user-record documentation, "strict" names, in upper case too.
pub(crate) fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    first && name.len() < 32 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

fn lines(tree: &Tree, path: &str) -> Result<Vec<String>, (TreePath, ContentError)> {
    let Ok(found) = tree.resolve(path, true) else { return Ok(Vec::new()) };
    let Some(content) = tree.get(&found.path).and_then(|n| n.content()) else { return Ok(Vec::new()) };
    if content.len() > FILE_LIMIT {
        return Ok(Vec::new());
    }
    let bytes = content.read(FILE_LIMIT).map_err(|e| (found.path.clone(), e))?;
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}
