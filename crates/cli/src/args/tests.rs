use std::path::PathBuf;

use clap::Parser;
use image::{Codec, Compression};
use sysext::ExtensionName;
use tree::{Arch, Silent};

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    release: ReleaseArgs,
}

fn parse(args: &[&str]) -> Result<Command, clap::Error> {
    Command::try_parse_from([&["x"], args].concat())
}

#[test]
fn images_have_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().to_str().unwrap();
    let name: ExtensionName = "b3sum".parse().unwrap();
    let inside = |file: &str| format!("{here}/{file}");
    let table = [
        (vec![], "b3sum.raw".to_owned()),
        (vec!["--format=tar"], "b3sum.tar".to_owned()),
        (vec!["--format=dir"], "b3sum".to_owned()),
        (vec!["-o", "x.img"], "x.img".to_owned()),
        (vec!["-o", here], inside("b3sum.raw")),
        (vec!["-o", here, "--format=dir"], here.to_owned()),
        (vec!["-o", "new/", "--format=erofs"], "new/b3sum.raw".to_owned()),
    ];
    for (args, place) in table {
        assert_eq!(parse(&args).unwrap().output.path(&name), PathBuf::from(place), "{args:?}");
    }
}

#[test]
fn values_are_checked_as_they_are_typed() {
    let table = [
        ("--format=iso", "format \"iso\" is unknown"),
        ("--compression=lz5", "compression \"lz5\" is unknown"),
        ("--compression=lz4:13", "lz4 level is 13, expected 1 to 12"),
        ("--block-size=3K", "expected a power of two from 4K to 1M"),
        ("--block-size=2M", "expected a power of two from 4K to 1M"),
        ("--block-size=+128K", "expected a power of two from 4K to 1M"),
        ("--block-size=4194304K", "expected a power of two from 4K to 1M"),
        ("--block-size=K", "expected a power of two from 4K to 1M"),
        ("--compression=zstd:23", "zstd level is 23, expected 1 to 22"),
        ("--compression=xz:x", "level \"x\""),
        ("--allow=nope", "expected one of outside-usr, etc"),
        ("--allow=usr-not-directory", "usr has to be a real directory"),
        ("--reload=perhaps", "expected true or false"),
    ];
    for (arg, message) in table {
        let error = parse(&[arg]).unwrap_err().to_string();
        assert!(error.contains(message), "{arg}: {error}");
    }
    let output = parse(&["--compression=gzip:1", "--allow=etc", "--epoch=-1"]).unwrap().output;
    assert_eq!(
        output.image_options(None, &Silent).unwrap().compression,
        Compression { codec: Some(Codec::Gzip), level: Some(1) }
    );
    assert!(output.extension_options().allow.contains("etc"));
    assert_eq!(output.extension_options().epoch, -1);
}

#[test]
fn block_sizes_have_units() {
    let size = |args: &[&str]| parse(args).unwrap().output.image_options(None, &Silent).unwrap().block_size;
    assert_eq!(size(&[]), None);
    for (text, bytes) in
        [("4K", 4096), ("4096", 4096), ("64k", 65536), ("1M", 1 << 20), ("1m", 1 << 20), ("1024K", 1 << 20)]
    {
        assert_eq!(size(&["--block-size", text]), Some(bytes), "{text}");
    }
}

#[test]
fn release_files_from_arguments() {
    let text =
        |args: &[&str], units| parse(args).unwrap().release.release(Some(Arch::Arm64), units).unwrap().text();
    assert_eq!(text(&[], false), "ID=_any\nARCHITECTURE=arm64\n");
    assert_eq!(text(&[], true), "ID=_any\nARCHITECTURE=arm64\nEXTENSION_RELOAD_MANAGER=1\n");
    assert_eq!(text(&["--no-reload"], true), "ID=_any\nARCHITECTURE=arm64\n");
    assert_eq!(text(&["--reload=no"], true), "ID=_any\nARCHITECTURE=arm64\n");
    assert_eq!(text(&["--reload"], false), "ID=_any\nARCHITECTURE=arm64\nEXTENSION_RELOAD_MANAGER=1\n");
    assert_eq!(text(&["--os=flatcar"], false), "ID=flatcar\nSYSEXT_LEVEL=1.0\nARCHITECTURE=arm64\n");
    assert_eq!(
        text(&["--os=flatcar", "--os-version=4000.0.0", "--scope=system"], false),
        "ID=flatcar\nVERSION_ID=4000.0.0\nSYSEXT_SCOPE=\"system\"\nARCHITECTURE=arm64\n"
    );
    let error = parse(&["--os=Flatcar Linux"]).unwrap().release.release(None, false).unwrap_err().to_string();
    assert!(error.starts_with("ID=\"Flatcar Linux\" is invalid"), "{error}");
}
