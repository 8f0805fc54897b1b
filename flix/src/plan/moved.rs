//! Paths that are compiled into programs and libraries, and at which the extension has something elsewhere: a mail server
//! starts `/usr/sbin/sendmail`. Each becomes the new path with as many slashes as it takes to fill the place of the old
//! one, since compilers count the bytes of strings, and use the end of one as another.

use std::collections::BTreeSet;

use sysext::extension::moved::Moved;
use sysext::request::home;
use tree::{Content, ContentError, Patch, TreePath};

use super::planner::Planner;
use super::{Action, PlanError};

/// Bytes. Longer paths aren't followed.
const LONGEST: usize = 512;

/// Places in one file that are followed. Programs name a handful.
const PLACES: usize = 1 << 12;

/// What is read at once. Bytes.
const CHUNK: usize = 1 << 20;

/// A path that is compiled in.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    at: u64,
    old: String,
    new: TreePath,
}

impl Planner<'_> {
    /// Follows moved programs in the paths that are compiled into others.
    pub(super) fn compiled_in_programs(&mut self) -> Result<(), PlanError> {
        let moved = self.moved_paths();
        self.plan.moved = moved.clone();
        if moved.programs.is_empty() {
            return Ok(());
        }
        let mut all = Vec::new();
        for (target, entry) in &self.plan.entries {
            let is_kept = matches!(entry.action, Action::Copy | Action::Relocate(_) | Action::Confine(_));
            let Some(source) = entry.source.as_ref().filter(|_| is_kept) else { continue };
            let Some(content) = self.tree.get(source).and_then(|n| n.content()) else { continue };
            let unreadable = |error| PlanError::Content { path: source.clone(), source: error };
            if content.head(4).map_err(unreadable)? == b"\x7fELF" {
                let named = named(&moved, content).map_err(unreadable)?;
                if named.len() > PLACES {
                    let text = format!(
                        "{target}: names programs that are elsewhere in more than {PLACES} places, not followed: {} is {} there",
                        named[0].old, named[0].new
                    );
                    self.warnings.insert(text);
                    continue;
                }
                all.extend((!named.is_empty()).then(|| (target.clone(), named)));
            }
        }
        for (target, named) in all {
            self.follow_compiled_in(&target, named);
        }
        Ok(())
    }

    fn follow_compiled_in(&mut self, target: &TreePath, named: Vec<Named>) {
        let mut patches = Vec::new();
        for Named { at, old, new } in named {
            match fit(&new.to_absolute(), old.len()) {
                Some(bytes) => {
                    self.notes.insert(format!("{target}: {old} is {new} there"));
                    patches.push(Patch { at, bytes });
                }
                None => _ = self.warnings.insert(format!("{target}: names {old}, which is {new} there")),
            }
        }
        let Some(entry) = self.plan.entries.get_mut(target) else { return };
        let known = match &mut entry.action {
            Action::Relocate(relocation) => &mut relocation.patches,
            Action::Confine(known) => known,
            action => {
                *action = Action::Confine(patches);
                return;
            }
        };
        let is_free = |patch: &Patch, known: &[Patch]| {
            let end = |p: &Patch| p.at + p.bytes.len() as u64;
            known.iter().all(|k| end(k) <= patch.at || end(patch) <= k.at)
        };
        patches.retain(|patch| is_free(patch, known));
        known.extend(patches);
        known.sort_by_key(|p| p.at);
    }

    fn moved_paths(&self) -> Moved {
        let mut out = Moved::default();
        let stays: BTreeSet<Vec<u8>> =
            self.plan.entries.keys().filter_map(TreePath::parent).map(|dir| dir.to_absolute()).collect();
        for (old, new) in self.moved_programs() {
            let Ok(path) = TreePath::new(&old) else { continue };
            if home(&path, self.request.keep_sbin).as_ref() == Some(&new)
                && let (Some(from), Some(to)) = (path.parent(), new.parent())
                && !stays.contains(&from.to_absolute())
            {
                out.dirs.insert(from.to_string(), to);
            }
            out.programs.insert(old, new);
        }
        out
    }
}

/// The compiled-in paths; no more of them are looked for once there are more than [`PLACES`]. A directory counts as a whole string,
/// and not in a list of those that are searched.
fn named(moved: &Moved, content: &Content) -> Result<Vec<Named>, ContentError> {
    let (mut out, mut dirs) = (Vec::new(), Vec::new());
    let mut searched = false;
    let mut buffer = vec![0; CHUNK + LONGEST];
    let mut start = 0;
    loop {
        let n = content.read_at(&mut buffer, start)?;
        let bytes = &buffer[..n];
        let is_last = n < buffer.len();
        let end = if is_last { n } else { CHUNK };
        // The first byte of each chunk but the first is the last of the one before.
        let mut at = 1;
        while let Some(found) = bytes.get(at..end).and_then(|b| b.iter().position(|&b| b == b'/')) {
            let begin = at + found;
            let len = bytes[begin..].iter().take(LONGEST).take_while(|&&b| is_part(b)).count();
            let (before, after) = (bytes[begin - 1], bytes.get(begin + len));
            at = begin + len;
            if joins(before) || after.is_some_and(|&b| goes_on(b)) {
                continue;
            }
            let word = &bytes[begin..at];
            let Ok(word) = std::str::from_utf8(word) else { continue };
            let named = |old: &str, new: &TreePath| Named {
                at: start + begin as u64,
                old: old.into(),
                new: new.clone(),
            };
            if let Some(new) = moved.programs.get(word) {
                out.push(named(word, new));
            } else if before == 0 && after == Some(&0) {
                let dir = word.strip_suffix('/').unwrap_or(word);
                dirs.extend(moved.dirs.get(dir).map(|new| named(dir, new)));
                searched |= moved.dirs.values().any(|new| new.to_absolute() == dir.as_bytes());
            }
        }
        if is_last || out.len() + dirs.len() > PLACES {
            break;
        }
        start += CHUNK as u64 - 1;
    }
    if !searched {
        out.append(&mut dirs);
        out.sort_by_key(|named| named.at);
    }
    out.dedup_by_key(|named| named.at);
    Ok(out)
}

fn is_part(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"/._+-@~".contains(&b)
}

/// Whether a byte before a slash makes the path a part of something longer.
fn joins(b: u8) -> bool {
    is_part(b) || b"}%$*)".contains(&b) || b >= 0x80
}

/// Whether a byte behind a path would go on with its last name.
fn goes_on(b: u8) -> bool {
    b"%$*?[{\\".contains(&b) || b >= 0x80
}

/// The path in just this many bytes. Each host has /bin as a symlink to usr/bin. None if it is too long.
fn fit(path: &[u8], len: usize) -> Option<Vec<u8>> {
    let usr = path.strip_prefix(b"/usr").filter(|rest| *rest == b"/bin" || rest.starts_with(b"/bin/"));
    let (head, tail): (&[u8], &[u8]) = match usr {
        Some(rest) if path.len() > len => (b"", rest),
        _ => path.split_at(path.iter().skip(1).position(|&b| b == b'/').map_or(0, |at| at + 1)),
    };
    let more = len.checked_sub(head.len() + tail.len())?;
    Some([head, &vec![b'/'; more], tail].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved() -> Moved {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(old, new)| ((*old).to_owned(), new.parse().unwrap())).collect()
        };
        Moved {
            programs: pairs(&[("/usr/sbin/x", "/usr/bin/x"), ("/sbin/x", "/usr/bin/x")]),
            dirs: pairs(&[("/usr/sbin", "/usr/bin")]),
        }
    }

    fn followed(text: &str) -> String {
        let content = Content::from(text);
        let named = named(&moved(), &content).unwrap().into_iter();
        let patches = named
            .map(|n| Patch { at: n.at, bytes: fit(&n.new.to_absolute(), n.old.len()).unwrap() })
            .collect();
        let new = content.patched(content.len(), patches).unwrap().read(8 << 20).unwrap();
        String::from_utf8(new).unwrap()
    }

    #[test]
    fn compiled_in_paths_are_followed_in_their_place() {
        for (text, expected) in [
            ("\0/usr/sbin/x\0", "\0/usr//bin/x\0"),
            ("\0/sbin/x -y\0", "\0//bin/x -y\0"),
            ("\0exec /usr/sbin/x; /usr/sbin/y\0", "\0exec /usr//bin/x; /usr/sbin/y\0"),
            ("\0/usr/sbin\0", "\0/usr//bin\0"),
            ("\0/usr/sbin/\0", "\0/usr//bin/\0"),
            // Parts of longer paths, names and patterns.
            ("\0%s/usr/sbin/x\0/usr/sbin/xy\0/usr/sbin/x%d\0a/sbin/x\0", ""),
            // Lists of what is searched.
            ("\0/usr/sbin:/usr/bin\0", ""),
            ("\0/usr/sbin\0/usr/bin\0", ""),
            ("\0in /usr/sbin\0", ""),
        ] {
            assert_eq!(followed(text), if expected.is_empty() { text } else { expected }, "{text:?}");
        }
    }

    #[test]
    fn paths_are_seen_once_where_chunks_meet() {
        for before in [CHUNK - LONGEST, CHUNK - 7, CHUNK - 2, CHUNK - 1, CHUNK, 2 * CHUNK - 2, 3 * CHUNK] {
            let text = format!("{}\0/usr/sbin/x\0", "y".repeat(before));
            assert!(followed(&text).ends_with("y\0/usr//bin/x\0"), "{before}");
        }
    }

    #[test]
    fn a_file_that_is_made_of_paths_takes_no_memory() {
        let content = Content::from("\0/usr/sbin/x".repeat(1 << 20).as_str());
        let found = named(&moved(), &content).unwrap().len();
        assert!(found > PLACES && found <= CHUNK, "{found}");
    }

    #[test]
    fn a_longer_path_has_no_place() {
        assert_eq!(fit(b"/usr/lib/long/x", 7), None);
        assert_eq!(fit(b"/opt/x", 8).unwrap(), b"/opt///x");
        assert_eq!(fit(b"/usr/bin/x", 7).unwrap(), b"//bin/x");
        assert_eq!(fit(b"/usr/bin", 5).unwrap(), b"//bin");
    }
}
