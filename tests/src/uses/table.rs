//! The table: docs/programs.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Build, Cell, Cells, Use, Verdict, Way};

const HEAD: &str = "# Programs, taken and used

Made by `cargo xtask bench --programs > docs/programs.md`, which keeps the results in `tests/programs/results.json`: with `--only` or `--way`,
all others stay as they are. Each program is taken out of one root file system, merged by
systemd-sysext onto a host that has busybox and no C library, set up there by systemd-sysusers and systemd-tmpfiles, and used: a query, a
clone, a page, a conversion. Its output must match its output in its own root. The programs of Debian 12 and their uses are in `tests/programs/uses.toml`, those of Alpine 3.20
in `tests/programs/uses-alpine.toml`.

| column | command |
|---|---|
| flix, by name | `flix IMAGE NAME /usr/bin/git` |
| flix, by package | `flix IMAGE NAME package:git` |
| flix, by trace | `flix --trace 'the use' IMAGE NAME /usr/bin/git` |
| flatwrap, whole root | `flatwrap IMAGE NAME /usr/bin/git`, one image for all programs |
| flatwrap, by package | `flatwrap IMAGE NAME package:git` |
| flatwrap, by trace | `flatwrap --trace 'the use' IMAGE NAME /usr/bin/git` |

**works**: its output is correct. **told**: it doesn't, and an error, a warning or a hint names what is missing. **silent**: it doesn't, and
nothing was said. A star marks a program that works although there was a warning. Empty cells have not been measured.
";

/// The page, with a section for the programs of each image.
pub fn page(debian: &[Use], alpine: &[Use], cells: &Cells) -> String {
    let mut out = HEAD.to_owned();
    for (title, programs) in [("Debian 12", debian), ("Alpine 3.20", alpine)] {
        if programs.iter().any(|p| cells.keys().any(|(name, _)| *name == p.name)) {
            let _ = write!(out, "\n## {title}\n{}", section(programs, cells));
        }
    }
    out
}

fn section(programs: &[Use], cells: &Cells) -> String {
    let mut out = measured(programs, cells);
    let ways: Vec<Way> = Way::ALL
        .into_iter()
        .filter(|w| programs.iter().any(|p| cells.contains_key(&(p.name.clone(), *w))))
        .collect();
    out += "\n| | works | of these with a warning | told | silent | median size | median files |\n|---|---|---|---|---|---|---|\n";
    for &way in &ways {
        let of: Vec<&Cell> = programs.iter().filter_map(|p| cells.get(&(p.name.clone(), way))).collect();
        let count = |is: fn(&Cell) -> bool| of.iter().filter(|c| is(c)).count();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            way.title(),
            count(|c| c.works()),
            count(|c| c.works() && c.warned),
            count(|c| matches!(c.verdict, Verdict::Told(_))),
            count(|c| matches!(c.verdict, Verdict::Silent(_))),
            median(of.iter().filter(|c| c.size > 0).map(|c| c.size)).map_or(String::new(), megabytes),
            median(of.iter().filter(|c| c.size > 0).map(|c| c.files))
                .map_or(String::new(), |n| n.to_string()),
        );
    }
    out += "\n| program |";
    for way in &ways {
        let _ = write!(out, " {} |", way.title());
    }
    let _ = writeln!(out, "\n|---|{}", "---|".repeat(ways.len()));
    for program in programs {
        let _ = write!(out, "| {} |", program.name);
        for &way in &ways {
            let shown = cells.get(&(program.name.clone(), way)).map_or(String::new(), |c| shown(c, way));
            let _ = write!(out, " {shown} |");
        }
        out.push('\n');
    }
    let works = |p: &Use| ways.iter().all(|w| cells.get(&(p.name.clone(), *w)).is_none_or(Cell::works));
    if programs.iter().all(works) {
        return out;
    }
    out += "\n### What doesn't work\n\n";
    for program in programs {
        for &way in &ways {
            let Some(cell) = cells.get(&(program.name.clone(), way)) else { continue };
            let (class, why) = match &cell.verdict {
                Verdict::Works => continue,
                Verdict::Told(line) => ("told", line),
                Verdict::Silent(ran) => ("**silent**", ran),
            };
            let _ = writeln!(out, "- {}, {}, {class}: `{}`", program.name, way.title(), short(why));
        }
    }
    out
}

/// With what builds, and when.
fn measured(programs: &[Use], cells: &Cells) -> String {
    let mut builds: BTreeMap<&Build, BTreeSet<Way>> = BTreeMap::new();
    for ((name, way), cell) in cells {
        if programs.iter().any(|p| p.name == *name) {
            builds.entry(&cell.by).or_default().insert(*way);
        }
    }
    let parts = builds.iter().map(|(Build { profile, commit, date }, ways)| {
        let ways: Vec<&str> = ways.iter().map(|way| way.title()).collect();
        let of = if ways.len() < Way::ALL.len() { format!(" ({})", ways.join("; ")) } else { String::new() };
        format!("on {date} with a {profile} build of {commit}{of}")
    });
    format!("\nMeasured {}.\n", parts.collect::<Vec<_>>().join(",\n"))
}

impl Cell {
    fn works(&self) -> bool {
        self.verdict == Verdict::Works
    }
}

fn shown(cell: &Cell, way: Way) -> String {
    let class = match (&cell.verdict, cell.warned) {
        (Verdict::Works, false) => "works",
        (Verdict::Works, true) => "works*",
        (Verdict::Told(_), _) => "told",
        (Verdict::Silent(_), _) => "**silent**",
    };
    // The whole root is one image.
    if cell.size == 0 || way == Way::Root {
        return class.to_owned();
    }
    format!("{class}, {}, {}", megabytes(cell.size), cell.files)
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

fn median(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// One line without backticks.
fn short(text: &str) -> String {
    let text: String = text.chars().map(|c| if c == '\n' || c == '`' { ' ' } else { c }).collect();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
