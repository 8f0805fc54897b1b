//! Baking: extensions put into a Flatcar OS image, so that a machine has them at its first boot.
//!
//! The image is a whole disk: a GPT with ROOT (ext4) and OEM (btrfs). ROOT is written by debugfs, which needs no privileges;
//! OEM has to be mounted, which needs root. A copy is written and put in place at the end: the original stays as it was.

pub mod flatcar;
pub use flatcar::Channel;
pub use flatcar::FlatcarError;

mod boot;

mod payload;
pub use payload::PayloadError;
pub use payload::{InstallPartition, InstallPath, Payload, PayloadEntry, PayloadItem};

mod ext4;
pub use ext4::Ext4Error;

mod mounted;
pub use mounted::MountError;

mod sys;

pub mod vendor;

mod write;
pub use write::{BakeError, Written, bake, check};

#[cfg(test)]
mod tests;
