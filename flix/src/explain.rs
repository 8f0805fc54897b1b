//! Why each file is in the extension, as a tree: what was asked for at the top, below it what that needs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use tree::{Size, Tree, TreePath};

use crate::plan::{Action, Plan, Why};
use elf::closure::Reason;

/// A plan with the reasons sorted into a tree.
#[derive(Debug)]
pub struct Explanation {
    groups: Vec<Group>,
    files: usize,
    bytes: u64,
}

#[derive(Debug)]
struct Group {
    title: String,
    /// Files below a folder or of a selection that nothing else needs, shown as a count for each package.
    others: BTreeMap<Option<String>, (usize, u64)>,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    depth: usize,
    path: TreePath,
    bytes: u64,
    note: String,
    /// The package of the image that it is from.
    package: Option<String>,
    also: Vec<TreePath>,
}

/// The name of the package that a file of the image belongs to.
type Owner<'a> = &'a dyn Fn(&TreePath) -> Option<String>;

impl Explanation {
    /// Sorts a plan. `extension` is what it built, for the sizes.
    pub fn new(plan: &Plan, extension: &Tree) -> Explanation {
        Explanation::with_packages(plan, extension, &|_| None)
    }

    /// As [`Explanation::new`], with the package of each file. `owner` knows it by the file's path in the image.
    pub fn with_packages(
        plan: &Plan,
        extension: &Tree,
        owner: &dyn Fn(&TreePath) -> Option<String>,
    ) -> Explanation {
        let sorted = Sorted::new(plan, owner);
        let size = |p: &TreePath| extension.get(p).and_then(|n| n.content()).map_or(0, tree::Content::len);
        let mut groups = Vec::new();
        for (title, tops) in &sorted.groups {
            let mut group = Group { title: title.clone(), others: BTreeMap::new(), lines: Vec::new() };
            for top in tops {
                if sorted.is_plain(plan, top) {
                    if !matches!(plan.entries[top].action, Action::Directory(_)) {
                        let others = group.others.entry(sorted.package(plan, top)).or_default();
                        *others = (others.0 + 1, others.1 + size(top));
                    }
                } else {
                    sorted.lines(plan, top, 0, &size, &mut group.lines);
                }
            }
            groups.push(group);
        }
        // What the extension has beyond the plan: its release file.
        let made = |(path, _, node): &(&TreePath, _, &tree::Node)| {
            node.is_file() && !plan.entries.contains_key(*path)
        };
        let line = |path: &TreePath| Line {
            depth: 0,
            path: path.clone(),
            bytes: size(path),
            note: String::new(),
            package: None,
            also: Vec::new(),
        };
        let lines: Vec<Line> = extension.iter_inodes().filter(made).map(|(p, _, _)| line(p)).collect();
        if !lines.is_empty() {
            groups.push(Group { title: "release file".to_owned(), others: BTreeMap::new(), lines });
        }
        let files: BTreeSet<_> =
            extension.iter_inodes().filter(|(_, _, n)| n.is_file()).map(|(_, i, _)| i).collect();
        let bytes = files.iter().map(|&i| extension.node(i).content().map_or(0, tree::Content::len)).sum();
        Explanation { groups, files: files.len(), bytes }
    }
}

/// Each entry under the first that needs it.
struct Sorted<'a> {
    owner: Owner<'a>,
    groups: Vec<(String, Vec<TreePath>)>,
    parent: BTreeMap<TreePath, TreePath>,
    children: BTreeMap<TreePath, Vec<(TreePath, String)>>,
    needed_by: BTreeMap<TreePath, BTreeSet<TreePath>>,
}

impl<'a> Sorted<'a> {
    fn new(plan: &Plan, owner: Owner<'a>) -> Sorted<'a> {
        let mut tops: BTreeMap<String, Vec<TreePath>> = BTreeMap::new();
        let mut edges: BTreeMap<TreePath, Vec<(TreePath, String)>> = BTreeMap::new();
        let mut needed_by: BTreeMap<TreePath, BTreeSet<TreePath>> = BTreeMap::new();
        for (path, entry) in &plan.entries {
            for why in &entry.why {
                let (by, note) = match place(plan, why) {
                    Place::Top(title) => {
                        tops.entry(title).or_default().push(path.clone());
                        continue;
                    }
                    Place::Below(by, note) => (by, note),
                };
                if by != *path && !by.is_root() {
                    edges.entry(by.clone()).or_default().push((path.clone(), note));
                    needed_by.entry(path.clone()).or_default().insert(by);
                }
            }
        }
        let groups: Vec<(String, Vec<TreePath>)> = tops.into_iter().collect();
        let mut out = Sorted { owner, groups, parent: BTreeMap::new(), children: BTreeMap::new(), needed_by };
        let mut queue: VecDeque<TreePath> = out.groups.iter().flat_map(|(_, t)| t.iter().cloned()).collect();
        let mut seen: BTreeSet<TreePath> = queue.iter().cloned().collect();
        loop {
            while let Some(by) = queue.pop_front() {
                for (path, note) in edges.get(&by).into_iter().flatten() {
                    if seen.insert(path.clone()) {
                        out.parent.insert(path.clone(), by.clone());
                        out.children.entry(by.clone()).or_default().push((path.clone(), note.clone()));
                        queue.push_back(path.clone());
                    }
                }
            }
            // Whatever no way from the top leads to stands for itself.
            let Some(lost) = plan.entries.keys().find(|p| !seen.contains(*p)).cloned() else { break };
            seen.insert(lost.clone());
            out.groups.push(("other".to_owned(), vec![lost.clone()]));
            queue.push_back(lost);
        }
        out
    }

    fn package(&self, plan: &Plan, path: &TreePath) -> Option<String> {
        (self.owner)(plan.entries.get(path)?.source.as_ref()?)
    }

    /// Just a file of a folder or selection: it needs nothing, and nothing needs it.
    fn is_plain(&self, plan: &Plan, path: &TreePath) -> bool {
        let folder = plan.entries[path].why.iter().all(|w| matches!(w, Why::Folder(_) | Why::Selected(_)));
        let dir = matches!(plan.entries[path].action, Action::Directory(_));
        (folder || dir) && !self.children.contains_key(path)
    }

    fn lines(
        &self,
        plan: &Plan,
        path: &TreePath,
        depth: usize,
        size: &impl Fn(&TreePath) -> u64,
        out: &mut Vec<Line>,
    ) {
        self.line(plan, path, depth, String::new(), size, out);
        let mut todo: Vec<(usize, &(TreePath, String))> = Vec::new();
        let below = |p: &TreePath| self.children.get(p).into_iter().flatten().rev();
        todo.extend(below(path).map(|c| (depth + 1, c)));
        while let Some((depth, (child, note))) = todo.pop() {
            let note = match &plan.entries[child].action {
                Action::Symlink(_) => "symlink".to_owned(),
                _ => note.clone(),
            };
            self.line(plan, child, depth, note, size, out);
            todo.extend(below(child).map(|c| (depth + 1, c)));
        }
    }

    fn line(
        &self,
        plan: &Plan,
        path: &TreePath,
        depth: usize,
        note: String,
        size: &impl Fn(&TreePath) -> u64,
        out: &mut Vec<Line>,
    ) {
        let parent = self.parent.get(path);
        let also = self.needed_by.get(path).into_iter().flatten().filter(|p| Some(*p) != parent);
        let (bytes, package, also) = (size(path), self.package(plan, path), also.cloned().collect());
        out.push(Line { depth, path: path.clone(), bytes, note, package, also });
    }
}

enum Place {
    Top(String),
    Below(TreePath, String),
}

fn place(plan: &Plan, why: &Why) -> Place {
    let libc = || plan.entries.keys().find(|p| p.file_name() == Some(b"libc.so.6")).cloned();
    let below = |image: &TreePath, note: String| match plan.home(image) {
        Some(by) => Place::Below(by, note),
        None => Place::Top("other".to_owned()),
    };
    match why {
        Why::Asked(text) | Why::Folder(text) | Why::Selected(text) | Why::Default(text) => {
            Place::Top(text.clone())
        }
        Why::Target(link) => Place::Below(link.clone(), "target".to_owned()),
        Why::Name(home) => Place::Below(home.clone(), "name".to_owned()),
        Why::PathFile => Place::Top("search path of the loader".to_owned()),
        Why::Closure(reason) => match reason {
            // Why::Asked or Why::Folder stands beside it.
            Reason::Asked => Place::Below(TreePath::root(), String::new()),
            Reason::Needed { by, name } => below(by, format!("as {name}")),
            Reason::Loader { of } => below(of, "loader".to_owned()),
            Reason::Dlopen { by, feature } => below(by, format!("dlopen: {feature}")),
            Reason::Variant { of } => below(of, "variant for better processors".to_owned()),
            Reason::Extra { text } => Place::Top(format!("--extra-lib {text}")),
            Reason::NameService { service } => match libc() {
                Some(by) => Place::Below(by, format!("name service {service}")),
                None => Place::Top("other".to_owned()),
            },
            Reason::Threads => match libc() {
                Some(by) => Place::Below(by, "ends threads".to_owned()),
                None => Place::Top("other".to_owned()),
            },
        },
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in &self.groups {
            writeln!(f, "{}", group.title)?;
            for line in &group.lines {
                write!(f, "{}{} {}", "  ".repeat(line.depth + 1), line.path, Size(line.bytes))?;
                if !line.note.is_empty() {
                    write!(f, ", {}", line.note)?;
                }
                if let Some(package) = &line.package {
                    write!(f, ", from package {package}")?;
                }
                match line.also.as_slice() {
                    [] => {}
                    [one] => write!(f, ", also for {one}")?,
                    [one, rest @ ..] => write!(f, ", also for {one} and {} more", rest.len())?,
                }
                writeln!(f)?;
            }
            for (package, (files, bytes)) in &group.others {
                write!(f, "  {files} files, {}", Size(*bytes))?;
                match package {
                    Some(package) => writeln!(f, ", from package {package}")?,
                    None => writeln!(f)?,
                }
            }
        }
        writeln!(f, "{} files, {}", self.files, Size(self.bytes))
    }
}
