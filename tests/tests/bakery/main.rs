//! `bakery` against a mirror with upstream's tree of URLs, and real hosts for what it builds.

mod catalogue;
mod compiled;
mod crates;
mod docs;
mod forge;
mod forms;
mod guides;
mod keepalived;
mod kitchen;
mod merge_test;
mod mirror;
mod page;
mod predicted;
mod release;
mod schedule;
mod shelf;
mod sysupdate;
mod tested;
mod upheld;
mod workflow;
