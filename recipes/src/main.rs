//! The `bakery` command.

fn main() {
    oci::sandbox::init();
}
