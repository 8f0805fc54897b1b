//! Patches as they come: later ones stand over earlier ones.

use std::collections::BTreeMap;

use tree::Patch;

/// Bytes by their place in the file, without overlaps.
#[derive(Debug, Default)]
pub(super) struct PatchSet(BTreeMap<u64, Vec<u8>>);

impl PatchSet {
    /// Puts bytes at `at`, over what an earlier write put there.
    pub(super) fn write(&mut self, at: u64, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let end = at + bytes.len() as u64;
        if let Some((&start, old)) = self.0.range_mut(..at).next_back() {
            let old_end = start + old.len() as u64;
            if old_end > at {
                let tail = old.split_off((at - start) as usize);
                if old_end > end {
                    self.0.insert(end, tail[(end - at) as usize..].to_vec());
                }
            }
        }
        while let Some((&start, old)) = self.0.range_mut(at..end).next() {
            let tail = if start + old.len() as u64 > end {
                old.split_off((end - start) as usize)
            } else {
                Vec::new()
            };
            self.0.remove(&start);
            if !tail.is_empty() {
                self.0.insert(end, tail);
            }
        }
        self.0.insert(at, bytes);
    }

    pub(crate) fn into_patches(self) -> Vec<Patch> {
        self.0.into_iter().map(|(at, bytes)| Patch { at, bytes }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_last_write_wins(writes in prop::collection::vec((0u64..60, 0usize..20, any::<u8>()), 0..20)) {
            let mut patches = PatchSet::default();
            let mut flat: Vec<Option<u8>> = vec![None; 100];
            for &(at, len, byte) in &writes {
                patches.write(at, vec![byte; len]);
                flat[at as usize..at as usize + len].fill(Some(byte));
            }
            let mut got: Vec<Option<u8>> = vec![None; 100];
            for p in patches.into_patches() {
                for (i, b) in p.bytes.iter().enumerate() {
                    let place = &mut got[p.at as usize + i];
                    prop_assert!(place.is_none(), "patches overlap");
                    *place = Some(*b);
                }
            }
            prop_assert_eq!(got, flat);
        }
    }
}
