use std::io::Write as _;
use std::process::Command;

use super::*;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn temporary_names_are_known_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = OutputFile::create(dir.path().join("a.raw")).unwrap();
    let long = OutputFile::create(dir.path().join("x".repeat(255))).unwrap();
    let folder = OutputDir::create(dir.path().join("b"), |_| false).unwrap();
    for path in [file.path().unwrap(), long.path().unwrap(), folder.path()] {
        assert!(is_temporary(path.file_name().unwrap()), "{path:?}");
    }
    for name in [
        "a.raw",
        ".htaccess",
        ".htaccess.tmp",
        ".a.tmp",
        "a.raw.AbC123.flix.tmp",
        ".a.AbC12.flix.tmp",
        "..AbC123.flix.tmp",
        "",
    ] {
        assert!(!is_temporary(OsStr::new(name)), "{name}");
    }
}

#[test]
fn a_file_is_there_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("a.raw");
    std::fs::write(&place, "old").unwrap();
    let output = OutputFile::create(&place).unwrap();
    output.file().write_all(b"new").unwrap();
    assert_eq!(std::fs::read(&place).unwrap(), b"old");
    // Nothing is there that could stay, until a tool asks for it.
    assert_eq!(names(dir.path()), ["a.raw"]);
    assert_eq!(std::fs::read(output.path().unwrap()).unwrap(), b"new");
    assert_eq!(names(dir.path()).len(), 2);
    drop(output);
    assert_eq!(names(dir.path()), ["a.raw"]);
    let output = OutputFile::create(&place).unwrap();
    output.file().write_all(b"new").unwrap();
    output.commit().unwrap();
    assert_eq!(std::fs::read(&place).unwrap(), b"new");
    assert_eq!(names(dir.path()), ["a.raw"]);
    std::fs::remove_file(&place).unwrap();
    for named in [false, true] {
        let output = OutputFile::create(dir.path().join("b.raw")).unwrap();
        output.file().write_all(b"b").unwrap();
        let path = named.then(|| output.path().unwrap().to_owned());
        output.commit().unwrap();
        assert_eq!(names(dir.path()), ["b.raw"], "{path:?}");
    }
}

#[test]
fn a_new_file_has_the_mode_of_any_new_file() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let output = OutputFile::create(dir.path().join("ours")).unwrap();
    output.commit().unwrap();
    std::fs::write(dir.path().join("theirs"), "").unwrap();
    let mode = |name| dir.path().join(name).metadata().unwrap().mode();
    assert_eq!(mode("ours"), mode("theirs"));
}

#[test]
fn refuses_places_that_are_no_file() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(OutputFile::create(dir.path()), Err(OutputError::IsDirectory { .. })));
    assert!(matches!(OutputFile::create(dir.path().join("..")), Err(OutputError::NoFileName { .. })));
    assert!(matches!(OutputFile::create("x/"), Err(OutputError::NoFileName { .. })));
    let missing = dir.path().join("missing/a.raw");
    let error = OutputFile::create(&missing).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{missing:?}: ")), "{error}");
}

#[test]
fn a_directory_replaces_only_what_may_go() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("ext");
    let make = |text: &str| {
        let output = OutputDir::create(&place, |p| p.join("mark").exists())?;
        std::fs::write(output.path().join("mark"), text).unwrap();
        output.commit()
    };
    make("one").unwrap();
    make("two").unwrap();
    assert_eq!(std::fs::read_to_string(place.join("mark")).unwrap(), "two");
    assert_eq!(names(dir.path()), ["ext"]);

    std::fs::remove_file(place.join("mark")).unwrap();
    make("into an empty one").unwrap();
    std::fs::rename(place.join("mark"), place.join("precious")).unwrap();
    assert!(matches!(make("three"), Err(OutputError::Occupied { .. })));
    assert_eq!(names(&place), ["precious"]);
    assert_eq!(names(dir.path()), ["ext"]);
}

#[test]
fn special_files_stay_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    std::os::unix::fs::symlink("/proc/self/fd/1", place("stdout")).unwrap();
    std::os::unix::fs::symlink("/dev/null", place("null")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(place("socket")).unwrap());
    for name in ["stdout", "null", "socket"] {
        let error = OutputFile::create(place(name)).unwrap_err().to_string();
        assert!(error.ends_with(": is no regular file, expected one or nothing there"), "{error}");
    }
    std::os::unix::fs::symlink("nothing", place("dangling")).unwrap();
    OutputFile::create(place("dangling")).unwrap().commit().unwrap();
    assert!(place("dangling").symlink_metadata().unwrap().is_file());
    assert_eq!(names(dir.path()), ["dangling", "null", "socket", "stdout"]);
}

#[test]
fn an_uncommitted_directory_goes() {
    let dir = tempfile::tempdir().unwrap();
    let output = OutputDir::create(dir.path().join("ext"), |_| false).unwrap();
    std::fs::write(output.path().join("x"), "").unwrap();
    drop(output);
    assert!(names(dir.path()).is_empty());
}

/// Not a test by itself: the process that [`signals_remove_outputs`] starts and kills.
#[test]
fn helper_that_waits_for_a_signal() {
    let Some(dir) = std::env::var_os("SYSEXT_TEST_INTERRUPT_DIR") else { return };
    remove_on_interrupt().unwrap();
    let file = OutputFile::create(Path::new(&dir).join("a.raw")).unwrap();
    file.path().unwrap();
    let output = OutputDir::create(Path::new(&dir).join("b"), |_| false).unwrap();
    std::fs::write(output.path().join("x"), "").unwrap();
    std::fs::write(Path::new(&dir).join("ready"), "").unwrap();
    // Ends by the signal; the bound is for a run in which it never comes.
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn signals_remove_outputs() {
    use std::os::unix::process::ExitStatusExt as _;
    for signal in ["INT", "TERM", "HUP"] {
        let dir = tempfile::tempdir().unwrap();
        // Under nohup(1) SIGHUP is ignored, and rightly stays so; here it must not be.
        let mut child = Command::new("env")
            .arg("--default-signal=INT,TERM,HUP")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "output::tests::helper_that_waits_for_a_signal"])
            .env("SYSEXT_TEST_INTERRUPT_DIR", dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while !dir.path().join("ready").exists() {
            assert!(child.try_wait().unwrap().is_none(), "helper ended early");
            std::thread::yield_now();
        }
        assert_eq!(names(dir.path()).len(), 3);
        assert!(
            Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success()
        );
        let status = child.wait().unwrap();
        assert!(status.signal().is_some(), "SIG{signal}: {status}");
        assert_eq!(names(dir.path()), ["ready"], "SIG{signal}");
    }
}

#[test]
fn what_killed_runs_have_left_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("a.raw");
    let busy = OutputFile::create(&place).unwrap();
    let busy_path = busy.path().unwrap().to_owned();
    std::fs::write(dir.path().join(".a.raw.AbC123.flix.tmp"), "left").unwrap();
    std::fs::create_dir_all(dir.path().join(".work.AbC123.flix.tmp/some/where")).unwrap();
    for kept in [
        ".a.raw.backup.tmp",
        ".a.raw.AbC12.flix.tmp",
        ".b.raw.AbC123.flix.tmp",
        ".a.raw.AbC123",
        ".other.AbC123.flix.tmp",
    ] {
        std::fs::write(dir.path().join(kept), "").unwrap();
    }
    let other = OutputFile::create(&place).unwrap();
    let work = TemporaryDir::new(dir.path(), "work").unwrap();
    let another = TemporaryDir::new(dir.path(), "work").unwrap();
    for path in [busy_path.as_path(), other.path().unwrap(), work.path(), another.path()] {
        assert!(path.exists(), "{path:?} is in use");
    }
    drop((busy, other, work, another));
    let left = [
        ".a.raw.AbC12.flix.tmp",
        ".a.raw.AbC123",
        ".a.raw.backup.tmp",
        ".b.raw.AbC123.flix.tmp",
        ".other.AbC123.flix.tmp",
    ];
    assert_eq!(names(dir.path()), left);
}
