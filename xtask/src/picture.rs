//! `cargo xtask picture`: the terminal in the README, drawn from `docs/session.txt`. A test runs the commands of that file.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};

const TEXT: &str = "docs/session.txt";
const PICTURE: &str = "docs/session.svg";

/// Characters to a line.
const COLUMNS: usize = 84;
/// Pixels of a character, whatever the font: `textLength` stretches lines to it.
const WIDTH: usize = 9;
/// Pixels of a line.
const HEIGHT: usize = 21;
/// Pixels around the text, and of the window's bar.
const MARGIN: usize = 18;
const BAR: usize = 34;

/// Draws it again.
pub(crate) fn write() -> Result<()> {
    let path = path(PICTURE);
    std::fs::write(&path, draw(&text()?)).with_context(|| format!("{path:?}"))
}

fn path(name: &str) -> PathBuf {
    crate::root().join(name)
}

fn text() -> Result<String> {
    let path = path(TEXT);
    std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))
}

/// A drawing of a terminal that shows the text. Lines that begin with `$ ` are what was typed.
fn draw(text: &str) -> String {
    let lines: Vec<(bool, String)> = text
        .lines()
        .flat_map(|line| wrap(line).into_iter().map(|part| (line.starts_with("$ "), part)))
        .collect();
    let (width, height) = (COLUMNS * WIDTH + 2 * MARGIN, lines.len() * HEIGHT + BAR + MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>A terminal session</title>\n\
         <!-- Drawn by `cargo xtask picture` from {TEXT}. -->\n\
         <style>\n\
         text {{ font: 15px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #c9d1d9; white-space: pre }}\n\
         .typed {{ fill: #ffffff; font-weight: 600 }}\n\
         .prompt {{ fill: #56d364; font-weight: 600 }}\n\
         </style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#0d1117\"/>\n"
    );
    for (at, color) in ["#ff5f56", "#ffbd2e", "#27c93f"].iter().enumerate() {
        let _ = writeln!(out, "<circle cx=\"{}\" cy=\"17\" r=\"6\" fill=\"{color}\"/>", 22 + at * 20);
    }
    for (number, (typed, line)) in lines.iter().enumerate() {
        let y = BAR + (number + 1) * HEIGHT - 6;
        let mut part = |class: &str, column: usize, text: &str| {
            let (x, length) = (MARGIN + column * WIDTH, text.chars().count() * WIDTH);
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let _ = writeln!(
                out,
                "<text{class} x=\"{x}\" y=\"{y}\" textLength=\"{length}\" xml:space=\"preserve\">{text}</text>"
            );
        };
        match line.strip_prefix("$ ").filter(|_| *typed) {
            Some(command) => {
                part(" class=\"prompt\"", 0, "$");
                part(" class=\"typed\"", 2, command);
            }
            None if *typed => part(" class=\"typed\"", 0, line),
            None => part("", 0, line),
        }
    }
    out + "</svg>\n"
}

/// A line as a terminal breaks it, but between words.
fn wrap(line: &str) -> Vec<String> {
    let (mut out, mut first) = (vec![String::new()], true);
    for word in line.split(' ') {
        match out.last_mut() {
            Some(last) if first => last.push_str(word),
            Some(last) if last.chars().count() + 1 + word.chars().count() <= COLUMNS => {
                last.push(' ');
                last.push_str(word);
            }
            _ => out.push(word.to_owned()),
        }
        first = false;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_shows_the_session() {
        let drawn = std::fs::read_to_string(path(PICTURE)).unwrap();
        assert!(drawn == draw(&text().unwrap()), "{PICTURE} is out of date; `cargo xtask picture` draws it");
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        let long = "word ".repeat(20);
        let lines = wrap(long.trim_end());
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|l| l.chars().count() <= COLUMNS && !l.starts_with(' ')), "{lines:?}");
        assert_eq!(wrap("a  b"), ["a  b"]);
    }
}
