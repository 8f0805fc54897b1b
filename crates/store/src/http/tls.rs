//! Whom to trust: the system's certificates, those for one registry (containers-certs.d(5)), those of the command line.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem};

use super::HttpError;

/// Certificates to trust and to show. System certificates are read when the first connection needs them.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// Files with further authorities for all hosts.
    pub ca_files: Vec<PathBuf>,
    /// Directories with one directory for each `HOST[:PORT]`.
    pub certs_dirs: Vec<PathBuf>,
    system: OnceLock<Vec<Certificate<'static>>>,
}

impl Trust {
    pub(super) fn new(ca_files: Vec<PathBuf>, certs_dirs: Vec<PathBuf>) -> Self {
        Trust { ca_files, certs_dirs, system: OnceLock::new() }
    }

    pub(super) fn config(&self, authority: &str, insecure: bool) -> Result<TlsConfig, HttpError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut builder = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider)
            .disable_verification(insecure);
        let mut roots = Vec::new();
        if !insecure {
            roots.extend_from_slice(self.system());
            for file in &self.ca_files {
                roots.extend(certificates(file)?);
            }
        }
        let mut pair = None;
        for dir in self.certs_dirs.iter().map(|d| d.join(authority)).filter(|d| d.is_dir()) {
            for path in files(&dir)? {
                match path.extension().and_then(|e| e.to_str()) {
                    Some("crt") => roots.extend(certificates(&path)?),
                    Some("cert") => pair = Some(client_pair(&path, &path.with_extension("key"))?),
                    _ => {}
                }
            }
        }
        builder = builder.root_certs(RootCerts::Specific(Arc::new(roots))).client_cert(pair);
        Ok(builder.build())
    }

    fn system(&self) -> &[Certificate<'static>] {
        self.system.get_or_init(|| {
            // SSL_CERT_FILE and SSL_CERT_DIR are honoured. What can't be read there isn't trusted; the connection says so.
            let found = rustls_native_certs::load_native_certs();
            found.certs.iter().map(|c| Certificate::from_der(c.as_ref()).to_owned()).collect()
        })
    }
}

fn error(path: &Path, message: impl ToString) -> HttpError {
    HttpError::Certificate { path: path.into(), message: message.to_string() }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, HttpError> {
    let mut out = Vec::new();
    for entry in dir.read_dir().map_err(|e| error(dir, e))? {
        out.push(entry.map_err(|e| error(dir, e))?.path());
    }
    out.sort();
    Ok(out)
}

fn items(path: &Path) -> Result<Vec<PemItem<'static>>, HttpError> {
    let pem = crate::small_file::read(path).map_err(|e| error(path, e))?;
    parse_pem(&pem).collect::<Result<_, _>>().map_err(|_| error(path, "is not valid PEM"))
}

/// All certificates of a PEM file.
fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, HttpError> {
    let mut out = Vec::new();
    for item in items(path)? {
        if let PemItem::Certificate(c) = item {
            out.push(c);
        }
    }
    // Adding to a store is what checks them.
    let mut store = rustls::RootCertStore::empty();
    for c in &out {
        store.add(CertificateDer::from(c.der())).map_err(|e| error(path, e))?;
    }
    if out.is_empty() {
        return Err(error(path, "has no certificate"));
    }
    Ok(out)
}

fn client_pair(cert: &Path, key: &Path) -> Result<ClientCert, HttpError> {
    let mut chain = Vec::new();
    for item in items(cert)? {
        if let PemItem::Certificate(c) = item {
            chain.push(c);
        }
    }
    let is_key = |item| match item {
        PemItem::PrivateKey(k) => Some(k),
        _ => None,
    };
    let key_item =
        items(key)?.into_iter().find_map(is_key).ok_or_else(|| error(key, "has no private key"))?;
    check_pair(&chain, &key_item).map_err(|e| error(cert, e))?;
    Ok(ClientCert::new_with_certs(&chain, key_item))
}

/// ureq panics on a key that doesn't belong to the certificate.
fn check_pair(chain: &[Certificate<'static>], key: &PrivateKey<'static>) -> Result<(), rustls::Error> {
    let chain = chain.iter().map(|c| CertificateDer::from(c.der().to_vec())).collect();
    let key = PrivateKeyDer::try_from(key.der().to_vec()).map_err(|e| rustls::Error::General(e.into()))?;
    let provider = rustls::crypto::ring::default_provider();
    rustls::sign::CertifiedKey::from_der(chain, key, &provider).map(|_| ())
}
