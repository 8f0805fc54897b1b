//! The `bakery` command against a mirror whose tree of URLs is upstream's.

#![allow(clippy::unwrap_used)]

mod builds;
mod images;
mod mirror;
mod rebuilds;
mod sandbox;
