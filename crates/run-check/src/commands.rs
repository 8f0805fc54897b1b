//! What is tried of a program: what its unit does before it starts, or that the program says its version.

use std::collections::HashMap;
use std::fmt;

use sysext::extension::unit_programs::UNIT_LIMIT;
use sysext::extension::units::{Directive, command_lines, parse};
use tree::{Node, Tree, TreePath};

/// Programs that are tried, at most.
const MOST: usize = 8;

/// A program of the extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Where those that see it find it.
    pub place: TreePath,
    /// In the image: units name it so.
    pub source: TreePath,
}

/// A command to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Found here.
    Found {
        /// Program and arguments.
        words: Vec<Vec<u8>>,
        /// The name of the unit whose it is.
        unit: Option<String>,
        /// Whether it is one that the unit runs before it starts, so that its failure is the unit's.
        is_test: bool,
    },
    /// A line for the shell, from the user.
    Asked(String),
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Asked(line) => f.write_str(line),
            Command::Found { words, unit, .. } => {
                for (i, word) in words.iter().enumerate() {
                    let word = match i {
                        0 => word.rsplit(|&b| b == b'/').next().unwrap_or_default(),
                        _ => word,
                    };
                    let word = tree::escape(word);
                    let space = if i == 0 { "" } else { " " };
                    match word.contains(' ') {
                        true => write!(f, "{space}'{word}'")?,
                        false => write!(f, "{space}{word}")?,
                    }
                }
                unit.as_ref().map_or(Ok(()), |unit| write!(f, " ({unit})"))
            }
        }
    }
}

/// The commands to be tried of programs. Of one that a unit of the image starts, included or not: what the unit does with it before
/// that, which tests its configuration as a rule, or else its start with `-t`, which many daemons take as an order to test
/// their configuration. Of others `--version`.
pub fn commands(image: &Tree, programs: &[Program]) -> Vec<Command> {
    let units = units(image);
    programs.iter().take(MOST).flat_map(|program| of_program(image, &units, program)).collect()
}

fn of_program(image: &Tree, units: &[(String, Vec<Directive>)], program: &Program) -> Vec<Command> {
    let real = |path: &[u8]| image.resolve(path, true).ok().map(|r| r.path);
    let own = real(&program.source.to_absolute());
    let place = program.place.to_absolute();
    let mut tests = Vec::new();
    let mut starts = Vec::new();
    for (name, directives) in units {
        let environment = environment(directives);
        let of = |key: &'static str| {
            let lines = directives.iter().filter(move |d| d.section == "Service" && d.key == key);
            lines.flat_map(|d| command_lines(&d.value))
        };
        for (key, out) in [("ExecStartPre", &mut tests), ("ExecStart", &mut starts)] {
            for words in of(key) {
                let Some((first, arguments)) = words.split_first() else { continue };
                if own.is_none() || real(first) != own {
                    continue;
                }
                let Some(mut words) = expand(arguments, &environment) else { continue };
                words.insert(0, place.clone());
                if key == "ExecStart" {
                    words.push(b"-t".to_vec());
                }
                let is_test = key == "ExecStartPre";
                out.push(Command::Found { words, unit: Some(name.clone()), is_test });
            }
        }
    }
    for mut found in [tests, starts] {
        if !found.is_empty() {
            found.truncate(2);
            return found;
        }
    }
    vec![Command::Found { words: vec![place, b"--version".to_vec()], unit: None, is_test: false }]
}

/// The system services of the image.
fn units(image: &Tree) -> Vec<(String, Vec<Directive>)> {
    let Ok(dir) = image.resolve("/usr/lib/systemd/system", true) else { return Vec::new() };
    let mut out = Vec::new();
    for (path, node) in image.children(&dir.path) {
        let name = String::from_utf8_lossy(path.file_name().unwrap_or_default()).into_owned();
        // Instances of a template have names that nobody knows here.
        let is_service = name.ends_with(".service") && !name.contains('@');
        let text = node.content().filter(|_| is_service).and_then(|c| c.read(UNIT_LIMIT).ok());
        out.extend(text.map(|text| (name, parse(&text))));
    }
    out
}

/// The variables that a unit sets itself.
fn environment(directives: &[Directive]) -> HashMap<Vec<u8>, Vec<u8>> {
    let lines = directives.iter().filter(|d| d.section == "Service" && d.key == "Environment");
    let words = lines.flat_map(|d| command_lines(&d.value)).flatten();
    words
        .filter_map(|word| {
            let at = word.iter().position(|&b| b == b'=')?;
            Some((word[..at].to_vec(), word[at + 1..].to_vec()))
        })
        .collect()
}

/// Arguments with the unit's variables in place. A variable that it doesn't set is empty, as for systemd. `None`: a specifier,
/// whose value only a manager knows. systemd.service(5), "Command lines".
fn expand(words: &[Vec<u8>], environment: &HashMap<Vec<u8>, Vec<u8>>) -> Option<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    for word in words {
        if let Some(name) = word.strip_prefix(b"$").filter(|name| name.first().is_some_and(is_name)) {
            let value = environment.get(name).map_or(&[][..], Vec::as_slice);
            let parts = value.split(|b| b.is_ascii_whitespace()).filter(|part| !part.is_empty());
            out.extend(parts.map(<[u8]>::to_vec));
            continue;
        }
        let mut text = Vec::new();
        let mut rest = word.as_slice();
        while let Some((&first, tail)) = rest.split_first() {
            rest = tail;
            match (first, tail.first()) {
                (b'%', Some(b'%')) | (b'$', Some(b'$')) => {
                    text.push(first);
                    rest = &tail[1..];
                }
                (b'%', _) => return None,
                (b'$', Some(b'{')) => {
                    let end = tail.iter().position(|&b| b == b'}')?;
                    text.extend(environment.get(&tail[1..end]).into_iter().flatten());
                    rest = &tail[end + 1..];
                }
                _ => text.push(first),
            }
        }
        out.push(text);
    }
    Some(out)
}

fn is_name(b: &u8) -> bool {
    b.is_ascii_alphabetic() || *b == b'_'
}

/// Whether a program is a script, which needs an interpreter.
pub(crate) fn is_script(node: &Node) -> bool {
    node.content().is_some_and(|c| c.head(2).is_ok_and(|head| head == b"#!"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::Meta;

    #[test]
    fn what_is_tried() {
        let mut image = Tree::default();
        let mut add = |path: &str, node: Node| {
            image.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
        };
        for program in ["web", "db", "proxy", "tool", "odd"] {
            add(&format!("/usr/sbin/{program}"), Node::file(0o755, "x"));
        }
        add("/sbin", Node::symlink("usr/sbin"));
        let mut unit = |name: &str, text: &str| {
            add(&format!("/usr/lib/systemd/system/{name}"), Node::file(0o644, format!("[Service]\n{text}")));
        };
        unit(
            "web.service",
            "ExecStartPre=-/bin/mkdir x\nExecStartPre=+/sbin/web -t -g 'a; b'\nExecStart=/usr/sbin/web\n",
        );
        unit("db.service", "ExecStart=/usr/sbin/db /etc/db.conf $NONE\n");
        unit(
            "proxy.service",
            "Environment=\"CONFIG=/etc/p.cfg\" MORE='-a -b'\nExecStart=/usr/sbin/proxy -f ${CONFIG} $MORE x$$\n",
        );
        unit("odd.service", "ExecStart=/usr/sbin/odd %i\n");
        unit("web@.service", "ExecStartPre=/sbin/web -t -p %i\n");
        for (program, expected) in [
            ("web", "web -t -g 'a; b' (web.service)"),
            ("db", "db /etc/db.conf -t (db.service)"),
            ("proxy", "proxy -f /etc/p.cfg -a -b x$ -t (proxy.service)"),
            ("tool", "tool --version"),
            ("odd", "odd --version"),
        ] {
            let program = Program {
                place: format!("/usr/bin/{program}").parse().unwrap(),
                source: format!("/usr/sbin/{program}").parse().unwrap(),
            };
            let found = commands(&image, &[program]);
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found.join("\n"), expected);
        }
    }
}
