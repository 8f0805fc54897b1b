//! Bytes by digest: hashing, compression, the cache, and how files get into it.

pub mod digest;
pub use digest::{Digest, DigestError, Hasher};

pub mod compress;
pub use compress::{CompressionFormat, DecodeError, DecodeLimits, Decoder};

mod environment;
pub use environment::Environment;

pub mod small_file;

mod blob;
pub use blob::LayerBlob;

pub mod http;
pub use http::{HttpClient, HttpError, HttpOptions};

pub mod cache;
pub use cache::{Cache, CacheError, DownloadError, ExpectedFile, ExpectedLayer, Scratch, ScratchGuard};
