//! Replaces a file so that a power cut leaves either the old or the new one, and keeps the last twenty old ones.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::platform::{flush_folder, folders, set_file_mode, with_mode};

/// Old files that are kept.
pub(super) const BACKUPS_MAX: usize = 20;

/// A lock that other processes respect. Dropped, it is open again.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until no other process changes the file at `path`.
    pub(super) fn take(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = with_mode(&mut options, 0o600).open(beside(path, ".lock"))?;
        file.lock()?;
        Ok(Self { _file: file })
    }
}

/// Writes `text` to `path`: temporary file, flush, rename, flush of the folder.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays a link: what it points to is replaced, as an editor would.
    let target = fs::canonicalize(path).unwrap_or_else(|_missing| path.to_owned());
    let temporary = beside(&target, ".new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut file = with_mode(&mut options, 0o600).open(&temporary)?;
    set_file_mode(&file, 0o600)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, &target)?;
    flush_folder_of(&target)
}

/// Keeps `text`, the file as it was, in `folder`; the oldest beyond [`BACKUPS_MAX`] go.
pub(super) fn back_up(folder: &Path, text: &str, stamp: &str) -> io::Result<()> {
    folders(0o700).recursive(true).create(folder)?;
    let mut kept = backups(folder)?;
    let next = kept
        .last()
        .and_then(|path| number(path))
        .map_or(1, |last| last.saturating_add(1));
    let path = folder.join(format!("{next:06}-{stamp}.toml"));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let mut file = with_mode(&mut options, 0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    kept.push(path);
    let surplus = kept.len().saturating_sub(BACKUPS_MAX);
    for old in kept.iter().take(surplus) {
        fs::remove_file(old)?;
    }
    Ok(())
}

/// Backups, oldest first.
pub(super) fn backups(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if number(&path).is_some() {
            found.push(path);
        }
    }
    found.sort_by_key(|path| number(path));
    Ok(found)
}

fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".toml")?;
    name.split_once('-')?.0.parse().ok()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

fn flush_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => flush_folder(folder),
        _ => Ok(()),
    }
}
