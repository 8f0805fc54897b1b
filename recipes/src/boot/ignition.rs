//! A Flatcar machine's first configuration: <https://coreos.github.io/ignition/configuration-v3_3/>.

use sysext::Arch;

use super::guest;

/// Ignition's JSON that runs a command and switches the machine off; the console is the serial one anyway.
pub fn command(command: &str, arch: Arch) -> String {
    let unit = guest::unit(guest::console(arch), true);
    let unit = format!("{unit}\n[Install]\nWantedBy=multi-user.target\n");
    let config = serde_json::json!({
        "ignition": { "version": "3.3.0" },
        "storage": {
            "files": [{
                "path": "/etc/bakery-command",
                "mode": 0o644,
                "contents": { "source": format!("data:,{}", percent(command)) },
            }],
        },
        "systemd": {
            "units": [{ "name": "bakery-boot.service", "enabled": true, "contents": unit }],
        },
    });
    config.to_string()
}

/// Text in a data URL, RFC 2397.
fn percent(text: &str) -> String {
    let mut out = String::new();
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
