//! The format, described for programs.

use serde_json::Value;

use super::RecipeFile;

/// The JSON schema of `recipe.toml`, for editors and for the documentation.
pub fn schema() -> Value {
    schemars::schema_for!(RecipeFile).to_value()
}
