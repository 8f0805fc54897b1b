//! The one place where environment variables are read.

use store::Environment;

/// Those of this process.
pub fn environment() -> Environment {
    std::env::vars_os().collect()
}
