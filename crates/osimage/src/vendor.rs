//! Images for clouds and hypervisors, which the Flatcar SDK's container makes of the disk image.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use tree::process::is_in_path;

use super::flatcar::Release;

/// The formats that the SDK knows.
pub const VENDORS: &[&str] = &[
    "akamai",
    "ami",
    "ami_vmdk",
    "azure",
    "cloudsigma",
    "cloudstack",
    "cloudstack_vhd",
    "digitalocean",
    "exoscale",
    "gce",
    "hetzner",
    "hyperv",
    "hyperv_vhdx",
    "iso",
    "kubevirt",
    "openstack",
    "openstack_mini",
    "packet",
    "parallels",
    "pxe",
    "qemu_uefi",
    "rackspace",
    "rackspace_onmetal",
    "rackspace_vhd",
    "scaleway",
    "vagrant",
    "vagrant_parallels",
    "vagrant_virtualbox",
    "vagrant_vmware_fusion",
    "virtualbox",
    "vmware",
    "vmware_insecure",
    "vmware_ova",
    "vmware_raw",
    "xen",
];

/// Where the SDK's scripts are.
pub const SCRIPTS: &str = "https://github.com/flatcar/scripts.git";

/// Files that the SDK needs besides the disk image, each with its own signature.
pub const FILES: &[&str] = &["version.txt", "flatcar_production_image_sysext.squashfs"];

/// Why there is no vendor image.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum VendorError {
    /// A program is missing.
    #[error("{0}: program is missing, which the Flatcar SDK needs to make a vendor's image")]
    NoTool(&'static str),
    #[error("{command}: {status}")]
    Failed { command: String, status: ExitStatus },
    /// A program could not be run.
    #[error("{command}: {source}")]
    Run { command: String, source: io::Error },
}

/// Whether what is needed is there: to be asked before anything long begins.
///
/// # Errors
/// [`VendorError::NoTool`].
pub fn check() -> Result<(), VendorError> {
    match ["git", "docker"].into_iter().find(|tool| !is_in_path(tool)) {
        Some(missing) => Err(VendorError::NoTool(missing)),
        None => Ok(()),
    }
}

/// Gets the SDK's scripts of a release into a new directory.
///
/// # Errors
/// git's.
pub fn clone(scripts: &str, release: &Release, dir: &Path) -> Result<(), VendorError> {
    let mut git = Command::new("git");
    git.args(["clone", "--quiet", "--depth=1", "--branch", &release.tag(), "--", scripts]).arg(dir);
    run(&mut git)
}

/// Has the SDK make a vendor's image of `flatcar_production_image.bin` in its directory. Its container is removed
/// afterwards, whatever came out.
///
/// # Errors
/// The SDK's.
pub fn convert(dir: &Path, release: &Release, vendor: &str) -> Result<(), VendorError> {
    let container = format!("flatcar-bake-{}", std::process::id());
    let interrupted = container.clone();
    let cleanup = tree::output::on_interrupt(move || {
        let _ = remove(&interrupted);
    });
    let done = run(Command::new(dir.join("run_sdk_container"))
        .current_dir(dir)
        .env("COREOS_OFFICIAL", "1")
        .args(["-n", &container, "./image_to_vm.sh", "--from=./", "--to=./"])
        .args([format!("--board={}", release.board), "--getbinpkg".into(), format!("--format={vendor}")]));
    drop(cleanup);
    // There may be none: then docker's complaint says nothing new.
    let _ = remove(&container);
    done
}

fn remove(container: &str) -> io::Result<Output> {
    Command::new("docker").args(["container", "rm", "--force", container]).output()
}

/// The images in the SDK's directory that weren't there before it ran.
///
/// # Errors
/// Reading the directory.
pub fn results(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let given: Vec<OsString> =
        FILES.iter().chain(&["flatcar_production_image.bin"]).map(OsString::from).collect();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.to_string_lossy().starts_with("flatcar_production_") && !given.contains(&name);
        if ours && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn run(command: &mut Command) -> Result<(), VendorError> {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let shown = words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(VendorError::Failed { command: shown, status }),
        Err(source) => Err(VendorError::Run { command: shown, source }),
    }
}
