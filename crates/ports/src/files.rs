//! The door to files: a path that a model wrote goes in, an act beneath a granted root happens (S39, D24).
//!
//! All methods block; callers on an async runtime move them to a thread that is made for it.
//! A relative path is meant from the workspace; an absolute one is accepted when it lies beneath the workspace or
//! beneath one of the other allowed directories. What a path means is decided by descriptor at the moment of the act:
//! there is no check that a later act could outrun.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Which part of the disk one agent may touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileScope {
    /// Where relative paths start. Reading and writing.
    pub workspace: PathBuf,
    /// Further directories, reading and writing.
    pub allowed_dirs: Vec<PathBuf>,
    /// Paths that are never touched, even when they lie beneath an allowed directory (the state directory).
    pub denied: Vec<PathBuf>,
}

/// What a write may do to a file that is (or is not) there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// The file must not exist.
    CreateNew,
    /// The file must exist.
    Replace,
    /// Either.
    CreateOrReplace,
}

/// Whether a write made a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteEffect {
    /// There was no file of this name.
    Created,
    /// The content of an existing file was replaced.
    Replaced,
}

/// The bytes of a regular file, from its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// At most as many bytes as were asked for.
    pub bytes: Bytes,
    /// Size of the whole file in bytes.
    pub total_bytes: u64,
}

impl FileContent {
    /// Whether the file is longer than `bytes`.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        (self.bytes.len() as u64) < self.total_bytes
    }
}

/// A finished, flushed write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Full path of the file, for people.
    pub path: PathBuf,
    /// Bytes written.
    pub bytes: u64,
    /// New or replaced.
    pub effect: WriteEffect,
}

/// What a directory entry is. Links are named, never followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe: can be listed, never opened.
    Special,
}

/// What is known about one path without opening it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStat {
    /// What it is.
    pub kind: FileKind,
    /// Size in bytes; zero for anything but a regular file.
    pub bytes: u64,
    /// Last modification, milliseconds since 1970.
    pub modified_ms: i64,
}

/// One entry of a listing or a walk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path relative to the listed or walked directory, `/` between the parts. Bytes that are not UTF-8 appear as
    /// U+FFFD; such an entry cannot be opened by this name.
    pub path: String,
    /// What it is, how long, when changed.
    pub stat: FileStat,
}

/// Entries in byte order of their path, as far as the limits reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The entries. Denied paths are left out.
    pub entries: Vec<FileEntry>,
    /// Whether there was more than the limits allowed.
    pub truncated: bool,
}

/// How far a walk goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkLimits {
    /// Most entries returned.
    pub entries_max: usize,
    /// Most levels below the start; 1 is the directory itself.
    pub depth_max: usize,
    /// Directory names that are not entered (`.git`, `target`, `node_modules`).
    pub skip_dirs: Vec<String>,
}

impl Default for WalkLimits {
    fn default() -> Self {
        Self {
            entries_max: 20_000,
            depth_max: 32,
            skip_dirs: [".git", "node_modules", "target"]
                .map(String::from)
                .to_vec(),
        }
    }
}

/// Why nothing happened. Each sentence names the path as it was given, so that a model can act on it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The text cannot be a path.
    #[error("not a usable path: {reason}")]
    BadPath {
        /// What is wrong with it.
        reason: String,
    },
    /// The path, links followed, leaves every allowed directory.
    #[error("`{path}` is outside of the allowed folders")]
    Outside {
        /// The path as given.
        path: String,
    },
    /// The path lies beneath something that is never touched.
    #[error("`{path}` is protected and cannot be used")]
    Denied {
        /// The path as given.
        path: String,
    },
    /// A symbolic link stands where none is followed.
    #[error("`{path}` goes through a symbolic link, which is not followed here")]
    Link {
        /// The path as given.
        path: String,
    },
    /// Nothing of this name.
    #[error("`{path}` was not found")]
    NotFound {
        /// The path as given.
        path: String,
    },
    /// A file was needed.
    #[error("`{path}` is a directory")]
    IsDirectory {
        /// The path as given.
        path: String,
    },
    /// A directory was needed.
    #[error("`{path}` is not a directory")]
    NotDirectory {
        /// The path as given.
        path: String,
    },
    /// A device, socket or pipe.
    #[error("`{path}` is not a regular file")]
    Special {
        /// The path as given.
        path: String,
    },
    /// The file has a second name, perhaps outside of the allowed folders.
    #[error(
        "`{path}` has more than one hard link, so writing could change a file outside of the allowed folders"
    )]
    HardLinked {
        /// The path as given.
        path: String,
    },
    /// [`WriteMode::CreateNew`] met an existing file.
    #[error("`{path}` exists already")]
    Exists {
        /// The path as given.
        path: String,
    },
    /// A directory was to be removed while something is in it.
    #[error("`{path}` is a directory that is not empty")]
    NotEmpty {
        /// The path as given.
        path: String,
    },
    /// The operating system says no.
    #[error("permission for `{path}` was denied by the operating system")]
    Permission {
        /// The path as given.
        path: String,
    },
    /// The disk, or the quota on it, is full.
    #[error("there is no space left to write `{path}`")]
    Full {
        /// The path as given.
        path: String,
    },
    /// Anything else.
    #[error("`{path}` could not be used")]
    Io {
        /// The path as given.
        path: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

/// The door to files of one scope.
pub trait Files: Send + Sync {
    /// Reads a regular file from its start, at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`FileError`], one variant per thing the caller can do about it.
    fn read(&self, path: &str, bytes_max: u64) -> Result<FileContent, FileError>;

    /// Writes a whole file: temporary name, flush, rename, flush of the directory. Missing directories on the way are
    /// made. Keeps the permission bits of a file it replaces. Links are not followed.
    ///
    /// # Errors
    /// [`FileError`]; on an error the old content is still there.
    fn write(&self, path: &str, bytes: &[u8], mode: WriteMode) -> Result<Written, FileError>;

    /// Lists one directory; `.` or the empty text is the workspace.
    ///
    /// # Errors
    /// [`FileError::NotDirectory`], [`FileError::NotFound`] and the refusals.
    fn list(&self, path: &str, entries_max: usize) -> Result<Listing, FileError>;

    /// Lists a directory and what is beneath it, without following links.
    ///
    /// # Errors
    /// As [`Files::list`]; a directory below the start that cannot be opened is left out.
    fn walk(&self, path: &str, limits: &WalkLimits) -> Result<Listing, FileError>;

    /// Says what a path is. A link as last part is described, not followed.
    ///
    /// # Errors
    /// [`FileError::NotFound`] and the refusals.
    fn stat(&self, path: &str) -> Result<FileStat, FileError>;

    /// Removes a file, a link (not its target) or an empty directory.
    ///
    /// # Errors
    /// [`FileError::NotEmpty`], [`FileError::NotFound`] and the refusals.
    fn remove(&self, path: &str) -> Result<(), FileError>;

    /// The workspace as an absolute path, for people and for binding approvals. Never opened by this name.
    fn display_root(&self) -> PathBuf;
}

/// Opens the door for a scope.
pub type FilesFor = dyn Fn(&FileScope) -> Result<Arc<dyn Files>, FileError> + Send + Sync;
