//! OCI images: what they are called, where they come from, and the root file system that they make.

pub mod reference;
pub use reference::{ImageRef, ImageSelector, Reference, ReferenceError};

pub mod registries;
pub use registries::{Endpoint, Registries, RegistriesError};

pub mod credentials;
pub use credentials::{Credential, Credentials, CredentialsError};

pub mod client;
pub use client::{Client, ClientError, ClientOptions};

pub mod platform;
pub use platform::{Platform, PlatformError};

pub mod manifest;
pub use manifest::{
    BlobKind, Config, Descriptor, Index, Manifest, ManifestError, ManifestOrIndex, find_manifest,
};

pub mod layer;
pub use layer::{LayerError, Rootfs};

pub mod source;
pub use source::{RootfsError, SourceError};

pub mod context;
pub use context::Context;

pub mod pull;
pub use pull::{Image, PullCause, PullError};
