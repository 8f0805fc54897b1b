//! A virtual machine with extensions in it: to explore interactively, or to run one command and return its status.
//!
//! The machine is a Debian whose root is in memory, made of a container image in the sandbox, without root's privileges; or
//! a Flatcar disk image, which is never written to.

mod cpio;

pub mod guest;
pub use guest::GuestError;
pub use guest::{Attached, Guest};

pub mod guest_files;
pub use guest_files::{GuestFile, guest_files};

mod machine;
pub use machine::{Accel, Disk, Ended, Machine, MachineError, Port};

mod console;

#[cfg(test)]
mod tests;
