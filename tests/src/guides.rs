//! The guides: README.md, CONTRIBUTING.md, SECURITY.md and docs/, with the blocks of code in them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::place::repository;

/// A block of code.
#[derive(Debug, Clone)]
pub struct Block {
    /// What stands behind the fence; empty for an indented block, which is one of commands.
    pub language: String,
    /// Without the indentation.
    pub lines: Vec<String>,
    /// Of the first line, from 1.
    pub line: usize,
}

/// Where a command is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// After `$`, or after no prompt: by whoever builds.
    Builder,
    /// After `#`: by root on the host.
    Host,
}

/// A command of a block, with what the guide shows of its output.
#[derive(Debug, Clone)]
pub struct Command {
    /// Where.
    pub at: At,
    /// May have several lines.
    pub text: String,
    /// What it prints.
    pub output: Vec<String>,
}

impl Block {
    /// Whether it has commands for a shell.
    pub fn is_shell(&self) -> bool {
        matches!(self.language.as_str(), "" | "sh" | "bash")
    }

    /// Its commands, in order. Where there are prompts, what follows a command is its output.
    pub fn commands(&self) -> Vec<Command> {
        let prompt = |line: &str| match line.split_at_checked(2) {
            Some(("$ ", _)) => Some(At::Builder),
            Some(("# ", _)) => Some(At::Host),
            _ => None,
        };
        let prompts = self.lines.first().is_some_and(|line| prompt(line).is_some());
        let mut commands: Vec<Command> = Vec::new();
        for line in self.lines.iter().filter(|line| !line.trim().is_empty()) {
            if let Some(last) = commands.last_mut().filter(|last| goes_on(&last.text)) {
                last.text += &format!("\n{line}");
                continue;
            }
            let marked = prompt(line).filter(|_| prompts);
            let (at, text) = match (marked, prompts, commands.last_mut()) {
                (Some(at), ..) => (at, &line[2..]),
                (None, true, Some(last)) => {
                    last.output.push(line.clone());
                    continue;
                }
                _ => (At::Builder, line.as_str()),
            };
            commands.push(Command { at, text: text.to_owned(), output: Vec::new() });
        }
        commands
    }
}

/// Whether a command isn't complete: a line that is continued, or a here-document without its end.
fn goes_on(text: &str) -> bool {
    let document = text.split_once("<<").map(|(_, rest)| {
        let word = rest.split_whitespace().next().unwrap_or_default();
        word.trim_start_matches('-').trim_matches(['\'', '"']).to_owned()
    });
    text.ends_with('\\') || document.is_some_and(|word| text.lines().skip(1).all(|line| line.trim() != word))
}

/// Paths of all guides, below the repository.
///
/// # Errors
/// A directory can't be read.
pub fn pages() -> Result<Vec<String>> {
    let root = repository();
    let mut pages: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from).into();
    let mut directories = vec![PathBuf::from("docs")];
    while let Some(dir) = directories.pop() {
        for entry in fs::read_dir(root.join(&dir)).with_context(|| format!("{dir:?}"))? {
            let entry = entry?;
            let path = dir.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages.iter().map(|path| path.display().to_string()).collect())
}

/// The text of a guide.
///
/// # Errors
/// There is none.
pub fn text(page: &str) -> Result<String> {
    let path = repository().join(page);
    fs::read_to_string(&path).with_context(|| format!("{path:?}"))
}

/// The blocks of a guide: CommonMark's fenced and indented ones, also in lists.
///
/// # Errors
/// It can't be read, or a fence has no end.
pub fn blocks(page: &str) -> Result<Vec<Block>> {
    parse(&text(page)?).with_context(|| page.to_owned())
}

fn parse(text: &str) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    // How far the text of the list's item is indented.
    let mut item = 0;
    let mut lines = text.lines().enumerate().peekable();
    let mut after_blank = true;
    while let Some((number, line)) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let mut block =
                Block { language: language.trim().to_owned(), lines: Vec::new(), line: number + 2 };
            loop {
                let (_, line) = lines.next().context("a fence has no end")?;
                if line.trim() == "```" {
                    break;
                }
                block.lines.push(line.get(indent..).unwrap_or_default().to_owned());
            }
            blocks.push(block);
            continue;
        }
        if !line.is_empty() && indent == 0 {
            let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let mark = if digits > 0 && line[digits..].starts_with(". ") { digits + 1 } else { 1 };
            item = if mark > 1 || line.starts_with("- ") { mark + 1 } else { 0 };
        }
        let code =
            |line: &str| line.len() > item + 4 && line.as_bytes()[..item + 4].iter().all(|&b| b == b' ');
        if after_blank && code(line) {
            let mut block = Block { language: String::new(), lines: Vec::new(), line: number + 1 };
            block.lines.push(line[item + 4..].to_owned());
            while let Some((_, line)) = lines.next_if(|(_, line)| line.is_empty() || code(line)) {
                block.lines.push(line.get(item + 4..).unwrap_or_default().to_owned());
            }
            blocks.push(block);
            after_blank = true;
            continue;
        }
        after_blank = line.is_empty();
    }
    Ok(blocks)
}

/// What a page has between backquotes in its text, other than in blocks.
///
/// # Errors
/// It can't be read.
pub fn spans(page: &str) -> Result<Vec<String>> {
    let text = text(page)?;
    let code: Vec<(usize, usize)> = parse(&text)?.iter().map(|b| (b.line, b.line + b.lines.len())).collect();
    let mut spans = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if code.iter().any(|&(from, to)| (from..to).contains(&(number + 1))) || line.starts_with("```") {
            continue;
        }
        spans.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    Ok(spans)
}

/// Whether a test of this name is in a file of the repository.
///
/// # Errors
/// The file can't be read.
pub fn has_test(file: &Path, name: &str) -> Result<bool> {
    let path = repository().join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
    Ok(text.split("#[test]\n").skip(1).any(|rest| rest.trim_start().starts_with(&format!("fn {name}("))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_all_forms() -> Result<()> {
        let text = "Text\n\n    $ one \\\n      two\n    said\n\n    # three\n\n1. Item\n\n       four\n\n   ```toml\n   a = 1\n   ```\n\n\
                    Text\n    no block\n\n    cat > x <<'END'\n    # text\n    END\n    five\n";
        let blocks = parse(text)?;
        let lines: Vec<usize> = blocks.iter().map(|b| b.line).collect();
        assert_eq!(lines, [3, 11, 14, 20]);
        assert_eq!(blocks[2].language, "toml");
        assert_eq!(blocks[2].lines, ["a = 1"]);
        let commands = blocks[0].commands();
        assert_eq!(commands[0].text, "one \\\n  two");
        assert_eq!(commands[0].output, ["said"]);
        assert_eq!((commands[1].at, commands[1].text.as_str()), (At::Host, "three"));
        assert_eq!(blocks[1].commands()[0].text, "four");
        let texts: Vec<String> = blocks[3].commands().into_iter().map(|c| c.text).collect();
        assert_eq!(texts, ["cat > x <<'END'\n# text\nEND", "five"]);
        Ok(())
    }
}
