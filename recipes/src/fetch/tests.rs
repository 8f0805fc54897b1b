use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::http::RetryPolicy;
use tree::Silent;

use super::*;

/// What the server does for a path.
#[derive(Clone, Copy)]
enum Answer {
    Whole(&'static [u8]),
    /// Sends so many bytes of the first answer and closes.
    Breaks(&'static [u8], usize),
    /// A first answer of 503.
    Busy(&'static [u8]),
    Page,
    /// With an entity tag, which an unchanged document is asked for with.
    Tagged(&'static [u8], &'static str),
}

struct Server {
    address: String,
    /// `PATH`, `PATH RANGE`, and ` TOKEN` if an authorization came along.
    seen: Arc<Mutex<Vec<String>>>,
}

/// Serves until the process ends.
fn serve(files: &[(&'static str, Answer)]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let files: BTreeMap<&str, Answer> = files.iter().copied().collect();
    let log = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let Some(first) = lines.next() else { continue };
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut entry = path.clone();
            let (mut from, mut tag) = (None, String::new());
            for line in lines.take_while(|l| !l.is_empty()) {
                let (name, value) = line.split_once(": ").unwrap_or_default();
                match name.to_ascii_lowercase().as_str() {
                    "range" => {
                        from = value.strip_prefix("bytes=").and_then(|v| v.trim_end_matches('-').parse().ok())
                    }
                    "authorization" => entry.push_str(" TOKEN"),
                    "if-none-match" => tag = value.to_owned(),
                    _ => {}
                }
            }
            if !tag.is_empty() {
                entry = format!("{entry} {tag}");
            }
            if let Some(from) = from {
                entry = format!("{entry} {from}");
            }
            let again = log.lock().unwrap().iter().any(|e| e.starts_with(&path));
            log.lock().unwrap().push(entry);
            let reply = |status: &str, more: &str, len: usize| {
                format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n{more}\r\n")
            };
            let (head, body): (String, &[u8]) = match files.get(path.as_str()) {
                None => (reply("404 Not Found", "", 0), b""),
                Some(Answer::Tagged(_, etag)) if tag == *etag => (reply("304 Not Modified", "", 0), b""),
                Some(Answer::Tagged(bytes, etag)) => {
                    (reply("200 OK", &format!("ETag: {etag}\r\n"), bytes.len()), bytes)
                }
                Some(Answer::Page) => (reply("200 OK", "Content-Type: text/html\r\n", 3), b"<p>"),
                Some(Answer::Busy(_)) if !again => (reply("503 Busy", "", 0), b""),
                Some(Answer::Breaks(bytes, at)) if !again => {
                    (reply("200 OK", "", bytes.len()), &bytes[..*at])
                }
                Some(Answer::Whole(bytes) | Answer::Busy(bytes) | Answer::Breaks(bytes, _)) => match from {
                    None => (reply("200 OK", "", bytes.len()), bytes),
                    Some(from) => {
                        let range =
                            format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
                        let rest: &[u8] = &bytes[from..];
                        (reply("206 Partial Content", &range, rest.len()), rest)
                    }
                },
            };
            // Whoever has hung up doesn't want it.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    Server { address, seen }
}

struct Bench {
    dir: tempfile::TempDir,
    config: Config,
}

impl Bench {
    fn new(mirrors: &[(&str, &[&str])]) -> Bench {
        let mirrors =
            mirrors.iter().map(|(k, v)| ((*k).to_owned(), v.iter().map(|s| (*s).to_owned()).collect()));
        let config = Config { mirrors: mirrors.collect(), ..Config::default() };
        Bench { dir: tempfile::tempdir().unwrap(), config }
    }

    fn fetcher(&self, offline: bool) -> Fetcher {
        let environment = Environment::from_iter([("GITHUB_TOKEN", "secret")]);
        let mut options = HttpOptions::new(&environment);
        options.retry = RetryPolicy { sleep: Arc::new(|_: Duration| ()), ..RetryPolicy::default() };
        let cache = Cache::open(self.dir.path()).unwrap();
        Fetcher::with_options(self.config.clone(), cache, options, environment, offline)
    }
}

fn want(url: impl Into<String>, checksums: &[Checksum], size: Option<u64>) -> FileRequest {
    FileRequest { url: url.into(), checksums: checksums.to_vec(), size }
}

fn sha256(text: &str) -> Checksum {
    Checksum::Sha256(Digest::of(text))
}

#[test]
fn by_a_mirror_and_once() {
    let server = serve(&[("/gh/a/x", Answer::Whole(b"content"))]);
    let bench = Bench::new(&[("https://github.com/", &[&format!("{}/gh/", server.address)])]);
    let url = "https://github.com/a/x";
    let sha512 = Checksum::Sha512([0; 64]).of_same_kind(&"content".into()).unwrap();
    let wants = [
        want(url, &[], None),
        want(url, &[sha256("content")], Some(7)),
        want(url, &[sha512], None),
        want(url, &[sha512, sha256("content")], None),
    ];
    for want in &wants {
        let file = bench.fetcher(false).get(want, &Silent).unwrap();
        assert_eq!((file.content().read(99).unwrap().as_slice(), file.size), (&b"content"[..], 7));
        assert_eq!(file.sha256, Digest::of("content"));
    }
    // Without any checksum it may have changed, and so may one whose SHA-512 alone is known.
    assert_eq!(*server.seen.lock().unwrap(), ["/gh/a/x", "/gh/a/x"]);
    for want in &wants[1..] {
        bench.fetcher(true).get(want, &Silent).unwrap();
    }
    let error = bench.fetcher(true).get(&wants[0], &Silent).unwrap_err();
    assert_eq!(error.to_string(), format!("{url}: not in the cache, and network access is off"));
    assert!(matches!(error.cause, FetchCause::Offline), "{error:?}");
}

#[test]
fn errors_name_both_addresses_and_what_was_expected() {
    let server = serve(&[("/x", Answer::Whole(b"content")), ("/page", Answer::Page)]);
    let address = &server.address;
    let bench =
        Bench::new(&[("https://up.example/", &[&format!("{address}/")]), ("https://no.example/", &[])]);
    let message = |path: &str, checksums: &[Checksum], size| {
        let error = bench.fetcher(false).get(&want(path, checksums, size), &Silent).unwrap_err();
        error.to_string().replace(address.as_str(), "MIRROR")
    };
    let up = "https://up.example/x";
    let (got, other) = (sha256("content"), sha256("other"));
    for checksum in [other, Checksum::Sha512([7; 64])] {
        let text = message(up, &[checksum], None);
        assert!(
            text.starts_with("https://up.example/x (asked for at MIRROR/x): got content with digest sha"),
            "{text}"
        );
        assert!(text.ends_with(&format!("expected {checksum}")), "{text}");
    }
    assert!(message(up, &[other], None).contains(&format!("digest {got}, expected {other}")));
    assert!(message(up, &[], Some(8)).ends_with("(asked for at MIRROR/x): got 7 bytes, expected 8"));
    assert_eq!(
        message("https://up.example/y", &[], None),
        "https://up.example/y (asked for at MIRROR/y): not found"
    );
    assert_eq!(message(&format!("{address}/y"), &[], None), "MIRROR/y: not found");
    assert!(
        message(&format!("{address}/page"), &[], None)
            .contains("got a web page (text/html), expected a file")
    );
    assert!(
        message("https://no.example/x", &[], None)
            .ends_with("the configuration has an empty list of mirrors for it")
    );
    assert!(message("ftp://up.example/x", &[], None).contains("has a scheme other than http and https"));
    // It is here, but under the name of its own digest.
    bench.fetcher(false).get(&want(up, &[got], None), &Silent).unwrap();
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let server = serve(&[("/x", Answer::Breaks(b"0123456789", 4)), ("/z", Answer::Busy(b"z"))]);
    let bench = Bench::new(&[]);
    let url = format!("{}/x", server.address);
    let fetcher = bench.fetcher(false);
    assert_eq!(fetcher.get(&want(&url, &[sha256("0123456789")], None), &Silent).unwrap().size, 10);
    fetcher.get(&want(format!("{}/z", server.address), &[], None), &Silent).unwrap();
    assert_eq!(*server.seen.lock().unwrap(), ["/x", "/x 4", "/z", "/z"]);

    // Nobody would notice if it went on with another file.
    let server = serve(&[("/x", Answer::Breaks(b"0123456789", 4))]);
    let url = format!("{}/x", server.address);
    let error = fetcher.get(&want(&url, &[], None), &Silent).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{url}: ")), "{error}");
    assert_eq!(fetcher.get(&want(&url, &[], None), &Silent).unwrap().size, 10);
    assert_eq!(*server.seen.lock().unwrap(), ["/x", "/x"]);
}

#[test]
fn the_next_mirror_has_it() {
    let server = serve(&[("/bad/x", Answer::Whole(b"evil")), ("/good/x", Answer::Whole(b"content"))]);
    let [gone, bad, good] = ["gone", "bad", "good"].map(|dir| format!("{}/{dir}/", server.address));
    let bench = Bench::new(&[("https://up.example/", &[&gone, &bad, &good])]);
    let wanted = want("https://up.example/x", &[sha256("content")], None);
    bench.fetcher(false).get(&wanted, &Silent).unwrap();
    assert_eq!(*server.seen.lock().unwrap(), ["/gone/x", "/bad/x", "/good/x"]);
    let wanted = want("https://up.example/x", &[sha256("else")], None);
    let error = bench.fetcher(false).get(&wanted, &Silent).unwrap_err().to_string();
    assert_eq!(error.matches("before that").count(), 2, "{error}");
}

#[test]
fn several_at_once_and_documents() {
    let server = serve(&[("/a", Answer::Whole(b"aa")), ("/b", Answer::Whole(b"b")), ("/i", Answer::Page)]);
    let api = format!("{}/", server.address);
    let bench = Bench::new(&[("https://api.github.com/", &[&api])]);
    let fetcher = bench.fetcher(false);
    let wants: Vec<FileRequest> =
        ["a", "b", "a"].iter().map(|n| want(format!("{api}{n}"), &[], None)).collect();
    let sizes: Vec<u64> = fetcher.get_all(&wants, &Silent).unwrap().iter().map(|f| f.size).collect();
    assert_eq!(sizes, [2, 1, 2]);
    let missing = [wants[0].clone(), want(format!("{api}none"), &[], None)];
    assert!(fetcher.get_all(&missing, &Silent).unwrap_err().is_not_found());

    let page = "https://api.github.com/i";
    assert_eq!(fetcher.text(page, 3, &Silent).unwrap(), b"<p>");
    assert!(fetcher.text(page, 2, &Silent).unwrap_err().to_string().contains("larger than 2 bytes"));
    assert_eq!(bench.fetcher(true).text(page, 3, &Silent).unwrap(), b"<p>");
    assert!(bench.fetcher(true).text("https://api.github.com/j", 3, &Silent).is_err());
    // A mirror of the API is not the API.
    assert!(!server.seen.lock().unwrap().iter().any(|e| e.contains("TOKEN")));
    let get = fetcher.request("https://api.github.com/i");
    assert_eq!(get.authorization, Some("Bearer secret"));
    assert_eq!(fetcher.request("https://github.com/i").authorization, None);
}

#[test]
fn a_document_is_asked_for_once_a_run_and_sent_only_if_it_changed() {
    let server =
        serve(&[("/list", Answer::Tagged(b"versions", "\"v1\"")), ("/plain", Answer::Whole(b"text"))]);
    let bench = Bench::new(&[]);
    let (list, plain) = (format!("{}/list", server.address), format!("{}/plain", server.address));
    let fetcher = bench.fetcher(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(fetcher.text(&list, 100, &Silent).unwrap(), b"versions"));
        }
    });
    assert_eq!(fetcher.text(&plain, 100, &Silent).unwrap(), b"text");
    assert_eq!(*server.seen.lock().unwrap(), ["/list", "/plain"]);
    // The next run asks whether it is still the same; the server doesn't send it again.
    let next = bench.fetcher(false);
    assert_eq!(next.text(&list, 100, &Silent).unwrap(), b"versions");
    assert_eq!(next.text(&plain, 100, &Silent).unwrap(), b"text");
    assert_eq!(*server.seen.lock().unwrap(), ["/list", "/plain", "/list \"v1\"", "/plain"]);
}

#[test]
fn a_long_document_is_kept_as_a_short_one_is() {
    let long: &'static [u8] = vec![b'x'; 9 << 20].leak();
    let server = serve(&[("/long", Answer::Tagged(long, "\"v1\"")), ("/empty", Answer::Whole(b""))]);
    let bench = Bench::new(&[]);
    let (url, empty) = (format!("{}/long", server.address), format!("{}/empty", server.address));
    for _ in 0..2 {
        assert!(bench.fetcher(false).text(&url, 16 << 20, &Silent).unwrap() == long);
    }
    assert_eq!(*server.seen.lock().unwrap(), ["/long", "/long \"v1\""]);
    assert_eq!(bench.fetcher(false).text(&empty, 100, &Silent).unwrap(), b"");
    let offline = bench.fetcher(true);
    assert!(offline.text(&url, 16 << 20, &Silent).unwrap() == long);
    assert_eq!(offline.text(&empty, 100, &Silent).unwrap(), b"");
}
