//! What helps after an error, on a line of its own. Libraries say what is wrong; the options that mend it are named here.

mod extension;
mod programs;
mod source;

pub(crate) use programs::{MISSING, TEXTS};

use std::error::Error;

/// One line for the user on an error of the libraries, if there is something to say. It looks at this error alone, not at
/// its sources.
pub fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    None.or_else(|| error.downcast_ref().and_then(programs::flix_plan))
        .or_else(|| error.downcast_ref().and_then(programs::closure))
        .or_else(|| error.downcast_ref().and_then(programs::flix_build))
        .or_else(|| error.downcast_ref().and_then(programs::flatwrap_plan))
        .or_else(|| error.downcast_ref().and_then(source::root))
        .or_else(|| error.downcast_ref().and_then(source::packages))
        .or_else(|| error.downcast_ref().and_then(source::rootfs))
        .or_else(|| error.downcast_ref().and_then(source::pull))
        .or_else(|| error.downcast_ref().and_then(source::source))
        .or_else(|| error.downcast_ref().and_then(source::cache))
        .or_else(|| error.downcast_ref().and_then(source::sandbox))
        .or_else(|| error.downcast_ref().and_then(extension::name))
        .or_else(|| error.downcast_ref().and_then(extension::request))
        .or_else(|| error.downcast_ref().and_then(extension::path_arg))
        .or_else(|| error.downcast_ref().and_then(extension::extension))
        .or_else(|| error.downcast_ref().and_then(extension::target))
        .or_else(|| error.downcast_ref().and_then(extension::start))
        .or_else(|| error.downcast_ref().and_then(extension::services))
        .or_else(|| error.downcast_ref().and_then(extension::output_path))
        .or_else(|| error.downcast_ref().and_then(extension::image))
}

#[cfg(test)]
mod tests;
