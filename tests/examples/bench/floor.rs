//! What no conversion can do without: inflating a layer, and the digests of both its forms, with the libraries that flix uses.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::measure::{Sample, once};
use e2e::{Account, images};
use flate2::{Decompress, FlushDecompress, Status};
use serde_json::Value;
use store::{Digest, Hasher};

/// The first argument of this program when it is run for the floor alone.
pub(crate) const WORD: &str = "floor";
/// Bytes, as flix has it.
const BUFFER: usize = 256 << 10;
/// Bytes of a gzip header without a name, which the harness's layers have.
const HEADER: usize = 10;

/// A gzip layer as a file, and what is in it.
pub(crate) struct Layer {
    blob: PathBuf,
    digest: Digest,
    diff_id: Digest,
}

impl Layer {
    /// The only one of `debian:bookworm`.
    pub(crate) fn debian() -> Result<Layer> {
        let blobs = images::debian()?.join("blobs/sha256");
        let index: Value = serde_json::from_slice(&fs::read(blobs.join("../../index.json"))?)?;
        let document = |descriptor: &Value| -> Result<Value> {
            let digest = text(&descriptor["digest"])?.parse::<Digest>()?;
            Ok(serde_json::from_slice(&fs::read(blobs.join(digest.hex()))?)?)
        };
        let manifest = document(&document(&index["manifests"][0])?["manifests"][0])?;
        let digest: Digest = text(&manifest["layers"][0]["digest"])?.parse()?;
        let diff_id = text(&document(&manifest["config"])?["rootfs"]["diff_ids"][0])?.parse()?;
        Ok(Layer { blob: blobs.join(digest.hex()), digest, diff_id })
    }

    /// A process of its own, measured like the others.
    pub(crate) fn measure(&self, by: &Account) -> Result<Sample> {
        let program = std::env::current_exe()?;
        let [digest, diff_id] = [&self.digest, &self.diff_id].map(ToString::to_string);
        let argv = [program.as_path(), Path::new(WORD), &self.blob, Path::new(&digest), Path::new(&diff_id)];
        once(by, &[], argv)
    }
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("an image without digests")
}

/// That process: `floor BLOB DIGEST DIFF_ID`.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let mut next = || args.next().context("floor takes a blob and two digests");
    let (path, digest, diff_id) = (next()?, next()?.parse::<Digest>()?, next()?.parse::<Digest>()?);
    let mut file = File::open(path)?;
    let (mut raw, mut tar) = (Hasher::new(), Hasher::new());
    let (mut input, mut out) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut inflater = Decompress::new(false);
    let mut skip = HEADER;
    loop {
        let n = file.read(&mut input)?;
        if n == 0 {
            break;
        }
        raw.update(&input[..n]);
        let mut rest = &input[skip..n];
        skip = 0;
        loop {
            let before = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(rest, &mut out, FlushDecompress::None)?;
            let written = (inflater.total_out() - before.1) as usize;
            tar.update(&out[..written]);
            rest = &rest[(inflater.total_in() - before.0) as usize..];
            if status == Status::StreamEnd || (rest.is_empty() && written < out.len()) {
                break;
            }
        }
    }
    ensure!(raw.finish() == digest && tar.finish() == diff_id, "other digests than the image has");
    Ok(())
}
