//! The part of the matrix of real roots that each run of the tests makes: a test a cell. docs/matrix.md has all of it.

use std::sync::{Arc, OnceLock};

use anyhow::{Error, Result, ensure};
use e2e::matrix::{Kind, Matrix, Row};
use libtest_mimic::{Arguments, Failed, Trial};

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
