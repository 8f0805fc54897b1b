//! NAME, the second of the words.

use sysext::ExtensionName;
use sysext::extension::NameError;

/// A word that can't be the extension's name. Often it is another argument, in the wrong place.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct NameArgError(#[from] pub(crate) NameError);

/// The extension's name.
pub(crate) fn extension_name(text: &str) -> Result<ExtensionName, NameArgError> {
    Ok(text.parse::<ExtensionName>()?)
}
