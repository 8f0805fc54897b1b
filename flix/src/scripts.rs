//! The first line of a script. execve(2).

/// The longest first line that the kernel reads. Bytes. BINPRM_BUF_SIZE, linux/binfmts.h.
pub const LINE_LIMIT: usize = 256;

/// A script's first line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shebang {
    /// The program that runs the script: a path, or a name that `env` looks up.
    pub interpreter: Interpreter,
    /// The rest of the line; the kernel hands it over as one word.
    pub argument: Vec<u8>,
    /// Length of the line without its newline. Bytes.
    pub len: usize,
}

/// What a first line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interpreter {
    /// `#!/bin/sh`.
    Path(Vec<u8>),
    /// `#!/usr/bin/env python3`; true with `-S`, which splits what follows into words.
    Env(Vec<u8>, bool),
    /// `env` with options or assignments that we don't follow.
    EnvOther,
}

impl Shebang {
    /// Parses the beginning of a file. None if it is no script.
    pub fn parse(head: &[u8]) -> Option<Shebang> {
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
            || (!splits && !rest.is_empty());
        let interpreter = if odd { Interpreter::EnvOther } else { Interpreter::Env(name.to_vec(), splits) };
        Some(Shebang { interpreter, argument: rest.to_vec(), len })
    }

    /// What the script asks for, to be shown.
    pub fn name(&self) -> String {
        match &self.interpreter {
            Interpreter::Path(p) | Interpreter::Env(p, _) => p.escape_ascii().to_string(),
            Interpreter::EnvOther => "env with options".to_owned(),
        }
    }

    /// The line with another interpreter, without the newline. None if the kernel would cut it off.
    pub fn with_interpreter(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut line = b"#!".to_vec();
        line.extend_from_slice(path);
        if !self.argument.is_empty() {
            line.push(b' ');
            line.extend_from_slice(&self.argument);
        }
        (line.len() < LINE_LIMIT).then_some(line)
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
        assert_eq!(s.with_interpreter(&[b'x'; 260]), None);
    }
}
