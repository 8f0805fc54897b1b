//! The first line of a script. execve(2).

/// The longest first line that the kernel reads. Bytes. BINPRM_BUF_SIZE, linux/binfmts.h.
pub const LINE_LIMIT: usize = 256;

/// The `env` that hosts have.
pub const HOST_ENV: &str = "/usr/bin/env";

/// What `env -S` doesn't take as it is: quotes, escapes, variables, comments.
const SPECIAL: &[u8] = b"'\"\\$#";

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
    /// `env` with options, assignments, or a quoted or variable name, which we don't follow.
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
            || name.iter().any(|b| splits && SPECIAL.contains(b))
            || (!splits && !rest.is_empty());
        let interpreter = if odd { Interpreter::EnvOther } else { Interpreter::Env(name.to_vec(), splits) };
        Some(Shebang { interpreter, argument: rest.to_vec(), len })
    }

    /// What the script asks for, to be shown.
    pub fn name(&self) -> String {
        match &self.interpreter {
            Interpreter::Path(p) | Interpreter::Env(p, _) => p.escape_ascii().to_string(),
            Interpreter::EnvOther => "env with options, quotes or variables".to_owned(),
        }
    }

    /// Whether the line can't do without `env`: the kernel hands over what follows the interpreter as one word, where
    /// `env -S` splits it, undoes quotes and fills in variables.
    pub fn needs_env(&self) -> bool {
        matches!(self.interpreter, Interpreter::Env(_, true))
            && self.argument.iter().any(|&b| b.is_ascii_whitespace() || SPECIAL.contains(&b))
    }

    /// The line with another interpreter, without the newline.
    ///
    /// # Errors
    /// Why there is none: the kernel would cut it off, or the path would be torn apart.
    pub fn with_interpreter(&self, path: &[u8]) -> Result<Vec<u8>, &'static str> {
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
