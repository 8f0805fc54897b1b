//! SHA-256, by ring: docs/decisions/0045-sha-256-by-ring.md.

use ring::digest::{Context, SHA256};

/// Hashes a stream.
#[derive(Clone)]
pub(crate) struct Sha256(Context);

impl Sha256 {
    pub(crate) fn new() -> Self {
        Sha256(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes.as_ref());
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }

    /// Of parts that follow each other.
    pub(crate) fn of<const N: usize>(parts: [&[u8]; N]) -> [u8; 32] {
        let mut hash = Self::new();
        for part in parts {
            hash.update(part);
        }
        hash.finish()
    }
}
