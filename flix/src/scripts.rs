//! The first line of a script, and what of a script it must not move. execve(2).

use tree::{Content, ContentError};

/// The longest first line that the kernel reads. Bytes. BINPRM_BUF_SIZE, linux/binfmts.h.
pub(crate) const LINE_LIMIT: usize = 256;

/// The `env` that hosts have.
pub(crate) const HOST_ENV: &str = "/usr/bin/env";

/// Scripts whose first line gets longer are read whole. Bytes.
pub(crate) const SCRIPT_LIMIT: u64 = 64 << 20;

/// What `env -S` doesn't take as it is: quotes, escapes, variables, comments.
const SPECIAL: &[u8] = b"'\"\\$#";

/// What of a script is found by its place in the file, so that its first line must not get longer; in words that follow
/// "script". None if it may.
///
/// Data behind the text is (self-extracting installers), and what the text itself cuts off at a byte. A zip archive is not: its
/// directory is at the end, and all that read one behind a script (Python, Java, unzip) allow for what is before it.
pub(crate) fn counts_bytes(content: &Content) -> Result<Option<&'static str>, ContentError> {
    if content.len() > SCRIPT_LIMIT {
        return Ok(Some("is too large to be moved, and data in it"));
    }
    let bytes = content.read(SCRIPT_LIMIT)?;
    if bytes.contains(&0) {
        return Ok((!ends_in_zip(&bytes)).then_some("has data behind its text"));
    }
    Ok(cuts_itself(&bytes).then_some("cuts its own file at a byte"))
}

/// Whether the archive's end record is there: 22 bytes and a comment of up to 65535. APPNOTE.TXT, 4.3.16.
fn ends_in_zip(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(22 + 65535)..];
    tail.windows(22).enumerate().any(|(at, record)| {
        let comment = usize::from(u16::from_le_bytes([record[20], record[21]]));
        record.starts_with(b"PK\x05\x06") && at + 22 + comment == tail.len()
    })
}

/// Whether a line cuts bytes off a file that is the script itself: `tail -c +512 "$0"`, `dd if="$0" bs=1 skip=512`; or reads
/// on from a place behind `__DATA__`.
fn cuts_itself(text: &[u8]) -> bool {
    let has = |line: &[u8], word: &[u8]| line.windows(word.len()).any(|w| w == word);
    const CUTS: [&[u8]; 8] = [
        b"tail -c",
        b"tail --bytes",
        b"head -c",
        b"head --bytes",
        b"skip=",
        b"seek=",
        b"cut -b",
        b"skip_bytes",
    ];
    const SELF: [&[u8]; 6] = [b"$0", b"${0}", b"BASH_SOURCE", b"$self", b"$SELF", b"$this"];
    text.split(|&b| b == b'\n').any(|line| {
        let cuts = CUTS.iter().any(|c| has(line, c)) && SELF.iter().any(|s| has(line, s));
        cuts || has(line, b"seek(DATA") || has(line, b"seek DATA")
    })
}

/// A script's first line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shebang {
    /// The program that runs the script: a path, or a name that `env` looks up.
    pub interpreter: Interpreter,
    /// The rest of the line; the kernel hands it over as one word.
    pub argument: Vec<u8>,
    /// Length of the line without its newline. Bytes.
    pub len: usize,
}

/// What a first line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Interpreter {
    /// `#!/bin/sh`.
    Path(Vec<u8>),
    /// `#!/usr/bin/env python3`; true with `-S`, which splits what follows into words.
    Env(Vec<u8>, bool),
    /// `env` with options, assignments, or a quoted or variable name, which we don't follow.
    EnvOther,
}

impl Shebang {
    /// Parses the beginning of a file. None if it is no script.
    pub(crate) fn parse(head: &[u8]) -> Option<Shebang> {
        let text = head.strip_prefix(b"#!")?;
        let end = text.iter().position(|&b| b == b'\n').unwrap_or(text.len());
        let line = text[..end].trim_ascii();
        let (program, argument) = split(line);
        if program.is_empty() {
            return None;
        }
        let len = 2 + end;
        let path = |argument: &[u8]| Shebang {
            interpreter: Interpreter::Path(program.to_vec()),
            argument: argument.to_vec(),
            len,
        };
        if program.rsplit(|&b| b == b'/').next() != Some(b"env") {
            return Some(path(argument));
        }
        let (first, rest) = split(argument);
        let (name, rest, splits) = match first {
            b"-S" | b"--split-string" => {
                let (name, rest) = split(rest);
                (name, rest, true)
            }
            _ => (first, rest, false),
        };
        let odd = name.is_empty()
            || name.starts_with(b"-")
            || name.contains(&b'=')
            || name.iter().any(|b| splits && SPECIAL.contains(b))
            || (!splits && !rest.is_empty());
        let interpreter = if odd { Interpreter::EnvOther } else { Interpreter::Env(name.to_vec(), splits) };
        Some(Shebang { interpreter, argument: rest.to_vec(), len })
    }

    /// What the script asks for, to be shown.
    pub(crate) fn name(&self) -> String {
        match &self.interpreter {
            Interpreter::Path(p) | Interpreter::Env(p, _) => p.escape_ascii().to_string(),
            Interpreter::EnvOther => "env with options, quotes or variables".to_owned(),
        }
    }

    /// Whether a shell that every host has runs the script.
    pub(crate) fn is_shell(&self) -> bool {
        match &self.interpreter {
            Interpreter::Path(path) => {
                matches!(path.as_slice(), b"/bin/sh" | b"/usr/bin/sh" | b"/bin/bash" | b"/usr/bin/bash")
            }
            Interpreter::Env(name, _) => matches!(name.as_slice(), b"sh" | b"bash"),
            Interpreter::EnvOther => false,
        }
    }

    /// Whether that is sh, which busybox is, too.
    pub(crate) fn is_posix(&self) -> bool {
        match &self.interpreter {
            Interpreter::Path(path) => path.ends_with(b"/sh"),
            Interpreter::Env(name, _) => name == b"sh",
            Interpreter::EnvOther => false,
        }
    }

    /// Whether the line can't do without `env`: the kernel hands over what follows the interpreter as one word, where
    /// `env -S` splits it, undoes quotes and fills in variables.
    pub(crate) fn needs_env(&self) -> bool {
        matches!(self.interpreter, Interpreter::Env(_, true))
            && self.argument.iter().any(|&b| b.is_ascii_whitespace() || SPECIAL.contains(&b))
    }

    /// The line with another interpreter, without the newline.
    ///
    /// # Errors
    /// Why there is none: the kernel would cut it off, or the path would be torn apart.
    pub(crate) fn with_interpreter(&self, path: &[u8]) -> Result<Vec<u8>, &'static str> {
        if path.iter().any(u8::is_ascii_whitespace) {
            return Err("a path with white space");
        }
        let mut line = b"#!".to_vec();
        if self.needs_env() {
            // env takes a word with an equals sign for an assignment.
            if path.iter().any(|&b| b == b'=' || SPECIAL.contains(&b)) {
                return Err("a path that env -S would change");
            }
            line.extend_from_slice(HOST_ENV.as_bytes());
            line.extend_from_slice(b" -S ");
        }
        line.extend_from_slice(path);
        if !self.argument.is_empty() {
            line.push(b' ');
            line.extend_from_slice(&self.argument);
        }
        if line.len() < LINE_LIMIT { Ok(line) } else { Err("a first line of more than 256 bytes") }
    }
}

fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii();
    match line.iter().position(u8::is_ascii_whitespace) {
        Some(at) => (&line[..at], line[at..].trim_ascii()),
        None => (line, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        let path = |p: &str| Interpreter::Path(p.as_bytes().to_vec());
        let env = |p: &str, s| Interpreter::Env(p.as_bytes().to_vec(), s);
        for (text, interpreter, argument, len) in [
            ("#!/bin/sh\necho\n", path("/bin/sh"), "", 9),
            ("#! /usr/bin/perl  -w -T \n", path("/usr/bin/perl"), "-w -T", 24),
            ("#!/usr/bin/env python3\n", env("python3", false), "", 22),
            ("#!/usr/bin/env -S awk -f\n", env("awk", true), "-f", 24),
            ("#!/usr/bin/env A=1 sh\n", Interpreter::EnvOther, "sh", 21),
            ("#!/usr/bin/env -i sh\n", Interpreter::EnvOther, "sh", 20),
            ("#!/bin/sh", path("/bin/sh"), "", 9),
            ("#!/bin/sh\r\n", path("/bin/sh"), "", 10),
        ] {
            let got = Shebang::parse(text.as_bytes()).unwrap();
            assert_eq!(got, Shebang { interpreter, argument: argument.into(), len }, "{text:?}");
        }
        for text in ["", "#", "#!", "#!\n/bin/sh", "# !/bin/sh"] {
            assert_eq!(Shebang::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_line_keeps_its_arguments_and_its_limit() {
        let s = Shebang::parse(b"#!/usr/bin/env -S perl -w\n").unwrap();
        assert_eq!(s.with_interpreter(b"/usr/bin/perl").unwrap(), b"#!/usr/bin/perl -w");
        assert!(s.with_interpreter(&[b'x'; 260]).unwrap_err().contains("256"));
        assert!(s.with_interpreter(b"/usr/bin/a b").unwrap_err().contains("white space"));
    }

    #[test]
    fn what_is_found_by_its_place() {
        let mut zip = b"#!/usr/bin/python3\nPK\x03\x04\0\0".to_vec();
        zip.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\x02\0hi");
        for (text, expected) in [
            (&b"#!/bin/sh\nexit\n"[..], false),
            (b"#!/bin/sh\ntail -n +3 \"$0\" | tar xz; exit\n\x1f\x8b\0\0", true),
            (b"#!/bin/sh\ntail -c +40 \"$0\" | base64 -d; exit\nSGk=\n", true),
            (b"#!/bin/sh\ndd if=$0 bs=1 skip=40 | base64 -d; exit\nSGk=\n", true),
            (b"#!/bin/sh\ndd if=/dev/sda bs=512 skip=1; tail -c 5 log\n", false),
            (b"#!/bin/sh\nsed '1,/^__END__/d' \"$0\" | base64 -d; exit\n__END__\nSGk=\n", false),
            (b"#!/usr/bin/perl\nseek(DATA, 99, 0);\n__DATA__\n", true),
            (b"#!/bin/sh\n# caf\xe9\n", false),
            (&zip, false),
            (&zip[..zip.len() - 1], true),
        ] {
            let got = counts_bytes(&text.into()).unwrap();
            assert_eq!(got.is_some(), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn env_stays_where_it_splits() {
        for (text, expected) in [
            ("#!/usr/bin/env -S dash -e -u\n", Ok("#!/usr/bin/env -S /p/dash -e -u")),
            ("#!/usr/bin/env -S perl \"-w\"\n", Ok("#!/usr/bin/env -S /p/dash \"-w\"")),
            ("#!/usr/bin/env -S awk -v${X} \n", Ok("#!/usr/bin/env -S /p/dash -v${X}")),
            ("#!/usr/bin/env -S dash\n", Ok("#!/p/dash")),
            ("#!/usr/bin/env dash\n", Ok("#!/p/dash")),
            ("#!/bin/dash -e -u\n", Ok("#!/p/dash -e -u")),
            ("#!/bin/dash \"-e\n", Ok("#!/p/dash \"-e")),
            ("#!/usr/bin/env -S 'dash' -e\n", Err(())),
            ("#!/usr/bin/env -S ${SHELL} -e\n", Err(())),
        ] {
            let s = Shebang::parse(text.as_bytes()).unwrap();
            let line = match s.interpreter {
                Interpreter::EnvOther => Err(()),
                _ => Ok(String::from_utf8(s.with_interpreter(b"/p/dash").unwrap()).unwrap()),
            };
            assert_eq!(line.as_deref(), expected.as_ref().copied(), "{text:?}");
        }
        let s = Shebang::parse(b"#!/usr/bin/env -S dash -e -u").unwrap();
        assert!(s.with_interpreter(b"/p/a=b").unwrap_err().contains("env -S"));
    }
}
