//! Packs what this crate carries: the description of the methods, and the A2UI renderer.
//!
//! The renderer is built from the npm registry where there is Node. Without Node, or without a network, the crate is built all
//! the same; its page then says how to get the renderer.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The package, from this crate.
const PACKAGE: &str = "../../web/packages/a2ui";
/// What the build of the package reads.
const INPUTS: [&str; 5] = [
    "package.json",
    "package-lock.json",
    "build.mjs",
    "src/v08.js",
    "src/v09.js",
];

/// The methods, from this crate; ten times smaller when packed.
const OPENRPC: &str = "../../schema/openrpc.json";

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    pack(&here.join(OPENRPC), &out.join("openrpc.json.gz"))?;
    let package = here.join(PACKAGE);
    for input in INPUTS {
        println!("cargo::rerun-if-changed={}", package.join(input).display());
    }
    println!("cargo::rerun-if-env-changed=ADJUTANT_NO_NPM");
    let parts = match build(&package, &out.join("a2ui")) {
        Ok(parts) => parts,
        Err(reason) => {
            println!("cargo::warning=built without the A2UI renderer: {reason}");
            Vec::new()
        }
    };
    let mut text = String::from(
        "/// Parts of the renderer, packed with gzip.\nconst PARTS: &[(&str, &[u8])] = &[\n",
    );
    for part in parts {
        let name = part.file_stem().unwrap_or_default().to_string_lossy();
        writeln!(
            text,
            "    ({name:?}, include_bytes!({:?})),",
            part.display().to_string()
        )?;
    }
    text.push_str("];\n");
    fs::write(out.join("renderer.rs"), text)?;
    Ok(())
}

fn pack(file: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", file.display());
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&fs::read(file)?)?;
    fs::write(to, packed.finish()?)?;
    Ok(())
}

/// Builds in a folder of its own, so that the source tree stays as it is.
fn build(package: &Path, place: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    if env::var_os("ADJUTANT_NO_NPM").is_some() {
        return Err("ADJUTANT_NO_NPM is set".into());
    }
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    fs::create_dir_all(place.join("src"))?;
    for input in INPUTS {
        fs::copy(package.join(input), place.join(input))?;
    }
    // Scripts of packages are not run: nothing here needs one.
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    run(
        Command::new(npm).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]),
        place,
    )?;
    run(Command::new("node").arg("build.mjs"), place)?;
    fs::remove_dir_all(place.join("node_modules"))?;
    let mut parts = Vec::new();
    for entry in fs::read_dir(place.join("dist"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "gz") {
            parts.push(path);
        }
    }
    parts.sort();
    Ok(parts)
}

fn run(command: &mut Command, place: &Path) -> Result<(), Box<dyn Error>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command
        .current_dir(place)
        .output()
        .map_err(|error| format!("`{name}` cannot be started: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last = said
        .lines()
        .rev()
        .find(|it| !it.trim().is_empty())
        .unwrap_or_default();
    Err(format!("`{name}` failed: {last}").into())
}
