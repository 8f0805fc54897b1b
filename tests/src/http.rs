//! A file server on the loopback interface: the package mirror of the tests.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};

use anyhow::Result;

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

fn answer(dir: &Path, mut stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = request.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
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
