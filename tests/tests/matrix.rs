//! The part of the matrix of real roots that each run of the tests makes, and of the programs that are used: a test a cell.
//! docs/matrix.md and docs/programs.md have all of it.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Error, Result, bail, ensure};
use e2e::matrix::{Kind, Matrix, Row};
use e2e::uses::{self, Image, Uses, Verdict, Way};
use libtest_mimic::{Arguments, Failed, Trial};

/// Of Debian a program that has helpers and data, and one that needs libraries only; of Alpine likewise, and where the real one is at
/// hand its own: busybox by links, a page over TLS, and `apk`.
const DEBIAN: [&str; 2] = ["git", "jq"];
/// Those of `ALPINE` whose packages only the real Alpine has.
const OF_REAL_ALPINE: [&str; 3] = ["busybox-links", "ssl_client", "apk"];
const ALPINE: [&str; 5] = ["words", "words-report", "busybox-links", "ssl_client", "apk"];

fn main() {
    let matrix = Arc::new(OnceLock::new());
    let mut trials = Vec::new();
    for row in Row::all(false) {
        let row = Arc::new(row);
        for kind in row.kinds() {
            let (row, matrix) = (row.clone(), matrix.clone());
            trials.push(Trial::test(format!("{}::{}", row.name(), kind.name()), move || {
                cell(&matrix, &row, kind).map_err(|e| Failed::from(format!("{e:#}")))
            }));
        }
    }
    for (image, root, names) in
        [(Image::Debian, "programs-few", &DEBIAN[..]), (Image::Alpine, "programs-alpine", &ALPINE)]
    {
        let programs = uses::all(image).unwrap_or_else(|e| panic!("{e:#}"));
        let programs: Vec<_> = programs.into_iter().filter(|p| names.contains(&p.name.as_str())).collect();
        // Those of the real Alpine are missing where its root is.
        let missing = |name: &&&str| !programs.iter().any(|p| p.name == **name);
        let missing: Vec<&&str> =
            names.iter().filter(missing).filter(|n| !OF_REAL_ALPINE.contains(n)).collect();
        assert!(missing.is_empty(), "no programs called {missing:?}");
        let used = Arc::new(OnceLock::new());
        for name in programs.iter().map(|p| p.name.clone()) {
            for way in Way::ALL {
                let (used, programs, name) = (used.clone(), programs.clone(), name.clone());
                let make = move || Uses::new(image, root, programs);
                trials.push(Trial::test(format!("uses::{name}::{}", way.name()), move || {
                    use_of(&used, make, &name, way).map_err(|e| Failed::from(format!("{e:#}")))
                }));
            }
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn cell(matrix: &OnceLock<std::result::Result<Matrix, String>>, row: &Row, kind: Kind) -> Result<()> {
    let matrix = matrix.get_or_init(|| Matrix::new().map_err(|e| format!("{e:#}")));
    let matrix = matrix.as_ref().map_err(|e| Error::msg(e.clone()))?;
    let root = row.root(matrix.work())?;
    let job = root.job(kind)?;
    matrix.at_home(root, &job)?;
    let cell = matrix.flix(root, &job)?;
    ensure!(cell.verdict.runs(), "{}", cell.verdict.short());
    Ok(())
}

/// Programs that need more than their libraries: taken by name they fail, and a warning names what is missing.
const ONLY_TOLD: [&str; 3] = ["git", "words", "words-report"];

/// By name, programs of [`ONLY_TOLD`] may fail with a warning. All others work, and all work in all other ways.
fn use_of(
    used: &OnceLock<std::result::Result<Uses, String>>,
    make: impl FnOnce() -> Result<Uses>,
    name: &str,
    way: Way,
) -> Result<()> {
    let used = used.get_or_init(|| make().map_err(|e| format!("{e:#}")));
    let used = used.as_ref().map_err(|e| Error::msg(e.clone()))?;
    let program = used.programs().iter().find(|p| p.name == name).context("no such program")?;
    used.at_home(program)?;
    match (used.cell(program, way)?.verdict, way) {
        (Verdict::Works, _) => Ok(()),
        (Verdict::Told(_), Way::Name) if ONLY_TOLD.contains(&name) => Ok(()),
        (Verdict::Told(why) | Verdict::Silent(why), _) => bail!("{why}"),
    }
}
