//! Databases of package managers.

use packages::Database;
use tree::{Meta, Node, Tree};

use crate::seeds;

/// Reads the database that has this file.
fn read(files: &[&str], data: &[u8]) {
    let mut tree = Tree::default();
    for file in files {
        let Ok(path) = file.parse() else { return };
        if tree.insert_all(path, Node::file(0o644, data.to_vec()), &Meta::dir()).is_err() {
            return;
        }
    }
    if let Ok(Some(database)) = Database::read(&tree) {
        let names: Vec<&str> = database.packages().map(|p| p.name.as_str()).take(8).collect();
        let _ = database.closure(&names);
    }
}

pub(crate) fn dpkg(data: &[u8]) {
    let all = ["status", "info/a.list", "info/a.md5sums", "diversions", "alternatives/a"];
    let all = all.map(|name| format!("/var/lib/dpkg/{name}"));
    read(&all.each_ref().map(String::as_str), data);
}

pub(crate) fn apk(data: &[u8]) {
    read(&["/lib/apk/db/installed"], data);
}

pub(crate) fn pacman(data: &[u8]) {
    read(&["/var/lib/pacman/local/a-1/desc", "/var/lib/pacman/local/a-1/files"], data);
}

pub(crate) fn rpm_sqlite(data: &[u8]) {
    read(&["/usr/lib/sysimage/rpm/rpmdb.sqlite"], data);
}

pub(crate) fn rpm_ndb(data: &[u8]) {
    read(&["/usr/lib/sysimage/rpm/Packages.db"], data);
}

pub(crate) fn texts() -> Vec<Vec<u8>> {
    seeds(&[
        "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\nDepends: b (>= 1) | c, d\nProvides: e\n\n",
        "/.\n/usr\n/usr/bin\n/usr/bin/a\n",
        "C:Q1abc=\nP:a\nV:1-r0\nA:x86_64\nD:b so:libc.musl-x86_64.so.1\np:cmd:a=1\nF:usr/bin\nR:a\nZ:Q1x=\n\n",
        "%NAME%\na\n\n%VERSION%\n1-1\n\n%ARCH%\nx86_64\n\n%DEPENDS%\nb\n\n%FILES%\nusr/\nusr/bin/a\n",
        "auto\n/usr/bin/a\n\n/usr/bin/b\n50\n",
    ])
}

/// The headers of both forms, with a page of nothing behind them.
pub(crate) fn databases() -> Vec<Vec<u8>> {
    let mut sqlite = b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20".to_vec();
    sqlite.resize(100, 0);
    // A leaf of the table of tables, sqlite.org/fileformat2.html.
    sqlite.extend_from_slice(&[13, 0, 0, 0, 0, 0x10, 0, 0]);
    sqlite.resize(8192, 0);
    let mut ndb = b"RpmP\0\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    ndb.extend_from_slice(b"Slot\x01\0\0\0\x02\0\0\0\x01\0\0\0");
    ndb.resize(4096, 0);
    vec![sqlite, ndb]
}
