//! What all operations share.

use std::sync::Arc;

use crate::{Client, ClientOptions, Credentials, Platform, PlatformError, Policy, Registries};
use store::{Cache, Environment};

/// Where images come from, what they should run on, and where they are kept.
#[derive(Debug)]
pub struct Context {
    /// Layers, manifests, results of commands.
    pub cache: Cache,
    /// Mirrors, aliases, blocked and insecure registries.
    pub registries: Registries,
    /// Connections, tokens, credentials.
    pub client: Arc<Client>,
    /// Which images are accepted, by whose signatures.
    pub policy: Policy,
    /// Which image of an index.
    pub platform: Platform,
    /// Nothing is asked of the network.
    pub offline: bool,
    /// Layers that are fetched at once.
    pub jobs: usize,
}

impl Context {
    /// A context with this cache and otherwise plain: no configuration files, no policy, no credentials, this machine's platform.
    ///
    /// # Errors
    /// The machine's architecture has no OCI name.
    pub fn new(cache: Cache) -> Result<Context, PlatformError> {
        let environment = Environment::default();
        let options = ClientOptions::new(&environment);
        Ok(Context {
            cache,
            registries: Registries::default(),
            client: Arc::new(Client::new(options, Credentials::none(), environment)),
            policy: Policy::accept_anything(),
            platform: Platform::host()?,
            offline: false,
            jobs: 4,
        })
    }
}
