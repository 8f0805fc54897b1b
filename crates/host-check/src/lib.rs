//! What a set of system extensions does to a given host, before it reaches one.
//!
//! [`check()`] computes the tree that systemd-sysext and overlayfs would show ([`merge`]), and holds it against the host's own:
//! which extensions are merged at all, what they hide, which libraries programs load then, which units start, and what
//! is applied too late.

mod rules;
pub use rules::{Finding, RULES, Rule, Severity, rule};

mod host;
pub use host::{Host, HostError};

mod extension;
pub use extension::Extension;

mod order;
pub use order::compare_versions;

mod acceptance;
pub use acceptance::{Acceptance, acceptance};

mod overlay;
pub use overlay::{Change, Hidden, Hierarchy, Merged, Owner, merge};

mod accounts;
mod changes;
mod cycles;
mod elves;
mod files;
mod hidden;
mod kernel;
mod late;
mod layer;
mod libraries;
mod names;
mod requirements;
mod services;
mod stack;
pub use stack::PACKAGE_DATABASES;
mod units;

mod check;
pub use check::{CheckError, Options, check};

mod report;
pub use report::{ExtensionReport, HierarchyReport, HostReport, Report, StartReport};

mod comparison;
pub use comparison::Comparison;

mod target;
pub use target::{Target, TargetError};

#[cfg(test)]
mod tests;
