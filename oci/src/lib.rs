//! OCI images: what they are called, where they come from, and the root file system that they make.

mod reference;
pub use reference::{ImageRef, ImageSelector, Reference, ReferenceError};

mod registries;
pub use registries::{Endpoint, Registries, RegistriesError};

mod credentials;
pub use credentials::{Credential, Credentials, CredentialsError};

mod policy;
pub use policy::{Policy, PolicyError};

mod client;
pub use client::{Client, ClientError, ClientOptions};

mod platform;
pub use platform::{Platform, PlatformError};

mod manifest;
pub(crate) use manifest::{BlobKind, find_manifest};
pub use manifest::{Config, Descriptor, Index, Manifest, ManifestError, ManifestOrIndex};

mod layer;
pub use layer::{LayerError, Rootfs};

mod source;
pub use source::{LivePaths, RootfsError, SourceError};

mod context;
pub use context::Context;

mod partial;

mod pull;
pub use pull::{Image, PullCause, PullError};
