//! The machine that a disk image boots on.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use image::gpt::Partition;
use tree::Arch;

/// Names of boot loaders as FAT directories have them: eight characters and the ending. UEFI 3.5.1.1.
const LOADERS: [(&[u8; 11], Arch); 2] = [(b"BOOTX64 EFI", Arch::X86_64), (b"BOOTAA64EFI", Arch::Arm64)];

/// Bytes of a directory entry.
const ENTRY: usize = 32;
/// Bytes at a time.
const CHUNK: usize = 1 << 20;
/// Bytes that are looked at: boot partitions are smaller.
const MOST: u64 = 1 << 30;

/// The architecture of the boot loader on an EFI system partition. None if there is none, or there are several.
///
/// # Errors
/// The image can't be read.
pub(crate) fn architecture(disk: &File, partition: &Partition) -> io::Result<Option<Arch>> {
    let mut found = [false; LOADERS.len()];
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    let size = partition.size.min(MOST);
    while done < size {
        let len = usize::try_from(size - done).unwrap_or(CHUNK).min(CHUNK);
        let read = match disk.read_at(&mut buffer[..len], partition.offset.saturating_add(done)) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        for entry in buffer[..read].chunks_exact(ENTRY) {
            for (seen, (name, _)) in found.iter_mut().zip(&LOADERS) {
                *seen |= entry.starts_with(*name);
            }
        }
        // Entries don't cross the boundaries of what is read if these are multiples of theirs.
        done += (read - read % ENTRY).max(ENTRY) as u64;
    }
    let mut all = found.iter().zip(&LOADERS).filter(|(seen, _)| **seen).map(|(_, (_, arch))| *arch);
    Ok(all.next().filter(|_| all.next().is_none()))
}
