//! NAME, the second of the words.

use sysext::ExtensionName;
use sysext::extension::NameError;

/// A word that can't be the extension's name. Often it is another argument, in the wrong place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NameArgError {
    #[error(transparent)]
    Name(#[from] NameError),
    /// Its libraries are in a directory of its name, and DT_RUNPATH and PATH are lists with colons.
    #[error("extension name {0:?} has ':', which no search path can hold")]
    Colon(String),
}

/// The extension's name.
pub(crate) fn extension_name(text: &str) -> Result<ExtensionName, NameArgError> {
    let name = text.parse::<ExtensionName>()?;
    if text.contains(':') {
        return Err(NameArgError::Colon(text.to_owned()));
    }
    Ok(name)
}
