//! Disk images with dm-verity: a root file system, the tree of its hashes and, if there is a key, their signature, in a GUID
//! partition table. What `systemd-repart --make-ddi=sysext` makes, but the same bytes each time: GUIDs and salt are
//! derived, not drawn.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::sha256::Sha256;
use crate::signer::VeritySigner;
use crate::uuid::as_uuid;
use crate::volume::Volume;
use crate::{gpt, verity};
use base16ct::lower::encode_string as hex;
use tree::Arch;

/// How to make a disk image.
#[derive(Debug, Clone, Default)]
pub struct Verity {
    /// Signs the root hash.
    pub signer: Option<Arc<VeritySigner>>,
    /// Whose partition types are taken if the extension's release file names no architecture.
    pub architecture: Option<Arch>,
}

/// Where the file system has to be. Bytes.
pub(crate) const FILE_SYSTEM: u64 = gpt::FIRST;

/// Length of a signature partition, which is systemd-repart's. Bytes.
const SIGNATURE: u64 = 16 << 10;

/// Makes a disk of a file that has a file system at [`FILE_SYSTEM`] and nothing behind it. Gives the root hash, 64 hex
/// digits.
pub(crate) fn finish(
    disk: &File,
    volume: Volume<'_>,
    arch: Arch,
    signer: Option<&VeritySigner>,
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
    let salt = derive("verity salt", volume.name.as_bytes());
    let uuid = guid("verity superblock", &salt);
    let root_hash = layout.write(disk, FILE_SYSTEM, end, &salt, &uuid, threads)?;
    let text = hex(&root_hash);

    let [root, hashes, signatures] = gpt::root_types(arch);
    let name = format!("root-{arch}");
    // A host finds the two that belong together by these GUIDs: the halves of the root hash.
    let mut halves = [[0; 16]; 2];
    halves[0].copy_from_slice(&root_hash[..16]);
    halves[1].copy_from_slice(&root_hash[16..]);
    let mut partitions = vec![
        gpt::Partition {
            number: 1,
            kind: root,
            guid: halves[0],
            name: name.clone(),
            attributes: gpt::READ_ONLY,
            offset: FILE_SYSTEM,
            size: end - FILE_SYSTEM,
        },
        gpt::Partition {
            number: 2,
            kind: hashes,
            guid: halves[1],
            name: format!("{name}-verity"),
            attributes: gpt::READ_ONLY,
            offset: end,
            size: layout.len(),
        },
    ];
    if let Some(signer) = signer {
        let content = signer.partition(&text)?;
        if content.len() as u64 > SIGNATURE {
            return Err(io::Error::other("the certificate's names are too long for a signature partition"));
        }
        disk.write_all_at(content.as_bytes(), signature)?;
        partitions.push(gpt::Partition {
            number: 3,
            kind: signatures,
            guid: guid("signature partition", &root_hash),
            name: format!("{name}-verity-sig"),
            attributes: 0,
            offset: signature,
            size: SIGNATURE,
        });
    }
    gpt::write(disk, len, &guid("disk", &root_hash), &partitions)?;
    Ok(text)
}

fn derive(what: &str, from: &[u8]) -> [u8; 32] {
    Sha256::of([what.as_bytes(), &[0], from])
}

fn guid(what: &str, from: &[u8]) -> gpt::Guid {
    let mut out = [0; 16];
    out.copy_from_slice(&derive(what, from)[..16]);
    as_uuid(out)
}

#[cfg(test)]
mod tests;
