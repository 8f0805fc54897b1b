//! A reverse proxy that does what registries and networks do wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;

/// What a client asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// How often this path was asked for before.
    pub nth: usize,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Whether it is for a blob.
    pub fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It goes to the registry as it is.
    Pass,
    /// The same, but without the headers of these names.
    Without(Vec<&'static str>),
    /// The answer's headers of these names are replaced, or removed if the value is empty.
    Headers(Vec<(&'static str, String)>),
    /// The connection is reset behind so many bytes of the body.
    ResetAfter(u64),
    /// The connection stays open and silent behind so many bytes of the body, until the client closes it. A listener is notified.
    HoldAfter(u64, Sender<()>),
    /// Behind so many bytes of the body comes a byte now and then, until the client closes the connection.
    DripAfter(u64),
    /// The byte at this place of the body is another.
    Flip(u64),
    /// Something else is answered: status and reason, headers, body.
    Answer(&'static str, Vec<(&'static str, String)>, Vec<u8>),
    /// So many bytes of noise as the answer's body.
    Flood(u64),
}

type Rule = dyn Fn(&Request) -> Fault + Send + Sync;

/// A running proxy. It lives as long as the process; each test has its own.
#[derive(Debug)]
pub struct FaultProxy {
    /// Where it listens.
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<Request>>>,
}

impl FaultProxy {
    /// Starts one in front of a registry.
    ///
    /// # Errors
    /// No port.
    pub fn start(
        upstream: SocketAddr,
        rule: impl Fn(&Request) -> Fault + Send + Sync + 'static,
    ) -> Result<FaultProxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let log: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (seen, rule): (_, Arc<Rule>) = (log.clone(), Arc::new(rule));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (seen, rule) = (seen.clone(), rule.clone());
                // What breaks here is what a test wants to break.
                std::thread::spawn(move || serve(client, upstream, &seen, &*rule));
            }
        });
        Ok(FaultProxy { address, log })
    }

    /// What was asked for so far.
    pub fn log(&self) -> Vec<Request> {
        self.log.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Bytes that were asked for of what has this part in its path and is `size` bytes long: in ranges with an end, or all of it.
    pub fn asked(&self, part: &str, size: u64) -> u64 {
        let range = |r: &Request| {
            let (first, last) = r.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
            Some(last.parse::<u64>().ok()? + 1 - first.parse::<u64>().ok()?)
        };
        self.log().iter().filter(|r| r.path.contains(part)).map(|r| range(r).unwrap_or(size)).sum()
    }

    /// How often a path with this part was asked for.
    pub fn count(&self, part: &str) -> usize {
        self.log().iter().filter(|r| r.path.contains(part)).count()
    }
}

fn serve(client: TcpStream, upstream: SocketAddr, log: &Mutex<Vec<Request>>, rule: &Rule) -> Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut client = client;
    let Some((line, headers)) = head(&mut reader)? else {
        // A ClientHello, most likely. Registries answer such with a plain 400, too.
        client.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(());
    };
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let request = {
        let mut log = log.lock().unwrap_or_else(|e| e.into_inner());
        let nth = log.iter().filter(|r| r.path == path).count();
        let request = Request { method: method.into(), path: path.into(), headers: headers.clone(), nth };
        log.push(request.clone());
        request
    };
    // Without the lock: a rule may wait for another request.
    let fault = rule(&request);
    if let Fault::Answer(status, headers, body) = &fault {
        let mut text = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
        headers.iter().for_each(|(n, v)| text += &format!("{n}: {v}\r\n"));
        text += &format!("Content-Length: {}\r\n\r\n", body.len());
        client.write_all(text.as_bytes())?;
        client.write_all(body)?;
        return Ok(());
    }
    if let Fault::Flood(len) = fault {
        client
            .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n")?;
        std::io::copy(&mut std::io::repeat(b' ').take(len), &mut client)?;
        return Ok(());
    }
    let mut server = TcpStream::connect(upstream)?;
    let dropped: &[&str] = if let Fault::Without(names) = &fault { names } else { &[] };
    let mut text = format!("{line}\r\n");
    for (name, value) in headers.iter().filter(|(n, _)| n != "connection" && !dropped.contains(&n.as_str())) {
        text += &format!("{name}: {value}\r\n");
    }
    server.write_all(format!("{text}connection: close\r\n\r\n").as_bytes())?;
    answer(&mut BufReader::new(server), client, &fault)
}

fn answer(server: &mut impl BufRead, mut client: TcpStream, fault: &Fault) -> Result<()> {
    let Some((line, mut headers)) = head(server)? else { return Ok(()) };
    if let Fault::Headers(changes) = fault {
        for (name, value) in changes {
            headers.retain(|(n, _)| n != &name.to_ascii_lowercase());
            if !value.is_empty() {
                headers.push((name.to_string(), value.clone()));
            }
        }
    }
    let mut text = format!("{line}\r\n");
    headers.iter().for_each(|(n, v)| text += &format!("{n}: {v}\r\n"));
    client.write_all(format!("{text}\r\n").as_bytes())?;
    let copied =
        |n: u64, server: &mut dyn Read, client: &mut TcpStream| std::io::copy(&mut server.take(n), client);
    match fault {
        Fault::ResetAfter(n) => {
            copied(*n, server, &mut client)?;
            // Closing with unread input makes the kernel send a reset; without, this is an early end. Both happen.
            client.shutdown(Shutdown::Both)?;
        }
        Fault::HoldAfter(n, reached) => {
            copied(*n, server, &mut client)?;
            let _ = reached.send(());
            let _ = client.read(&mut [0]);
        }
        Fault::DripAfter(n) => {
            copied(*n, server, &mut client)?;
            loop {
                let mut byte = [b' '];
                // The last byte never comes.
                if server.fill_buf()?.len() > 1 {
                    server.read_exact(&mut byte)?;
                }
                client.write_all(&byte)?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Fault::Flip(at) => {
            copied(*at, server, &mut client)?;
            let mut byte = [0];
            server.read_exact(&mut byte)?;
            client.write_all(&[byte[0] ^ 1])?;
            std::io::copy(server, &mut client)?;
        }
        _ => {
            std::io::copy(server, &mut client)?;
        }
    }
    Ok(())
}

/// The first line and the headers.
type Head = (String, Vec<(String, String)>);

/// None if it isn't HTTP.
fn head(reader: &mut impl BufRead) -> Result<Option<Head>> {
    // The first byte of a TLS record that opens a connection.
    if reader.fill_buf()?.first().is_none_or(|b| *b == 0x16) {
        return Ok(None);
    }
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.into_iter();
    let first = lines.next().unwrap_or_default();
    let headers = lines.filter_map(|l| {
        let (name, value) = l.split_once(':')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    });
    Ok(Some((first, headers.collect())))
}
