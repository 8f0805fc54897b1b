//! The environment variables, as the libraries take them.

use store::Environment;

/// Those of this process.
pub fn environment() -> Environment {
    std::env::vars_os().collect()
}
