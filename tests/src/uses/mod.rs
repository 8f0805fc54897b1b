//! Programs of many kinds, each taken out of one root in several ways, merged onto a host without a C library, and really
//! used. `cargo xtask bench --programs` prints all of it (docs/programs.md); the test `matrix` runs a part.

mod alpine;
mod program;
mod root;
mod run;
mod table;
pub use program::{Image, Use, all};
pub use table::page;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{Host, Program, Work, http, place};
use run::Ran;

/// How a program is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// flix, by paths of programs alone.
    Name,
    /// flix, by `package:NAME`.
    Package,
    /// flix, by what the use opens.
    Trace,
    /// flatwrap, with the whole root.
    Root,
    /// flatwrap, by `package:NAME`.
    RootPackage,
    /// flatwrap, by what the use opens.
    RootTrace,
}

/// What became of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It prints what it has to.
    Works,
    /// It doesn't, and a warning or an error says why: the line.
    Told(String),
    /// It doesn't, and nothing was said: what the program said.
    Silent(String),
}

/// A program by one way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    /// What became of it.
    pub verdict: Verdict,
    /// Whether there were warnings.
    pub warned: bool,
    /// Bytes of the image; 0 without one.
    pub size: u64,
    /// Files and links in it.
    pub files: u64,
    /// How long it took to make it, which depends on the machine. Seconds.
    #[serde(skip)]
    pub seconds: f64,
    /// What the program did, if it doesn't work.
    pub ran: Option<String>,
    /// What made it.
    pub by: Build,
}

/// A build of flix and flatwrap, and when it was used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Build {
    /// Of cargo: `debug`, `release`.
    pub profile: String,
    /// Of the repository; with a plus if there were changes besides.
    pub commit: String,
    /// Year, month and day.
    pub date: String,
}

/// Cells by program and way.
pub type Cells = BTreeMap<(String, Way), Cell>;

/// What all cells share: the root, the host, and a page over TLS.
#[derive(Debug)]
pub struct Uses {
    work: Work,
    root: PathBuf,
    host: Host,
    /// What is put to /tmp for each use.
    files: PathBuf,
    page: String,
    /// An extension with what entry points of flatwrap need: util-linux.
    tools: PathBuf,
    programs: Vec<Use>,
    build: Build,
    whole: OnceLock<std::result::Result<Made, String>>,
}

/// What flix or flatwrap did.
#[derive(Debug, Clone)]
struct Made {
    image: Option<PathBuf>,
    /// What it printed but notes.
    said: Vec<String>,
    time: Duration,
}

impl Way {
    /// In the order of the table.
    pub const ALL: [Way; 6] =
        [Way::Name, Way::Package, Way::Trace, Way::Root, Way::RootPackage, Way::RootTrace];

    /// As `--way` has it.
    pub fn name(self) -> &'static str {
        match self {
            Way::Name => "name",
            Way::Package => "package",
            Way::Trace => "trace",
            Way::Root => "root",
            Way::RootPackage => "root-package",
            Way::RootTrace => "root-trace",
        }
    }

    /// The head of its column.
    fn title(self) -> &'static str {
        match self {
            Way::Name => "flix, by name",
            Way::Package => "flix, by package",
            Way::Trace => "flix, by trace",
            Way::Root => "flatwrap, whole root",
            Way::RootPackage => "flatwrap, by package",
            Way::RootTrace => "flatwrap, by trace",
        }
    }

    fn is_flatwrap(self) -> bool {
        matches!(self, Way::Root | Way::RootPackage | Way::RootTrace)
    }
}

impl Uses {
    /// `name` is that of the cached root, which has the packages of these programs. All of them are of `image`.
    ///
    /// # Errors
    /// The root or the host can't be made.
    pub fn new(image: Image, name: &str, programs: Vec<Use>) -> Result<Uses> {
        let (root, authority) = match image {
            Image::Debian => root::debian(name, &programs)?,
            Image::Alpine => alpine::alpine(name)?,
        };
        let work = Work::new()?;
        let files = root::files(&work)?;
        if image == Image::Alpine {
            let more = root.with_file_name("files/.");
            Program::new("cp").arg("-r").arg(&more).arg(&files).run()?;
        }
        let pages = work.dir("pages")?;
        fs::write(pages.join("page"), "a page over TLS\n")?;
        let address = http::serve_tls(pages, &authority)?;
        let page = format!("https://localhost:{}/page", address.port());
        let host = Host::foreign(root::host(&work, &authority)?)?;
        let tools = work.path().join("tools.raw");
        let by = work.root("tools")?;
        let from = format!("dir:{}", Host::bookworm()?.root().display());
        let flix = by.program(place::flix()?).arg("-o").arg(&tools).args([from.as_str(), "tools"]);
        flix.args(["/usr/bin/unshare", "/usr/bin/mount", "/usr/bin/setpriv"]).run()?;
        let whole = OnceLock::new();
        let build = Build::this()?;
        Ok(Uses { work, root, host, files, page, tools, programs, build, whole })
    }

    /// The programs.
    pub fn programs(&self) -> &[Use] {
        &self.programs
    }

    /// Fails unless a program passes in its own root: else its use is to blame.
    ///
    /// # Errors
    /// It says something else.
    pub fn at_home(&self, program: &Use) -> Result<()> {
        let ran = self.run_at_home(program)?;
        ensure!(ran.status == 0 && ran.stdout == program.says, "{} in its own root {ran}", program.name);
        Ok(())
    }

    /// Takes it, merges it, uses it.
    ///
    /// # Errors
    /// The harness's own.
    pub fn cell(&self, program: &Use, way: Way) -> Result<Cell> {
        let made = self.make(program, way)?;
        let (mut size, mut files) = (0, 0);
        if let Some(image) = &made.image {
            size = fs::metadata(image).with_context(|| format!("{image:?}"))?.len();
            let list = Program::new("unsquashfs").arg("-ll").arg(image).run()?;
            files = list.stdout.lines().filter(|l| l.starts_with(['-', 'l'])).count() as u64;
        }
        let ran = match &made.image {
            Some(image) => Some(self.run_merged(program, way, image)?),
            None => None,
        };
        if let (Some(image), false) = (&made.image, way == Way::Root) {
            fs::remove_file(image).with_context(|| format!("{image:?}"))?;
        }
        let works = ran.as_ref().is_some_and(|ran| ran.status == 0 && ran.stdout == program.says);
        let verdict = if works { Verdict::Works } else { failed(program, &made, ran.as_ref()) };
        let warned = made.said.iter().any(|line| line.starts_with("warning"));
        let ran = ran.filter(|_| !works).map(|ran| ran.to_string());
        let seconds = made.time.as_secs_f64();
        Ok(Cell { verdict, warned, size, files, seconds, ran, by: self.build.clone() })
    }

    fn make(&self, program: &Use, way: Way) -> Result<Made> {
        if way == Way::Root {
            let whole = self.whole.get_or_init(|| self.whole_root().map_err(|e| format!("{e:#}")));
            return whole.clone().map_err(Error::msg);
        }
        let tool = if way.is_flatwrap() { place::flatwrap()? } else { place::flix()? };
        // systemd-sysext holds the file's name against that of the release file.
        let folder = self.work.dir(&format!("{}-{}", program.name, way.name()))?;
        let image = folder.join(format!("{}.raw", program.name.to_lowercase()));
        let by = self.work.root(&format!("home-{}-{}", program.name, way.name()))?;
        // Of all programs: a root is written once for all traces.
        let cache = self.work.path().join("cache");
        let mut tool = by.program(tool).env("XDG_CACHE_HOME", cache).arg("-o").arg(&image);
        if way.is_flatwrap() {
            tool = tool.args(&program.flatwrap);
        }
        if matches!(way, Way::Trace | Way::RootTrace) {
            let files = self.files_of(program, &by.home().join("files"))?;
            tool = tool.arg("--trace").arg(self.script(program)?).arg("--trace-files").arg(files);
        }
        let tool = tool.arg(format!("dir:{}", self.root.display())).arg(program.name.to_lowercase());
        let tool = match way {
            Way::Package => tool.args(program.take()),
            // Those elsewhere are no entry points by themselves.
            Way::RootPackage => tool.args(program.take()).args(program.elsewhere()),
            _ => tool.args(&program.paths),
        };
        made(tool, &image)
    }

    /// One image for all programs.
    fn whole_root(&self) -> Result<Made> {
        let image = self.work.path().join("whole.raw");
        let by = self.work.root("home-whole")?;
        let tool = by.program(place::flatwrap()?).arg("-o").arg(&image);
        let tool = tool.arg(format!("dir:{}", self.root.display())).arg("whole");
        let paths: BTreeSet<&String> = self.programs.iter().flat_map(|p| &p.paths).collect();
        made(tool.args(paths), &image)
    }
}

impl Build {
    fn this() -> Result<Build> {
        let flix = place::flix()?;
        let profile = flix.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let git = Program::new("git").arg("-C").arg(place::repository());
        let commit = git.args(["describe", "--always", "--exclude=*", "--dirty=+"]).run()?;
        let date = Program::new("date").args(["-u", "+%Y-%m-%d"]).run()?;
        let line = |out: &str| out.trim().to_owned();
        Ok(Build { profile: profile.into_owned(), commit: line(&commit.stdout), date: line(&date.stdout) })
    }
}

fn made(tool: Program, image: &Path) -> Result<Made> {
    let before = Instant::now();
    let out = tool.outcome()?;
    let time = before.elapsed();
    let said = out.stderr.lines().filter(|l| !l.starts_with("note:")).map(str::to_owned).collect();
    let image = out.status.success().then(|| image.to_owned());
    Ok(Made { image, said, time })
}

fn failed(program: &Use, made: &Made, ran: Option<&Ran>) -> Verdict {
    let told = program.told();
    // An error says why there is no image. What a line is about, it doesn't name as missing.
    let names = |line: &&String| {
        let text =
            line.strip_prefix("warning: ").and_then(|l| l.split_once(": ")).map_or(line.as_str(), |l| l.1);
        line.starts_with("error:") || told.iter().any(|word| text.contains(word))
    };
    let named = made.said.iter().find(names);
    match (named, ran) {
        (Some(line), _) => Verdict::Told(line.clone()),
        (None, Some(ran)) => Verdict::Silent(ran.to_string()),
        (None, None) => Verdict::Silent(format!("no image: {}", made.said.join("\n"))),
    }
}
