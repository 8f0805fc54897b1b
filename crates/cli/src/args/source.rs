//! Where container images come from.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use oci::{
    Client, ClientOptions, Context, Credentials, CredentialsError, Platform, PlatformError, Policy,
    PolicyError, Registries, RegistriesError,
};
use store::{Cache, CacheError, Environment, HttpOptions};
use tree::Arch;

/// Where images come from.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Image source")]
pub struct SourceArgs {
    /// Architecture of the image: x86-64, arm64, arm/v7, … [default: that of this machine]
    #[arg(long, value_name = "ARCH", env = "ARCH", hide_env_values = true)]
    pub arch: Option<String>,

    /// Default registry for image names without one, instead of docker.io: quay.io, ghcr.io/owner
    #[arg(long, value_name = "HOST[/PATH]", env = "REGISTRY", hide_env_values = true)]
    pub registry: Option<String>,

    /// Read mirrors, aliases, and blocked and insecure registries from this registries.conf(5) instead of the user's and the
    /// system's
    #[arg(long, value_name = "FILE", env = "CONTAINERS_REGISTRIES_CONF", hide_env_values = true)]
    pub registries_conf: Option<PathBuf>,

    /// Read which images to accept, and whose signatures they need, from this containers-policy.json(5) instead of the user's or
    /// the system's
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Read credentials from this containers-auth.json(5) or Docker config.json instead of the user's
    #[arg(long, value_name = "FILE", env = "REGISTRY_AUTH_FILE", hide_env_values = true)]
    pub authfile: Option<PathBuf>,

    /// Also trust the certificate authorities in this file (PEM); repeatable
    #[arg(long, value_name = "FILE")]
    pub ca_file: Vec<PathBuf>,

    /// Allow plain HTTP and unverified TLS for this registry; repeatable. A token server or redirect target without TLS needs
    /// its own --insecure
    #[arg(long, value_name = "HOST[:PORT]")]
    pub insecure: Vec<String>,

    /// Cache layers and files in this directory [default: $XDG_CACHE_HOME/flix or ~/.cache/flix]
    #[arg(long, value_name = "DIR", env = "FLIX_CACHE_DIR", hide_env_values = true)]
    pub cache_dir: Option<PathBuf>,

    /// Hash cached layers before each use, even if their files haven't changed since they were hashed last
    #[arg(long)]
    pub verify_cache: bool,

    /// Work from the cache only, without using the network
    #[arg(long)]
    pub offline: bool,

    #[allow(missing_docs)] // it would become help
    #[command(flatten)]
    pub patience: PatienceArgs,
}

/// How slow a server may be.
#[derive(Debug, Clone, Default, Args)]
pub struct PatienceArgs {
    /// Give up on a manifest, a token or another small document after this time [default: 60]
    #[arg(long, value_name = "SECONDS")]
    document_timeout: Option<NonZeroU64>,

    /// Give up on a download that is slower than this over 30 seconds; 0 accepts any rate [default: 1024]
    #[arg(long, value_name = "BYTES_PER_SECOND")]
    pub min_rate: Option<u64>,
}

impl PatienceArgs {
    /// What is given of it.
    pub fn document_timeout(&self) -> Option<Duration> {
        self.document_timeout.map(|seconds| Duration::from_secs(seconds.get()))
    }

    fn apply(&self, options: &mut HttpOptions) {
        options.document_timeout = self.document_timeout().unwrap_or(options.document_timeout);
        if let Some(rate) = self.min_rate {
            options.pace.rate = rate;
        }
    }
}

/// Why arguments and configuration give no [`Context`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The cache can't be opened.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// registries.conf.
    #[error(transparent)]
    Registries(#[from] RegistriesError),
    /// policy.json.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The auth file.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// `--arch`, or a machine without a name.
    #[error(transparent)]
    Platform(#[from] PlatformError),
}

impl SourceArgs {
    /// Opens the cache and reads the configuration.
    ///
    /// # Errors
    /// Files that can't be read or understood, values that make no sense.
    pub fn context(&self) -> Result<Context, ContextError> {
        self.context_in(crate::environment())
    }

    /// What `--arch` asks for, if it is given.
    ///
    /// # Errors
    /// No platform, or an architecture that nobody knows.
    pub fn platform(&self) -> Result<Option<Platform>, PlatformError> {
        let arch = self.arch.as_deref().filter(|a| !a.is_empty());
        arch.map(|a| a.parse::<Platform>()?.known()).transpose()
    }

    /// The architecture that the image is chosen for, if it is one that extensions can say.
    pub fn architecture(&self) -> Option<Arch> {
        match self.platform() {
            Ok(Some(platform)) => platform.architecture.parse().ok(),
            _ => Arch::host(),
        }
    }

    /// The architecture of an image that says itself what it is for; of one that doesn't, what it was to be for.
    pub(crate) fn image_architecture(&self, says: Option<&Platform>) -> Option<Arch> {
        match says {
            Some(platform) => platform.architecture.parse().ok(),
            None => self.architecture(),
        }
    }

    /// As [`SourceArgs::context`], in another environment.
    ///
    /// # Errors
    /// As [`SourceArgs::context`].
    pub(crate) fn context_in(&self, environment: Environment) -> Result<Context, ContextError> {
        // The shell tools took empty variables for unset ones.
        let path = |p: &Option<PathBuf>| p.clone().filter(|p| !p.as_os_str().is_empty());
        let platform = match self.platform()? {
            Some(platform) => platform,
            None => Platform::host()?,
        };
        let mut registries = Registries::load(path(&self.registries_conf).as_deref(), &environment)?;
        if let Some(registry) = self.registry.as_deref().filter(|r| !r.is_empty()) {
            registries.set_default_registry(registry)?;
        }
        for host in &self.insecure {
            registries.allow_insecure(host);
        }
        let credentials = Credentials::load(path(&self.authfile).as_deref(), &environment)?
            .with_helpers(registries.credential_helpers());
        let mut options = ClientOptions::new(&environment);
        options.http.ca_files = self.ca_file.clone();
        self.patience.apply(&mut options.http);
        options.insecure_hosts = registries.insecure_hosts();
        let cache = Cache::open_or_default(path(&self.cache_dir).as_deref(), &environment)?
            .verifying(self.verify_cache);
        Ok(Context {
            cache,
            registries,
            policy: Policy::load(self.policy.as_deref(), &environment)?,
            client: Arc::new(Client::new(options, credentials, environment)),
            platform,
            offline: self.offline,
            jobs: 4,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        source: SourceArgs,
    }

    fn context(arguments: &[&str]) -> Result<Context, ContextError> {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment::from_iter([("HOME", dir.path())]);
        let all = ["flix"].iter().chain(arguments);
        Command::parse_from(all).source.context_in(environment)
    }

    #[test]
    fn arguments_become_a_context() {
        let context =
            context(&["--arch", "aarch64", "--registry", "quay.io", "--insecure", "quay.io", "--offline"]);
        let context = context.unwrap();
        assert_eq!(context.platform.to_string(), "linux/arm64");
        assert!(context.offline);
        let image = &context.registries.candidates(&"x/y".parse().unwrap()).unwrap()[0];
        assert_eq!(image.to_string(), "quay.io/x/y:latest");
        assert!(context.registries.endpoints(image).unwrap()[0].insecure);
    }

    #[test]
    fn errors_name_their_cause() {
        for (arguments, word) in [
            (vec!["--arch", "a/b/c/d"], "platform"),
            (vec!["--arch", "x86-46"], "architecture \"x86-46\" is unknown, expected one of amd64, arm64"),
            (vec!["--registries-conf", "/does/not/exist"], "/does/not/exist"),
            (vec!["--policy", "/does/not/exist"], "/does/not/exist"),
            (vec!["--authfile", "/does/not/exist"], "/does/not/exist"),
            (vec!["--registry", "not a host"], "not a host"),
        ] {
            let error = context(&arguments).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let error = SourceArgs::default().context_in(Environment::default()).unwrap_err().to_string();
        assert!(error.contains("XDG_CACHE_HOME"), "{error}");
    }
}
