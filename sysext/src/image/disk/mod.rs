//! Disk images with dm-verity: a root file system, the tree of its hashes and, if there is a key, their signature, in a GUID
//! partition table. What `systemd-repart --make-ddi=sysext` makes, but the same bytes each time: GUIDs and salt are
//! derived, not drawn.

mod der;
mod gpt;
mod kinds;
mod signer;
mod verity;

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub use signer::{Signer, SignerError};

use crate::Extension;
use tree::Arch;

/// How to make a disk image.
#[derive(Debug, Clone, Default)]
pub struct Verity {
    /// Signs the root hash.
    pub signer: Option<Arc<Signer>>,
    /// Whose partition types are taken if the extension's release file names no architecture.
    pub architecture: Option<Arch>,
}

/// Where the file system has to be. Bytes.
pub(super) const FILE_SYSTEM: u64 = gpt::FIRST;

/// Length of a signature partition, which is systemd-repart's. Bytes.
const SIGNATURE: u64 = 16 << 10;

/// Makes a disk of a file that has a file system at [`FILE_SYSTEM`] and nothing behind it. Gives the root hash, 64 hex
/// digits.
pub(super) fn finish(
    disk: &File,
    extension: &Extension,
    arch: Arch,
    signer: Option<&Signer>,
    threads: NonZeroUsize,
) -> io::Result<String> {
    let too_large = || io::Error::from(io::ErrorKind::FileTooLarge);
    let end = disk.metadata()?.len().checked_next_multiple_of(gpt::ALIGN).ok_or_else(too_large)?;
    let layout = verity::Layout::new(end.checked_sub(FILE_SYSTEM).ok_or_else(too_large)?);
    let signature = end.checked_add(layout.len()).ok_or_else(too_large)?;
    let partitions_end = if signer.is_some() { signature + SIGNATURE } else { signature };
    let len = gpt::disk_len(partitions_end).ok_or_else(too_large)?;
    disk.set_len(len)?;

    // Two extensions of the same files have different trees, as they would with a salt drawn by lot.
    let salt = derive("verity salt", extension.name().as_str().as_bytes());
    let uuid = guid("verity superblock", &salt);
    let root_hash = layout.write(disk, FILE_SYSTEM, end, &salt, &uuid, threads)?;
    let text = hex(&root_hash);

    let [root, hashes, signatures] = kinds::root(arch);
    let name = format!("root-{arch}");
    // A host finds the two that belong together by these GUIDs: the halves of the root hash.
    let mut halves = [[0; 16]; 2];
    halves[0].copy_from_slice(&root_hash[..16]);
    halves[1].copy_from_slice(&root_hash[16..]);
    let mut partitions = vec![
        gpt::Partition {
            kind: root,
            guid: halves[0],
            name: name.clone(),
            attributes: gpt::READ_ONLY,
            start: FILE_SYSTEM,
            len: end - FILE_SYSTEM,
        },
        gpt::Partition {
            kind: hashes,
            guid: halves[1],
            name: format!("{name}-verity"),
            attributes: gpt::READ_ONLY,
            start: end,
            len: layout.len(),
        },
    ];
    if let Some(signer) = signer {
        let content = signer.partition(&text)?;
        if content.len() as u64 > SIGNATURE {
            return Err(io::Error::other("the certificate's names are too long for a signature partition"));
        }
        disk.write_all_at(content.as_bytes(), signature)?;
        partitions.push(gpt::Partition {
            kind: signatures,
            guid: guid("signature partition", &root_hash),
            name: format!("{name}-verity-sig"),
            attributes: 0,
            start: signature,
            len: SIGNATURE,
        });
    }
    gpt::write(disk, len, &guid("disk", &root_hash), &partitions)?;
    Ok(text)
}

fn derive(what: &str, from: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(what).chain_update([0]).chain_update(from).finalize().into()
}

fn guid(what: &str, from: &[u8]) -> gpt::Guid {
    let mut out = [0; 16];
    out.copy_from_slice(&derive(what, from)[..16]);
    super::tool::as_uuid(out)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;
