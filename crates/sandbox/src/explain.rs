//! Why a program of an image didn't start.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;

use tree::{Arch, Machine, Node, Tree};

use super::SandboxError;

/// What stands behind an errno of execve(2).
pub(super) fn explain(
    tree: &Tree,
    argv0: &OsString,
    env: &[(OsString, OsString)],
    errno: i32,
) -> SandboxError {
    let shown = argv0.to_string_lossy().into_owned();
    let other = |program: String| SandboxError::Exec { program, source: io::Error::from_raw_os_error(errno) };
    let Some((path, node)) = find(tree, argv0, env) else {
        return match errno {
            libc::ENOENT => SandboxError::NotFound { program: shown },
            _ => other(shown),
        };
    };
    let head = node.content().and_then(|c| c.head(4096).ok()).unwrap_or_default();
    let foreign = Machine::of(&head).filter(|m| Arch::host().is_none_or(|host| host.machine() != *m));
    match errno {
        libc::ENOENT | libc::ENOEXEC if let Some(machine) = foreign => {
            SandboxError::WrongMachine { program: path, machine: machine.to_string() }
        }
        libc::ENOENT => match interpreter(&head) {
            Some(wanted) if tree.resolve(&wanted, true).is_err() => SandboxError::NoInterpreter {
                program: path,
                interpreter: String::from_utf8_lossy(&wanted).into_owned(),
            },
            _ => other(path),
        },
        _ => other(path),
    }
}

fn find<'a>(tree: &'a Tree, argv0: &OsString, env: &[(OsString, OsString)]) -> Option<(String, &'a Node)> {
    let name = argv0.as_bytes();
    let file = |path: &[u8]| {
        let node = tree.get(&tree.resolve(path, true).ok()?.path)?;
        node.is_file().then(|| (String::from_utf8_lossy(path).into_owned(), node))
    };
    if name.contains(&b'/') {
        return file(name);
    }
    let path = env.iter().find(|(k, _)| k == "PATH").map(|(_, v)| v.as_bytes()).unwrap_or_default();
    path.split(|&b| b == b':').find_map(|dir| file(&[dir, b"/", name].concat()))
}

fn number(bytes: &[u8], at: usize, len: usize, little: bool) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(len)?)?;
    let add = |n: u64, b: &u8| n << 8 | u64::from(*b);
    Some(if little { field.iter().rev().fold(0, add) } else { field.iter().fold(0, add) })
}

/// What a `#!` line or PT_INTERP names.
pub(super) fn interpreter(head: &[u8]) -> Option<Vec<u8>> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|&b| b == b'\n').next()?.trim_ascii_start();
        return Some(line.split(|b| b.is_ascii_whitespace()).next()?.to_vec());
    }
    Machine::of(head)?;
    let (wide, little) = (*head.get(4)? == 2, *head.get(5)? == 1);
    let n = |at: usize, len: usize| number(head, at, len, little).and_then(|n| usize::try_from(n).ok());
    let (table, size, count) =
        if wide { (n(32, 8)?, n(54, 2)?, n(56, 2)?) } else { (n(28, 4)?, n(42, 2)?, n(44, 2)?) };
    (0..count).find_map(|i| {
        let at = table.checked_add(i.checked_mul(size)?)?;
        // PT_INTERP
        if n(at, 4)? != 3 {
            return None;
        }
        let (offset, len) =
            if wide { (n(at + 8, 8)?, n(at + 32, 8)?) } else { (n(at + 4, 4)?, n(at + 16, 4)?) };
        let text = head.get(offset..offset.checked_add(len)?)?;
        Some(text.split(|&b| b == 0).next()?.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::Meta;

    fn elf(machine: u16, big: bool) -> Vec<u8> {
        let mut out = vec![0u8; 64];
        out[..6].copy_from_slice(if big { b"\x7fELF\x02\x02" } else { b"\x7fELF\x02\x01" });
        let number = if big { machine.to_be_bytes() } else { machine.to_le_bytes() };
        out[18..20].copy_from_slice(&number);
        out
    }

    /// With one program header, PT_INTERP.
    fn elf_with_loader(loader: &str) -> Vec<u8> {
        let mut out = elf(Arch::host().unwrap().machine().number, false);
        out[32..40].copy_from_slice(&64u64.to_le_bytes());
        out[54..56].copy_from_slice(&56u16.to_le_bytes());
        out[56..58].copy_from_slice(&1u16.to_le_bytes());
        let mut header = vec![0u8; 56];
        header[..4].copy_from_slice(&3u32.to_le_bytes());
        header[8..16].copy_from_slice(&120u64.to_le_bytes());
        header[32..40].copy_from_slice(&(loader.len() as u64 + 1).to_le_bytes());
        out.extend(header);
        out.extend(loader.bytes().chain([0]));
        out
    }

    #[test]
    fn reasons() {
        let mut tree = Tree::default();
        let mut add = |path: &str, content: Vec<u8>| {
            tree.insert_all(path.parse().unwrap(), Node::file(0o755, content), &Meta::dir()).unwrap();
        };
        add("/usr/bin/vax", elf(75, false));
        add("/usr/bin/s390", elf(22, true));
        add("/usr/bin/own", elf_with_loader("/lib64/ld.so"));
        add("/usr/bin/script", b"#! /bin/sh -e\n".to_vec());
        add("/usr/bin/text", b"echo hello\n".to_vec());
        add("/usr/bin/cut", b"\x7fELF\x02\x01".to_vec());
        let env = [("PATH".into(), "/bin:/usr/bin".into())];
        let rows: &[(&str, i32, &str)] = &[
            ("none", libc::ENOENT, "command \"none\": no such program in the image"),
            ("/usr/bin", libc::EACCES, "command \"/usr/bin\": Permission denied (os error 13)"),
            (
                "vax",
                libc::ENOEXEC,
                "command \"/usr/bin/vax\" is for ELF machine 75 (64-bit, little-endian), and this host can't run that",
            ),
            ("s390", libc::ENOENT, "command \"/usr/bin/s390\" is for s390x, and this host can't run that"),
            ("own", libc::ENOENT, "command \"/usr/bin/own\" needs \"/lib64/ld.so\", which the image lacks"),
            ("script", libc::ENOENT, "command \"/usr/bin/script\" needs \"/bin/sh\", which the image lacks"),
            ("text", libc::ENOEXEC, "command \"/usr/bin/text\": Exec format error (os error 8)"),
            ("cut", libc::ENOENT, "command \"/usr/bin/cut\": No such file or directory (os error 2)"),
        ];
        for (argv0, errno, expected) in rows {
            assert_eq!(
                explain(&tree, &OsString::from(argv0), &env, *errno).to_string(),
                *expected,
                "{argv0}"
            );
        }
    }
}
