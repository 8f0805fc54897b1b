//! What is tried.

mod changes;
mod confinement;
pub(crate) mod debian;
mod endings;
mod owners;
mod starting;
mod traces;
mod vectors;

use crate::support::{MODES, Scenario};
use sandbox::Mode;

pub(crate) use endings::wait;

/// Gets a tar of Debian as its standard input.
pub(crate) const DEBIAN: &str = "debian";

pub(crate) const ALL: &[Scenario] = &[
    ("changes", MODES, changes::changes),
    ("changes_without_overlay", MODES, changes::without_overlay),
    ("changes_that_are_none", MODES, changes::none),
    ("changes_of_every_kind", MODES, changes::kinds),
    ("changes_that_cannot_be_stored", MODES, changes::unstorable),
    ("changes_with_holes", MODES, changes::holes),
    ("changes_that_record_times", MODES, changes::records),
    ("limits", MODES, endings::limits),
    ("changes_nested_too_deep", MODES, changes::deep),
    ("changes_of_a_chain_of_runs", MODES, changes::chain),
    ("owners", MODES, owners::owners),
    ("owners_through_a_chroot", MODES, owners::chroot),
    ("owners_of_the_image", MODES, owners::of_the_image),
    ("owners_with_privileges", MODES, owners::privileges),
    ("owners_that_are_errors", MODES, owners::errors),
    ("processes_and_mounts", MODES, confinement::processes_and_mounts),
    ("devices", MODES, confinement::devices),
    ("privileges", MODES, confinement::privileges),
    ("kernel_settings", MODES, confinement::kernel_settings),
    ("kernel_settings_of_root", &[Mode::Root], confinement::kernel_settings_of_root),
    ("environment", MODES, confinement::environment),
    ("network", MODES, confinement::network),
    ("resolv_conf", MODES, confinement::resolv_conf),
    ("hostile_mount_points", MODES, confinement::hostile_mount_points),
    ("program_is_a_copy", &[Mode::Root], confinement::program),
    ("descriptors_of_the_first_process", &[Mode::Root], confinement::descriptors),
    ("starting_fails", MODES, starting::fails),
    ("starting_is_refused", &[Mode::Single], starting::refused),
    ("traces", MODES, traces::lookups),
    ("traces_of_several_commands", MODES, traces::several),
    ("traces_of_commands_that_fail", MODES, traces::failing),
    // newuidmap can't work without new privileges.
    ("traces_below_another_supervisor", &[Mode::Root, Mode::Single], traces::below_another_supervisor),
    ("output", MODES, endings::output),
    ("daemons_end", MODES, endings::daemons),
    ("reader_fails", MODES, endings::reader_fails),
    ("cached", MODES, endings::cached),
    (DEBIAN, MODES, debian::packages),
    ("layer_vectors", MODES, vectors::vectors),
    ("killed_program", MODES, endings::killed_program),
    ("killed_helper", MODES, endings::killed_helper),
];
