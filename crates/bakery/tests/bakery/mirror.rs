//! A mirror: a directory served over HTTP, and the command that uses it in place of everything else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// A mirror, a configuration that leads to it, and an empty cache.
pub(crate) struct Mirror {
    dir: tempfile::TempDir,
    seen: Arc<Mutex<Vec<String>>>,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Mirror {
    pub(crate) fn new() -> Mirror {
        let dir = tempfile::tempdir().unwrap();
        for name in ["www", "work", "recipes"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let line = |host| format!("\"https://{host}/\" = \"http://{address}/{host}/\"\n");
        let config = format!("[mirrors]\n{}{}", line("e.org"), line("api.github.com"));
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (www, log) = (dir.path().join("www"), seen.clone());
        std::thread::spawn(move || serve(&listener, &www, &log));
        Mirror { dir, seen }
    }

    /// What was asked for since the last time.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a file where its URL, without `https://`, leads to.
    pub(crate) fn put(&self, url: &str, content: impl AsRef<[u8]>) {
        let path = self.path("www").join(url);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn recipe(&self, name: &str, text: &str) {
        let dir = self.path("recipes").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("recipe.toml"), text).unwrap();
    }

    /// Runs `bakery` in the directory `work`.
    pub(crate) fn bakery(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bakery"));
        command.args(arguments).current_dir(self.path("work")).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("BAKERY_CONFIG", self.path("config.toml"));
        command.env("BAKERY_RECIPES", self.path("recipes"));
        command
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert!(self.ok, "{self:?}");
        self.out
    }

    /// The message of a failed command, which has to name all of these.
    #[track_caller]
    pub(crate) fn bad(self, words: &[&str]) {
        assert!(!self.ok, "{self:?}");
        let missing: Vec<&&str> = words.iter().filter(|w| !self.err.contains(**w)).collect();
        assert!(missing.is_empty(), "{missing:?} not in {}", self.err);
    }
}

/// Serves until the process ends.
fn serve(listener: &TcpListener, root: &Path, log: &Mutex<Vec<String>>) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let first = lines.next().unwrap_or_default();
        lines.take_while(|l| !l.is_empty()).for_each(drop);
        let url = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let path = url.split('?').next().unwrap_or_default().trim_start_matches('/');
        let mut body = Vec::new();
        let found = std::fs::File::open(root.join(path)).and_then(|mut f| f.read_to_end(&mut body)).is_ok();
        let status = if found { "200 OK" } else { "404 Not Found" };
        log.lock().unwrap().push(url);
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        // Whoever has hung up doesn't want it.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    }
}

/// A tar of these files: path, mode, content.
pub(crate) fn tar(files: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_uid(1000);
        header.set_cksum();
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}
