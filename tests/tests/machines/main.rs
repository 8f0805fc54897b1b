//! From extensions to machines: baked into disk images, booted, provisioned.

mod bake;
mod bake_broken;
mod bake_odd;
mod boot;
mod bootable;
mod checked;
mod daemons;
mod disk;
mod flatcar;
mod labels;
mod provision;
mod vendor;
