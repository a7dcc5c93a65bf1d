//! The state directory: whose it is, where it lies, what guards it, what a dead process left in it.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use adjutant_cli::Severity;
use adjutant_vault::{Token, TokenError};

use super::{Findings, HAS_MODES, Mend, NO_MODES, Subject, any_of, rights};
use crate::daemon::{Life, PidFile, life, sweep};
use crate::platform;
use crate::setup::TOKEN_FILE;

/// Whether there is a state directory to look further into.
pub(super) fn look(subject: &Subject, found: &mut Findings) -> bool {
    let home = &subject.place.home;
    if !state_dir(home, found) {
        return false;
    }
    private(found, "state.private_files", &private_files(subject));
    rights::disk(home, found);
    token(subject, found);
    leftovers(subject, found);
    true
}

/// Whether there is a state directory to look into.
fn state_dir(home: &Path, found: &mut Findings) -> bool {
    let here = home.display();
    let metadata = match fs::metadata(home) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            found.error(
                "state.directory",
                format!("{here} is not a directory"),
                "move the file away, then `adjutant setup`",
            );
            return false;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let make = Mend::new(format!("mkdir -m 700 {here}"), || {
                platform::folders(0o700).recursive(true).create(home)
            });
            found.fixable(
                "state.directory",
                Severity::Error,
                format!("{here} does not exist"),
                make,
            );
            return home.is_dir();
        }
        Err(error) => {
            found.error(
                "state.directory",
                format!("{here}: {error}"),
                "check the permissions of the folders above",
            );
            return false;
        }
    };
    found.ok("state.directory", format!("{here}"));
    rights::owner(home, &metadata, found);
    mode(found, "state.permissions", home, &metadata, 0o700);
    match fs::read_dir(home) {
        Ok(_) => found.ok("state.readable", "its files can be listed"),
        Err(error) => found.error(
            "state.readable",
            format!("its files cannot be listed: {error}"),
            format!("chmod 700 {here}"),
        ),
    }
    true
}

/// Others may have no right beyond `allowed`.
pub(super) fn mode(found: &mut Findings, id: &str, path: &Path, metadata: &Metadata, allowed: u32) {
    let Some(mode) = platform::mode(metadata).map(|it| it & 0o777) else {
        return found.skipped(id, NO_MODES);
    };
    if mode & !allowed == 0 {
        found.ok(id, format!("only its owner has access (mode {mode:o})"));
    } else {
        let how = format!("chmod {allowed:o} {}", path.display());
        let mend = Mend::new(how, || platform::set_mode(path, allowed));
        found.fixable(
            id,
            Severity::Error,
            format!("{} can be used by others (mode {mode:o})", path.display()),
            mend,
        );
    }
}

/// Files with something in them that others must not read; those that exist.
fn private_files(subject: &Subject) -> Vec<PathBuf> {
    let home = &subject.place.home;
    let names = [
        adjutant_store::FILE_NAME,
        "adjutant.db-wal",
        "adjutant.db-shm",
        "lock",
        "environment",
        "tls/self-signed.key",
        "tls/acme.key",
    ];
    let mut all: Vec<PathBuf> = names.iter().map(|name| home.join(name)).collect();
    all.push(PidFile::path(home));
    all.retain(|path| path.exists());
    all
}

fn private(found: &mut Findings, id: &str, paths: &[PathBuf]) {
    if !HAS_MODES {
        return found.skipped(id, NO_MODES);
    }
    let is_open = |path: &&PathBuf| fs::metadata(path).is_ok_and(|it| any_of(&it, 0o077));
    let open: Vec<&PathBuf> = paths.iter().filter(is_open).collect();
    if open.is_empty() {
        return found.ok(
            id,
            format!("{} files, all readable by the owner only", paths.len()),
        );
    }
    let names: Vec<String> = open.iter().map(|it| it.display().to_string()).collect();
    let mend = Mend::new(format!("chmod 600 {}", names.join(" ")), || {
        open.iter()
            .try_for_each(|path| platform::set_mode(path, 0o600))
    });
    found.fixable(
        id,
        Severity::Error,
        format!("others can read {}", names.join(", ")),
        mend,
    );
}

fn token(subject: &Subject, found: &mut Findings) {
    let path = subject.place.home.join(TOKEN_FILE);
    if let Some(text) = subject
        .env
        .get("ADJUTANT_GATEWAY_TOKEN")
        .filter(|it| !it.is_empty())
    {
        match Token::parse(text) {
            Ok(_) => found.ok(
                "token.strength",
                "the one in `ADJUTANT_GATEWAY_TOKEN` is strong",
            ),
            Err(error) => found.error(
                "token.strength",
                error.to_string(),
                "unset ADJUTANT_GATEWAY_TOKEN",
            ),
        }
    }
    match fs::metadata(&path) {
        Err(_) if subject.env.contains_key("ADJUTANT_GATEWAY_TOKEN") => {
            found.skipped("token.file", "the variable is used instead");
        }
        Err(error) => found.error(
            "token.file",
            format!("{}: {error}", path.display()),
            "adjutant setup",
        ),
        Ok(metadata) => {
            found.ok("token.file", path.display().to_string());
            mode(found, "token.permissions", &path, &metadata, 0o600);
            match Token::load(&path) {
                Ok(_) => found.ok("token.content", "long and random enough"),
                Err(TokenError::Exposed { .. }) => {
                    found.skipped("token.content", "not looked at while others can read it");
                }
                Err(error) => {
                    found.error(
                        "token.content",
                        error.to_string(),
                        format!("rm {} && adjutant setup", path.display()),
                    );
                }
            }
        }
    }
}

/// What a process that died may have left.
fn leftovers(subject: &Subject, found: &mut Findings) {
    let place = &subject.place;
    match life(&place.home) {
        Life::Up { pid, .. } => {
            let who = pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
            found.ok("lock.owner", format!("{who} holds the state directory"));
            rights::socket(&place.socket, found);
        }
        Life::Down => {
            found.ok("lock.owner", "nobody holds the state directory");
            stale_socket(&place.socket, found);
        }
        Life::Stale { said } => {
            let mend = Mend::new(
                format!("rm {}", PidFile::path(&place.home).display()),
                || {
                    sweep(place, &said);
                    Ok(())
                },
            );
            let message = format!("process {} is gone, but its files are there", said.pid);
            found.fixable("lock.owner", Severity::Warning, message, mend);
            stale_socket(&place.socket, found);
        }
    }
}

fn stale_socket(socket: &Path, found: &mut Findings) {
    if socket.exists() {
        let mend = Mend::new(format!("rm {}", socket.display()), || {
            fs::remove_file(socket)
        });
        found.fixable(
            "socket.stale",
            Severity::Warning,
            format!("{} leads nowhere", socket.display()),
            mend,
        );
    } else {
        found.ok("socket.stale", "no socket of a dead process");
    }
}
