//! The vectors of layers.json, and their tars. Included by the tests of several crates, so that all of them read the same.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Layers, and what they must come to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    pub name: String,
    #[serde(rename = "see")]
    _see: Option<String>,
    pub layers: Vec<Vec<Entry>>,
    pub tree: Option<BTreeMap<String, String>>,
    pub error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    link: String,
    #[serde(default)]
    data: String,
    mode: Option<String>,
    #[serde(default)]
    major: u32,
    #[serde(default)]
    minor: u32,
}

pub(crate) fn all() -> Vec<Vector> {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("layers.json")).unwrap();
    for vector in &vectors {
        assert!(vector.tree.is_some() != vector.error.is_some(), "{}", vector.name);
    }
    vectors
}

impl Vector {
    /// The layers as tars.
    pub(crate) fn tars(&self) -> Vec<Vec<u8>> {
        let tar = |entries: &Vec<Entry>| {
            let mut out: Vec<u8> = entries.iter().flat_map(Entry::blocks).collect();
            out.extend([0; 1024]);
            out
        };
        self.layers.iter().map(tar).collect()
    }
}

impl Entry {
    fn blocks(&self) -> Vec<u8> {
        let (flag, mode) = match self.kind.as_str() {
            "file" => (b'0', "0644"),
            "hardlink" => (b'1', "0644"),
            "symlink" => (b'2', "0777"),
            "char" => (b'3', "0644"),
            "dir" => (b'5', "0755"),
            "fifo" => (b'6', "0644"),
            other => panic!("type {other:?}"),
        };
        let mode = self.mode.as_deref().unwrap_or(mode);
        let mut out = Vec::new();
        for (text, flag) in [(&self.path, b'L'), (&self.link, b'K')] {
            if text.len() > 100 {
                let data = format!("{text}\0");
                out.extend(header("././@LongLink", flag, "0644", "", data.len(), (0, 0)));
                out.extend(padded(data.as_bytes()));
            }
        }
        out.extend(header(&self.path, flag, mode, &self.link, self.data.len(), (self.major, self.minor)));
        out.extend(padded(self.data.as_bytes()));
        out
    }
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    out.resize(data.len().next_multiple_of(512), 0);
    out
}

/// A header of GNU's tar, which puts long names before it.
fn header(name: &str, flag: u8, mode: &str, link: &str, size: usize, device: (u32, u32)) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8], room: usize| {
        let n = bytes.len().min(room);
        block[at..at + n].copy_from_slice(&bytes[..n]);
    };
    put(0, name.as_bytes(), 100);
    put(100, format!("{mode:0>7}").as_bytes(), 7);
    put(108, b"0000000\x000000000\0", 16);
    put(124, format!("{size:011o}").as_bytes(), 11);
    put(136, b"00000000000\0        ", 20);
    put(156, &[flag], 1);
    put(157, link.as_bytes(), 100);
    put(257, b"ustar  \0", 8);
    put(329, format!("{:07o}\0{:07o}\0", device.0, device.1).as_bytes(), 16);
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
