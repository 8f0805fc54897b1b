//! The ranges of ids that /etc/subuid and /etc/subgid give to a user. subuid(5), newuidmap(1).

use std::process::Command;

use tree::process::find_program;

use super::wire::Step;

/// Ids that an image may use: all that 16 bits can number.
const NEEDED: u32 = 65535;

/// Arguments for newuidmap and newgidmap.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Maps {
    uid: u32,
    gid: u32,
    uids: (u32, u32),
    gids: (u32, u32),
}

impl Maps {
    pub(super) fn find() -> Result<Maps, Step> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        for tool in ["newuidmap", "newgidmap"] {
            find_program(tool).ok_or_else(|| Step {
                step: tool.into(),
                message: "no such program (Debian's package uidmap has it)".into(),
            })?;
        }
        let name = std::fs::read_to_string("/etc/passwd").ok().and_then(|text| user_name(&text, uid));
        let range = |path: &str| {
            let failed = |message: String| Step { step: path.to_owned(), message };
            let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
            largest(&text, name.as_deref(), uid).map_err(failed)
        };
        Ok(Maps { uid, gid, uids: range("/etc/subuid")?, gids: range("/etc/subgid")? })
    }

    /// Writes them for a process that has just made its user name space.
    pub(super) fn apply(&self, pid: u32) -> Result<(), Step> {
        for (tool, own, (start, count)) in
            [("newuidmap", self.uid, self.uids), ("newgidmap", self.gid, self.gids)]
        {
            let failed = |message: String| Step { step: tool.into(), message };
            let program = find_program(tool).ok_or_else(|| failed("no such program".into()))?;
            let numbers = [pid, 0, own, 1, 1, start, count].map(|n| n.to_string());
            let done = Command::new(program).args(numbers).output().map_err(|e| failed(e.to_string()))?;
            if !done.status.success() {
                return Err(failed(String::from_utf8_lossy(&done.stderr).trim().to_owned()));
            }
        }
        Ok(())
    }
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Start and count of the largest range of a user, who stands there by name or by number.
fn largest(text: &str, name: Option<&str>, uid: u32) -> Result<(u32, u32), String> {
    let ranges = text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let own = Some(owner) == name || owner.parse() == Ok(uid);
        let (start, count): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let sound = start.checked_add(count).is_some() && start > 0;
        (own && sound && fields.next().is_none()).then_some((start, count))
    });
    let (start, count) = ranges.max_by_key(|r| r.1).ok_or("has no range for this user")?;
    if count < NEEDED {
        return Err(format!("got {count} ids for this user, expected at least {NEEDED}"));
    }
    Ok((start, count.min(NEEDED + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        type Row = (&'static str, Result<(u32, u32), &'static str>);
        let rows: &[Row] = &[
            ("", Err("has no range for this user")),
            ("other:100000:65536\n", Err("has no range for this user")),
            ("me:100000:65536\n", Ok((100000, 65536))),
            ("1000:100000:65536\n", Ok((100000, 65536))),
            ("other:100000:65536\nme:165536:65536\n", Ok((165536, 65536))),
            ("me:1:10\nme:165536:100000\n", Ok((165536, 65536))),
            ("me:100000:1000\n", Err("got 1000 ids for this user, expected at least 65535")),
            ("me:4294967295:65536\n", Err("has no range for this user")),
            ("me:0:65536\n", Err("has no range for this user")),
            ("me:100000\nme:x:y\nme:1:2:3\n:::\n", Err("has no range for this user")),
        ];
        for (text, expected) in rows {
            assert_eq!(largest(text, Some("me"), 1000), expected.map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn names() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nme:x:1000:1000::/home/me:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("me"));
        assert_eq!(user_name(passwd, 1), None);
    }
}
