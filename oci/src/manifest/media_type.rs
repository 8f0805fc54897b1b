//! What media types say, and what is left open because so many are wrong. image-spec, media-types.md.

/// What a media type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    Manifest,
    Index,
    Schema1,
    /// `application/json` and the like: says nothing.
    Any,
    Other,
}

impl MediaType {
    pub(super) fn of(media_type: &str) -> Self {
        match bare(media_type).as_str() {
            "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json" => MediaType::Manifest,
            "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json" => MediaType::Index,
            "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws" => MediaType::Schema1,
            "" | "application/json" | "application/octet-stream" | "binary/octet-stream" | "text/plain" => {
                MediaType::Any
            }
            // Some registries send it in spite of a right body, some send a login page: the body decides.
            "text/html" => MediaType::Any,
            _ => MediaType::Other,
        }
    }
}

/// A media type in lower case, without parameters.
pub(super) fn bare(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a `Content-Type` is one that somebody chose for this document, not what a server says of files in general.
pub(super) fn is_claim(content_type: &str) -> bool {
    bare(content_type).starts_with("application/vnd.")
}

/// What stands behind the name of a layer's media type.
pub(super) fn layer_kind(media_type: &str) -> Option<&str> {
    [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ]
    .iter()
    .find_map(|prefix| media_type.strip_prefix(prefix))
}

/// Whether a layer of this type may be a tar. How it is compressed is not asked here: that lies often enough, and the blob's
/// first bytes tell. "+encrypted" has to be told apart, and so has what is no tar.
pub(super) fn is_layer(media_type: &str) -> bool {
    let bare = bare(media_type);
    match layer_kind(&bare) {
        Some(rest) => matches!(
            rest,
            "" | "+gzip"
                | ".gzip"
                | "+zstd"
                | ".zstd"
                | "+xz"
                | ".xz"
                | "+bzip2"
                | ".bzip2"
                | "+zstd:chunked"
        ),
        // Names that say nothing, and those of before OCI 1.0. The diff_id in the config says what it has to be.
        None => matches!(
            bare.as_str(),
            "" | "application/octet-stream"
                | "binary/octet-stream"
                | "application/x-tar"
                | "application/tar"
                | "application/tar+gzip"
                | "application/gzip"
                | "application/x-gzip"
                | "application/zstd"
                | "application/vnd.docker.container.image.rootfs.diff+x-gtar"
                | "application/vnd.oci.image.layer.tar+gzip"
                | "application/vnd.oci.image.rootfs.tar.gzip"
                | "application/vnd.oci.image.serialization.rootfs.tar.gzip"
        ),
    }
}
