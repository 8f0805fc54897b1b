//! A file server on the loopback interface: the package mirror of the tests, and whoever hosts a catalogue.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::registry::Authority;

/// Serves the files below `dir` to GET requests for as long as the process lives. Returns where.
///
/// # Errors
/// No port is free.
pub fn serve(dir: PathBuf) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let dir = dir.clone();
            // A client that goes away in the middle is no news.
            std::thread::spawn(move || drop(answer(&dir, stream)));
        }
    });
    Ok(address)
}

/// The same with TLS, by the authority's certificate for 127.0.0.1.
///
/// # Errors
/// No port is free, or the certificate is of no use.
pub fn serve_tls(dir: PathBuf, authority: &Authority) -> Result<SocketAddr> {
    let (certificate, key) = &authority.server;
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (dir, config) = (dir.clone(), config.clone());
            std::thread::spawn(move || {
                let connection = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
                let mut stream = rustls::StreamOwned::new(connection, stream);
                answer(&dir, &mut stream)?;
                // Without a farewell the client takes the connection for one that broke.
                stream.conn.send_close_notify();
                stream.flush()
            });
        }
    });
    Ok(address)
}

fn answer(dir: &Path, mut stream: impl Read + Write) -> io::Result<()> {
    let mut reader = BufReader::new(&mut stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = request.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // Lists have one page here, so that a query for it changes nothing.
    let path = path.split('?').next().unwrap_or_default().replace("%2B", "+");
    let path = Path::new(path.trim_start_matches('/'));
    let inside = path.components().all(|c| matches!(c, Component::Normal(_)));
    let path = dir.join(path);
    let path = if path.is_dir() { path.join("index") } else { path };
    match File::open(path) {
        Ok(mut file) if inside && (method == "GET" || method == "HEAD") => {
            let len = file.metadata()?.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n")?;
            if method == "GET" {
                io::copy(&mut file, &mut stream)?;
            }
        }
        _ => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?,
    }
    Ok(())
}
