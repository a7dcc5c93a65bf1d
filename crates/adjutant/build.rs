//! Packs the relocations of the program where its loader can unpack them: a megabyte less.
//!
//! A packed program starts with the GNU C library from 2.36 on, and older ones refuse it. So it is packed when it is built on a
//! machine that has such a library, for this machine. `ADJUTANT_NO_RELR=1` leaves it as it is, for machines with older ones.

use std::env;
use std::process::Command;

const GLIBC_MIN: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ADJUTANT_NO_RELR");
    if is_for_here() && glibc().is_some_and(|it| GLIBC_MIN <= it) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether it is a release for this kind of machine, linked by what links here. Who names a linker may build for others.
fn is_for_here() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|it| it == value);
    is("PROFILE", "release")
        && env::var_os("HOST") == env::var_os("TARGET")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && env::var_os("RUSTC_LINKER").is_none()
        && env::var_os("ADJUTANT_NO_RELR").is_none()
}

/// The version of the C library here.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf")
        .arg("GNU_LIBC_VERSION")
        .output()
        .ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
