//! What the sources promise: modules of a crate don't need each other in a circle, and libraries know no command line.
//!
//! Sources are read as tokens, so comments, strings and documentation don't count, and tests aside. A path counts if it begins with
//! `crate`, `super` or `self`; names that a module re-exports count as where they are from. Two modules are compared below
//! the first parent that they have in common: `a::x` that uses `b::y` makes `a` need `b`. A module and its own parent
//! are one thing here: a child may use what its parent declares.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Crates that are command lines, or run them.
const COMMAND_LINES: [&str; 4] = ["cli", "bakery", "xtask", "e2e"];

/// Where a library may read the environment: `tree::process` looks for programs in PATH, as starting one does, and the sandbox's
/// own process is known by its name.
const READS: [&str; 2] = ["crates/tree/src/process.rs", "crates/sandbox/src/helper.rs"];

/// Fails with every circle and every library that knows a command line, by file and line.
pub(crate) fn check() -> Result<()> {
    let root = crate::root();
    let mut bad = Vec::new();
    let (mut crates, mut modules) = (0, 0);
    for (name, folder) in members(root)? {
        crates += 1;
        for file in ["lib.rs", "main.rs"].map(|file| folder.join("src").join(file)) {
            if !root.join(&file).exists() {
                continue;
            }
            let sources = Sources::read(root, &file)?;
            modules += sources.modules.len();
            bad.extend(sources.circles().into_iter().map(|circle| format!("{name}: {circle}")));
            if !COMMAND_LINES.contains(&name.as_str()) {
                bad.extend(sources.command_line.iter().map(|found| format!("{name}: {found}")));
            }
        }
    }
    if !bad.is_empty() {
        bail!("{} things are not as docs/ARCHITECTURE.md promises:\n  {}", bad.len(), bad.join("\n  "));
    }
    println!("{modules} modules of {crates} crates: no circles, and no command line in a library");
    Ok(())
}

/// Names and folders of the workspace's crates.
pub(crate) fn members(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let manifest = |folder: &Path| -> Result<toml::Table> {
        let path = root.join(folder).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
        text.parse().with_context(|| format!("{path:?}"))
    };
    let workspace = manifest(Path::new(""))?;
    let members = workspace.get("workspace").and_then(|w| w.get("members")).and_then(toml::Value::as_array);
    let mut out = Vec::new();
    for member in members.context("Cargo.toml: no workspace members")? {
        let folder = PathBuf::from(member.as_str().context("Cargo.toml: a member is no string")?);
        let manifest = manifest(&folder)?;
        let name = manifest.get("package").and_then(|p| p.get("name")).and_then(toml::Value::as_str);
        out.push((name.with_context(|| format!("{folder:?}: package has no name"))?.to_owned(), folder));
    }
    Ok(out)
}

/// A module's path below its crate's root.
type ModulePath = Vec<String>;

/// A path as written in a module, `crate::a::B`, without a glob's `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mention {
    segments: Vec<String>,
    file: PathBuf,
    line: usize,
}

impl std::fmt::Display for Mention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.segments.join("::"))
    }
}

#[derive(Debug, Default)]
struct Module {
    children: BTreeSet<String>,
    /// What `use` brings in, by the name that it has here.
    imports: BTreeMap<String, Vec<String>>,
    mentions: Vec<Mention>,
}

/// The modules of a crate, tests aside.
#[derive(Debug, Default)]
struct Sources {
    modules: BTreeMap<ModulePath, Module>,
    /// Uses of clap, the environment, the terminal.
    command_line: Vec<String>,
}

impl Sources {
    /// Follows `mod` from a crate's first file on.
    fn read(root: &Path, file: &Path) -> Result<Sources> {
        let mut sources = Sources::default();
        let mut queue = vec![(ModulePath::new(), file.to_owned())];
        while let Some((module, file)) = queue.pop() {
            let path = root.join(&file);
            let text = std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
            for child in sources.add(&module, &file, &text)? {
                // `a.rs` and `a/mod.rs`, `lib.rs` and `main.rs` have their children in different folders.
                let name = child.last().context("a child module has no name")?;
                let inline = &child[module.len()..child.len() - 1];
                let stem = file.file_stem().unwrap_or_default();
                let mut folder = file.parent().unwrap_or(Path::new("")).to_owned();
                if !["lib", "main", "mod"].iter().any(|owner| stem == *owner) {
                    folder.push(stem);
                }
                folder.extend(inline);
                let places = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
                let found = places.iter().find(|place| root.join(place).exists());
                let found = found.with_context(|| format!("{file:?}: module {name} has no file"))?;
                queue.push((child, found.clone()));
            }
        }
        Ok(sources)
    }

    /// Takes in a file's text. Returns modules that are in files of their own.
    fn add(&mut self, module: &ModulePath, file: &Path, text: &str) -> Result<Vec<ModulePath>> {
        let tokens: TokenStream = text.parse().map_err(|e| anyhow::anyhow!("{file:?}: {e}"))?;
        let mut scan = Scan { sources: self, file, children: Vec::new() };
        scan.sources.modules.entry(module.clone()).or_default();
        scan.tokens(module, &tokens.into_iter().collect::<Vec<_>>());
        Ok(scan.children)
    }

    /// The module that has what a path in `module` names. None if that isn't in this crate.
    fn resolve(&self, module: &[String], segments: &[String], depth: usize) -> Option<ModulePath> {
        let mut here = module.to_vec();
        let mut rest = segments;
        match segments.first()?.as_str() {
            "crate" => (here, rest) = (ModulePath::new(), &segments[1..]),
            "self" => rest = &segments[1..],
            "super" => {
                while rest.first().is_some_and(|s| s == "super") {
                    here.pop();
                    rest = &rest[1..];
                }
            }
            name => {
                let own = self.modules.get(&here)?;
                let import = own.imports.get(name).filter(|path| path.first().is_some_and(|p| p != name));
                if !own.children.contains(name) && import.is_none() {
                    return None;
                }
            }
        }
        for (at, name) in rest.iter().enumerate() {
            let Some(found) = self.modules.get(&here) else { break };
            if found.children.contains(name) {
                here.push(name.clone());
            } else if let Some(import) = found.imports.get(name).filter(|_| depth > 0) {
                let target = self.resolve(&here, import, depth - 1);
                match target {
                    Some(target) if at + 1 < rest.len() && self.modules.contains_key(&target) => {
                        here = target
                    }
                    Some(target) => return Some(target),
                    None => break,
                }
            } else {
                break;
            }
        }
        Some(here)
    }

    /// Which child needs which other one, and where, by their parent.
    fn needs(&self) -> BTreeMap<ModulePath, BTreeMap<String, BTreeMap<String, Vec<&Mention>>>> {
        let mut all: BTreeMap<_, BTreeMap<_, BTreeMap<_, Vec<_>>>> = BTreeMap::new();
        for (from, module) in &self.modules {
            for mention in &module.mentions {
                let Some(to) = self.resolve(from, &mention.segments, 8) else { continue };
                let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
                if let (Some(user), Some(used)) = (from.get(shared), to.get(shared)) {
                    let below = all.entry(from[..shared].to_vec()).or_default();
                    let places = below.entry(user.clone()).or_default().entry(used.clone()).or_default();
                    places.push(mention);
                }
            }
        }
        all
    }

    /// A shortest circle through each module that is in one.
    fn circles(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (parent, needs) in self.needs() {
            let mut told: BTreeSet<BTreeSet<String>> = BTreeSet::new();
            for start in needs.keys() {
                let Some(circle) = shortest_circle(start, &needs) else { continue };
                if !told.insert(circle.iter().cloned().collect()) {
                    continue;
                }
                let names = circle.iter().chain(circle.first()).cloned().collect::<Vec<_>>();
                let mut text = format!(
                    "circle in {}: {}",
                    [&["crate".to_owned()], &parent[..]].concat().join("::"),
                    names.join(" → ")
                );
                for pair in names.windows(2) {
                    let places = &needs[&pair[0]][&pair[1]];
                    for place in places {
                        let _ = write!(text, "\n      {place}");
                    }
                }
                out.push(text);
            }
        }
        out
    }
}

/// The shortest way from a module back to itself, each module once.
fn shortest_circle<T>(start: &str, needs: &BTreeMap<String, BTreeMap<String, T>>) -> Option<Vec<String>> {
    let mut ways = std::collections::VecDeque::from([vec![start.to_owned()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in way.last().and_then(|last| needs.get(last)).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                ways.push_back([&way[..], std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

/// A walk over a file's tokens.
struct Scan<'a> {
    sources: &'a mut Sources,
    file: &'a Path,
    children: Vec<ModulePath>,
}

impl Scan<'_> {
    fn tokens(&mut self, module: &ModulePath, tokens: &[TokenTree]) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Punct(p) if p.as_char() == '#' => {
                    let inner = is_punct(tokens.get(at + 1), '!');
                    let group = at + 1 + usize::from(inner);
                    at = group + 1;
                    if tokens.get(group).is_some_and(is_for_tests) {
                        if inner {
                            return;
                        }
                        at = end_of_item(tokens, at);
                    }
                }
                TokenTree::Punct(p) if p.as_char() == '$' => at += 2,
                TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
                TokenTree::Group(group) => {
                    self.tokens(module, &group.stream().into_iter().collect::<Vec<_>>());
                    at += 1;
                }
                TokenTree::Ident(word) => at = self.word(module, tokens, at, &word.to_string()),
            }
        }
    }

    /// Takes in what begins with a word. Returns where the next thing begins.
    fn word(&mut self, module: &ModulePath, tokens: &[TokenTree], at: usize, word: &str) -> usize {
        let line = tokens[at].span().start().line;
        match word {
            "mod" => {
                let Some(TokenTree::Ident(name)) = tokens.get(at + 1) else { return at + 1 };
                let child = [&module[..], &[name.to_string()]].concat();
                self.own(module).children.insert(name.to_string());
                self.sources.modules.entry(child.clone()).or_default();
                match tokens.get(at + 2) {
                    Some(TokenTree::Group(body)) => {
                        self.tokens(&child, &body.stream().into_iter().collect::<Vec<_>>());
                    }
                    _ => self.children.push(child),
                }
                at + 3
            }
            "use" => {
                let end =
                    tokens[at..].iter().position(|t| is_punct(Some(t), ';')).map_or(tokens.len(), |n| at + n);
                self.use_tree(module, &tokens[at + 1..end], &[]);
                end
            }
            "pub" if tokens.get(at + 1).is_some_and(is_visibility) => at + 2,
            "print" | "println" | "eprint" | "eprintln" if is_punct(tokens.get(at + 1), '!') => {
                self.knows(line, &format!("{word}!"));
                at + 1
            }
            "IsTerminal" | "is_terminal" => {
                self.knows(line, word);
                at + 1
            }
            _ if is_path(tokens, at) => {
                let mut segments = vec![word.to_owned()];
                let mut next = at + 1;
                while is_path(tokens, next - 1)
                    && let Some(TokenTree::Ident(segment)) = tokens.get(next + 2)
                {
                    segments.push(segment.to_string());
                    next += 3;
                }
                self.mention(module, segments, line);
                next
            }
            _ => at + 1,
        }
    }

    /// The paths of a `use`, below `prefix`.
    fn use_tree(&mut self, module: &ModulePath, tokens: &[TokenTree], prefix: &[String]) {
        for tree in tokens.split(|t| is_punct(Some(t), ',')) {
            let Some(first) = tree.first() else { continue };
            let line = first.span().start().line;
            let mut path = prefix.to_vec();
            let mut name = None;
            let mut at = 0;
            while let Some(token) = tree.get(at) {
                match token {
                    TokenTree::Ident(word) if word == "as" => {
                        name = tree.get(at + 1).map(ToString::to_string);
                        break;
                    }
                    TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                    TokenTree::Ident(word) => path.push(word.to_string()),
                    TokenTree::Group(group) => {
                        self.use_tree(module, &group.stream().into_iter().collect::<Vec<_>>(), &path);
                        path.clear();
                    }
                    _ => {}
                }
                at += 1;
            }
            if let Some(last) = path.last() {
                let name = name.unwrap_or_else(|| last.clone());
                self.own(module).imports.insert(name, path.clone());
                self.mention(module, path, line);
            }
        }
    }

    fn mention(&mut self, module: &ModulePath, segments: Vec<String>, line: usize) {
        let words: Vec<&str> = segments.iter().map(String::as_str).collect();
        let reads = |pair: &[&str]| {
            pair[0] == "env" && ["var", "var_os", "vars", "vars_os", "args", "args_os"].contains(&pair[1])
        };
        let reads = words.windows(2).any(reads) && !READS.iter().any(|file| self.file == Path::new(file));
        if reads || words[0] == "clap" || words.contains(&"IsTerminal") {
            self.knows(line, &words.join("::"));
        }
        if ["crate", "super", "self"].contains(&words[0]) {
            let file = self.file.to_owned();
            self.own(module).mentions.push(Mention { segments, file, line });
        }
    }

    fn knows(&mut self, line: usize, what: &str) {
        self.sources.command_line.push(format!("library uses {what}\n      {}:{line}", self.file.display()));
    }

    fn own(&mut self, module: &ModulePath) -> &mut Module {
        self.sources.modules.entry(module.clone()).or_default()
    }
}

fn is_punct(token: Option<&TokenTree>, char: char) -> bool {
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == char)
}

/// Whether `::` follows.
fn is_path(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at + 1), ':') && is_punct(tokens.get(at + 2), ':')
}

/// The `(crate)` of `pub(crate)`, the `(in crate::a)` of `pub(in crate::a)`.
fn is_visibility(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else { return false };
    let words: Vec<String> = group.stream().into_iter().map(|t| t.to_string()).collect();
    group.delimiter() == Delimiter::Parenthesis
        && match &words[..] {
            [only] => ["crate", "super", "self"].contains(&only.as_str()),
            [first, ..] => first == "in",
            [] => false,
        }
}

/// Whether an attribute's `[…]` leaves something to tests: `[cfg(test)]`, `[cfg(feature = "testing")]`, `[test]`.
fn is_for_tests(attribute: &TokenTree) -> bool {
    let TokenTree::Group(group) = attribute else { return false };
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    match &tokens[..] {
        [TokenTree::Ident(only)] => only == "test",
        [TokenTree::Ident(cfg), TokenTree::Group(condition)] if cfg == "cfg" => {
            let condition = condition.stream().to_string();
            let words: Vec<&str> = condition.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            !words.contains(&"not") && (words.contains(&"test") || words.contains(&"testing"))
        }
        _ => false,
    }
}

/// Where the item that begins here ends: behind its braces or its semicolon, or, if it is no item, behind a comma.
fn end_of_item(tokens: &[TokenTree], start: usize) -> usize {
    const ITEMS: [&str; 12] = [
        "fn",
        "mod",
        "use",
        "impl",
        "struct",
        "enum",
        "trait",
        "type",
        "const",
        "static",
        "let",
        "macro_rules",
    ];
    let mut item = None;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token {
            TokenTree::Ident(word) if item.is_none() && ITEMS.contains(&word.to_string().as_str()) => {
                item = Some(word.to_string());
            }
            TokenTree::Punct(p) if p.as_char() == ';' || (p.as_char() == ',' && item.is_none()) => {
                return at + 1;
            }
            TokenTree::Group(g) if g.delimiter() == Delimiter::Brace && item.as_deref() != Some("use") => {
                return at + 1;
            }
            _ => {}
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Sources {
        let mut sources = Sources::default();
        for (module, text) in files {
            let path: ModulePath = module.split("::").filter(|s| !s.is_empty()).map(str::to_owned).collect();
            let file = PathBuf::from(format!("{}.rs", if module.is_empty() { "lib" } else { module }));
            sources.add(&path, &file, text).unwrap();
        }
        sources
    }

    /// The circles' first lines, and how many places each names.
    fn circles(files: &[(&str, &str)]) -> Vec<(String, usize)> {
        let all = sources(files).circles();
        all.iter().map(|c| (c.lines().next().unwrap().to_owned(), c.lines().count() - 1)).collect()
    }

    #[test]
    fn a_circle_of_two_is_told_with_its_places() {
        let files = [
            ("", "mod a;\nmod b;\n"),
            ("a", "use crate::b::{self, B};\npub struct A;\n"),
            ("b", "pub struct B;\nfn f() -> crate::a::A {\n    vec![super::a::A]\n}\n"),
        ];
        let expected = "circle in crate: a → b → a\n      a.rs:1: crate::b\n      a.rs:1: crate::b::B\n      \
                        b.rs:2: crate::a::A\n      b.rs:3: super::a::A";
        assert_eq!(sources(&files).circles(), [expected]);
    }

    #[test]
    fn a_circle_is_found_through_reexports_and_longer_rings() {
        let files = [
            ("", "mod a; pub use a::A; mod b; mod c; pub(crate) use c::deep::C as D;"),
            ("a", "use crate::b::B; pub struct A;"),
            ("b", "use crate::D; pub struct B;"),
            ("c", "pub mod deep; pub struct E;"),
            ("c::deep", "pub struct C; fn f(_: crate::A) {}"),
        ];
        assert_eq!(circles(&files), [("circle in crate: a → b → c → a".to_owned(), 3)]);
    }

    #[test]
    fn siblings_below_a_parent_are_compared_too() {
        let files = [
            ("", "mod a;"),
            ("a", "mod x; mod y { use super::x::X; pub fn y() {} } pub fn own() {}"),
            ("a::x", "pub struct X; fn f() { crate::a::y::y(); super::own(); crate::a::own() }"),
        ];
        assert_eq!(circles(&files), [("circle in crate::a: x → y → x".to_owned(), 2)]);
    }

    #[test]
    fn parents_tests_comments_and_strings_make_no_circle() {
        let files = [
            ("", "mod a; mod b; #[cfg(test)] mod tests; pub use a::A;"),
            ("a", "use crate::b::B; pub struct A; #[cfg(not(test))] pub(crate) fn f() {}"),
            (
                "b",
                "/// [`crate::a::A`]\npub struct B { text: &'static str }\n// crate::a\n\
                 const TEXT: &str = \"crate::a::A\";\n\
                 #[cfg(test)] use crate::{a::A};\n\
                 macro_rules! m { () => { $crate::a::A } }\n\
                 #[cfg(test)] mod tests { use crate::a::A; }\n#[test] fn t() { crate::a::f(); }",
            ),
        ];
        assert_eq!(circles(&files), []);
    }

    #[test]
    fn libraries_that_know_a_command_line_are_told() {
        let text = "use clap::Parser;\nuse std::env;\nuse std::io::IsTerminal as _;\n\
                    fn f() { std::env::var_os(\"A\"); println!(\"\"); env::temp_dir(); }\n\
                    #[cfg(test)]\nmod tests { fn f() { println!(); } }\n";
        let found = sources(&[("a", text)]).command_line;
        let found: Vec<_> =
            found.iter().map(|f| f.replace("library uses ", "").replace("\n      ", " ")).collect();
        let expected = [
            "clap::Parser a.rs:1",
            "std::io::IsTerminal a.rs:3",
            "std::env::var_os a.rs:4",
            "println! a.rs:4",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn modules_are_found_where_the_compiler_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("lib.rs", "mod a; mod b;");
        write("a.rs", "mod x; mod inline { mod deep; }");
        write("a/x.rs", "");
        write("a/inline/deep.rs", "");
        write("b/mod.rs", "mod x;");
        write("b/x.rs", "");
        let sources = Sources::read(dir.path(), Path::new("lib.rs")).unwrap();
        let names: Vec<String> = sources.modules.keys().map(|m| m.join("::")).collect();
        assert_eq!(names, ["", "a", "a::inline", "a::inline::deep", "a::x", "b", "b::x"]);
    }
}
