//! Ways to a registry: TLS, proxies; and processes that are killed, meet, or run out of disk.

use super::*;

#[test]
fn tls() {
    let authority = Authority::new(&SHARED.work.path().join("tls")).unwrap();
    let settings = Settings { tls: Some(authority.server.clone()), ..Settings::default() };
    let registry = Registry::start(SHARED.work.path(), &settings).unwrap();
    let image = format!("{}/team/app:1", registry.address);
    let error = Bench::new("").pull(&image).unwrap_err();
    assert!(error.to_string().contains("TLS: ") && cli::hint(&error).is_some(), "{error}");

    let mut bench = Bench::new("");
    bench.ca = Some(authority.ca.clone());
    complete(&bench.pull(&image).unwrap(), &SHARED.image);

    let mut bench = Bench::new("");
    let certs = bench.dir.path().join("certs.d");
    let own = certs.join(registry.address.to_string());
    fs::create_dir_all(&own).unwrap();
    fs::copy(&authority.ca, own.join("ca.crt")).unwrap();
    bench.certs_dir = Some(certs);
    complete(&bench.pull(&image).unwrap(), &SHARED.image);

    // Unverified TLS is tried before plain HTTP.
    complete(&Bench::new(insecure(registry.address)).pull(&image).unwrap(), &SHARED.image);

    // A registry that wants to see a certificate of the client's.
    let settings = Settings { client_ca: Some(authority.ca.clone()), ..settings };
    let strict = Registry::start(SHARED.work.path(), &settings).unwrap();
    let image = format!("{}/team/app:1", strict.address);
    let mut bench = Bench::new("");
    bench.ca = Some(authority.ca.clone());
    bench.pull(&image).unwrap_err();
    let certs = bench.dir.path().join("certs.d");
    let own = certs.join(strict.address.to_string());
    fs::create_dir_all(&own).unwrap();
    fs::copy(&authority.server.0, own.join("me.cert")).unwrap();
    fs::copy(&authority.server.1, own.join("me.key")).unwrap();
    bench.certs_dir = Some(certs);
    complete(&bench.pull(&image).unwrap(), &SHARED.image);
    fs::write(own.join("me.key"), "no key").unwrap();
    let error = bench.pull(&image).unwrap_err().to_string();
    assert!(error.contains("me.key"), "{error}");

    // No TLS where it is expected.
    let (_proxy, _, image) = proxied(|_| Fault::Pass);
    let error = Bench::new("").pull(&image).unwrap_err();
    assert!(error.to_string().contains("answered without TLS") && cli::hint(&error).is_some(), "{error}");
}

/// A proxy that knows one host, which nobody else does.
pub(super) fn connect_proxy(target: SocketAddr, seen: Sender<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move |client: TcpStream| -> std::io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let mut lines = Vec::new();
        while lines.last().is_none_or(|l: &String| !l.is_empty()) {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            lines.push(line.trim_end().to_owned());
        }
        let _ = seen.send(lines[0].clone());
        let server = TcpStream::connect(target)?;
        let (mut back, mut to_client) = (server.try_clone()?, client.try_clone()?);
        to_client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        std::thread::spawn(move || {
            std::io::copy(&mut back, &mut to_client).and(to_client.shutdown(Shutdown::Both))
        });
        std::io::copy(&mut reader, &mut &server)?;
        server.shutdown(Shutdown::Write)
    };
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(client));
        }
    });
    address
}

#[test]
fn proxies_of_the_environment() {
    let front = FaultProxy::start(SHARED.registry.address, |_| Fault::Pass).unwrap();
    let (seen, lines) = channel();
    let proxy = connect_proxy(front.address, seen);
    let mut bench = Bench::new(insecure("registry.invalid:5000"));
    bench.environment = Environment::from_iter([("ALL_PROXY", format!("http://{proxy}"))]);
    complete(&bench.pull("registry.invalid:5000/team/app:1").unwrap(), &SHARED.image);
    assert_eq!(lines.recv().unwrap(), "CONNECT registry.invalid:5000 HTTP/1.1");
    bench.environment =
        Environment::from_iter([("ALL_PROXY", format!("http://{proxy}")), ("NO_PROXY", "invalid".into())]);
    let error = bench.pull("registry.invalid:5000/team/app:1").unwrap_err().to_string();
    assert!(error.contains("registry.invalid:5000: "), "{error}");
}

/// A pull in a process of its own, with the lines that it prints.
fn spawn(bench: &Bench, image: &str) -> (Child, Receiver<String>) {
    let conf = bench.dir.path().join("registries.conf");
    fs::write(&conf, &bench.conf).unwrap();
    let mut program =
        Program::new(env!("CARGO_BIN_EXE_pull")).clean_env().arg(bench.cache_dir()).arg(conf).arg(image);
    program.command().stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = program.start().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = channel();
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|l| sender.send(l)));
    (child, lines)
}

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn killed_at_any_point() {
    let len = SHARED.image.layers[0].blob.len() as u64;
    let asks = |what: &'static str| move |r: &Request| r.path.contains(what);
    type Wanted = Box<dyn Fn(&Request) -> bool + Send + Sync>;
    let points: Vec<(&str, Wanted, u64)> = vec![
        ("manifest", Box::new(asks("/manifests/")), 100),
        ("config", Box::new(|r| r.is_blob() && r.path.ends_with(&digest(&SHARED.image.config))), 10),
        ("layer, first byte", Box::new(big), 1),
        ("layer, half", Box::new(big), len / 2),
        ("layer, all but one byte", Box::new(big), len - 1),
        ("layer, all", Box::new(big), len),
    ];
    for (name, wanted, at) in points {
        let (reached, wait) = channel();
        let (_proxy, bench, image) = proxied(move |r| match wanted(r) {
            true if r.nth == 0 => Fault::HoldAfter(at, reached.clone()),
            _ => Fault::Pass,
        });
        let (mut child, _lines) = spawn(&bench, &image);
        wait.recv_timeout(PATIENCE).expect(name);
        child.kill().unwrap();
        child.wait().unwrap();
        complete(&bench.pull(&image).unwrap(), &SHARED.image);
        bench.check_cache(&SHARED.image);
        let all = store::cache::Prune { all: true, ..Default::default() };
        bench.context().cache.prune(&all).unwrap();
        assert!(bench.context().cache.list().unwrap().is_empty(), "{name}");
    }
}

#[test]
fn two_at_once_fetch_once() {
    let (reached, wait) = channel();
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    // The first request for the layer is held until the second process waits for the first.
    let (proxy, bench, image) = proxied(move |r| {
        if big(r) && r.nth == 0 {
            reached.send(()).unwrap();
            released.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        Fault::Pass
    });
    let (mut first, first_lines) = spawn(&bench, &image);
    wait.recv_timeout(PATIENCE).unwrap();
    let (mut second, lines) = spawn(&bench, &image);
    while !lines.recv_timeout(PATIENCE).unwrap().contains("waiting for it") {}
    release.send(()).unwrap();
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    let last = |lines: Receiver<String>| lines.into_iter().last().unwrap();
    let expected = format!("{} 3", SHARED.image.digest());
    assert_eq!((last(first_lines), last(lines)), (expected.clone(), expected));
    assert_eq!(proxy.count(&SHARED.image.layer_digest(0)), 1);
    bench.check_cache(&SHARED.image);
}

#[test]
fn a_full_disk_is_told_and_left_usable() {
    let small = Image::noise(&[1000]).unwrap();
    SHARED.registry.push("team/small", "1", &small).unwrap();
    let bench = Bench::new(insecure(SHARED.registry.address));
    let conf = bench.dir.path().join("registries.conf");
    fs::write(&conf, &bench.conf).unwrap();
    let image = |name: &str| format!("{}/team/{name}:1", SHARED.registry.address);
    // In a mount namespace of its own, so that nothing has to be unmounted.
    let script = r#"
        mount -t tmpfs -o size=2m tmpfs "$2" || exit 99
        "$1" "$2/cache" "$3" "$4" && exit 98
        echo "left: $(du -sk "$2" | cut -f1)" >&2
        "$1" "$2/cache" "$3" "$5"
    "#;
    let mount = bench.dir.path().join("disk");
    fs::create_dir(&mount).unwrap();
    let outcome = Program::new("unshare")
        .args(["-rm", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_pull")])
        .arg(&mount)
        .arg(&conf)
        .args([image("app"), image("small")])
        .run()
        .unwrap();
    assert!(
        outcome.stderr.contains("No space left on device")
            && (outcome.stderr.contains("cache/tmp") || outcome.stderr.contains("cache/partial")),
        "{outcome:?}"
    );
    assert!(outcome.stdout.ends_with(&format!("{} 1\n", small.digest())), "{outcome:?}");
    let left = outcome.stderr.split("left: ").nth(1).unwrap().trim().parse::<u64>().unwrap();
    assert!(left < 1100, "{left} KiB stayed behind");
}
