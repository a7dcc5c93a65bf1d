//! Why there is no backup, or no way back from it.

use std::io;
use std::path::{Path, PathBuf};

use adjutant_cli::{Exit, Failure};
use adjutant_store::OpenError;
use adjutant_store::copy::CopyError;

use crate::{db, failures};

/// Why there is no backup, or no way back from it. Unless it says otherwise, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackupError {
    /// The file system said no.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing to back up.
    #[error("there is no store in `{}`", home.display())]
    NoStore {
        /// The state directory.
        home: PathBuf,
    },
    /// The archive must not be inside of what it archives.
    #[error("`{}` lies in the state directory: the next backup would hold this one", path.display())]
    Inside {
        /// The file.
        path: PathBuf,
    },
    /// A file is there already.
    #[error("`{}` exists", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The store cannot be read or opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The rows of a server's database cannot be read, or not be put into another.
    #[error(transparent)]
    Rows(#[from] CopyError),
    /// Nobody says where the rows go.
    #[error("`{}` holds the rows of a PostgreSQL database, and nothing says which one they go to", path.display())]
    NoDatabase {
        /// The archive.
        path: PathBuf,
    },
    /// A database was named for an archive that holds a file.
    #[error("`{}` holds a SQLite file: there are no rows for a PostgreSQL database in it", path.display())]
    NoRows {
        /// The archive.
        path: PathBuf,
    },
    /// The settings in the archive cannot be used.
    #[error("the settings in `{}` cannot be used: {reason}", path.display())]
    Settings {
        /// The archive.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Not an archive of ours, or a newer one.
    #[error("`{}` is no backup that this program can restore: {reason}", path.display())]
    Foreign {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What came out of the archive does not hold together.
    #[error("the store in `{}` is not whole: {finding} (and {more} more)", path.display())]
    Broken {
        /// The archive.
        path: PathBuf,
        /// The first finding.
        finding: String,
        /// How many more there are.
        more: usize,
    },
    /// The store could not be checked.
    #[error("it could not be checked: {reason}")]
    Unchecked {
        /// Why.
        reason: String,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The rows are in the database, for good, and then something went wrong.
    #[error("the rows are in {at} now, but the restore did not come to its end: {source}")]
    Filled {
        /// The database.
        at: String,
        /// The state directory that goes with the rows, complete but not in its place. None: it is of no use.
        ready: Option<PathBuf>,
        /// Where it belongs.
        home: PathBuf,
        /// What went wrong.
        source: Box<BackupError>,
    },
    /// The state directory was moved aside, and neither the new one nor itself could be put in its place.
    #[error("`{}` is in `{}` now and could not be put back: {source}", home.display(), aside.display())]
    Aside {
        /// The state directory.
        home: PathBuf,
        /// Where it is now.
        aside: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Everything is in its place, but nobody knows whether the disk has it.
    #[error("everything is restored to `{}`, but it may not outlive a power failure yet: {source}", home.display())]
    Unflushed {
        /// The state directory.
        home: PathBuf,
        /// Why.
        source: io::Error,
    },
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { path, source }
}

/// Refuses what came out of the archive `path` when a check of it found something.
pub(super) fn must_be_whole(path: &Path, findings: &[String]) -> Result<(), BackupError> {
    match findings.split_first() {
        None => Ok(()),
        Some((finding, more)) => Err(BackupError::Broken {
            path: path.to_owned(),
            finding: finding.clone(),
            more: more.len(),
        }),
    }
}

/// In the words and exit codes of the command line.
pub(super) fn failure(error: &BackupError) -> Failure {
    let as_it_was = "nothing was changed";
    match error {
        BackupError::Store(error) => failures::open(error),
        BackupError::NoStore { .. } => Failure::new(Exit::NotFound, "NOT_FOUND", error.to_string())
            .with_hint("`adjutant setup` makes one; `ADJUTANT_HOME` names another directory"),
        BackupError::Exists { .. } => Failure::new(Exit::Conflict, "CONFLICT", error.to_string())
            .with_hint("remove it, or name another file"),
        BackupError::Inside { .. } => Failure::new(Exit::Usage, "USAGE", error.to_string())
            .with_hint("name a file in another folder, best on another disk"),
        BackupError::Io { path, source } => Failure::io(path.display(), source),
        BackupError::Rows(error) => db::failure(error),
        BackupError::NoDatabase { .. } => Failure::new(Exit::Usage, "USAGE", error.to_string())
            .with_hint("name an empty database with `--database env:NAME`; nothing was changed"),
        BackupError::NoRows { .. } => Failure::new(Exit::Usage, "USAGE", error.to_string())
            .with_hint("restore it without `--database`, then `adjutant db copy --to …`"),
        BackupError::Settings { .. } => {
            Failure::new(Exit::Config, "CONFIG", error.to_string()).with_hint(as_it_was)
        }
        BackupError::Foreign { .. } => {
            Failure::new(Exit::Failed, "FOREIGN", error.to_string()).with_hint(as_it_was)
        }
        BackupError::Broken { .. } => Failure::new(Exit::Failed, "CORRUPT", error.to_string())
            .with_hint("nothing was changed; try an older backup"),
        BackupError::Unchecked { .. } => {
            Failure::new(Exit::Failed, "STORE", error.to_string()).with_hint(as_it_was)
        }
        BackupError::Interrupted => Failure::interrupted().with_hint(as_it_was),
        BackupError::Filled {
            ready,
            home,
            source,
            ..
        } => Failure {
            message: error.to_string(),
            hint: Some(match ready {
                Some(ready) => format!(
                    "only the state directory is missing: move `{}` to `{}` yourself, and `adjutant verify` checks both; \
                     or empty the database (`drop schema adjutant cascade`) and restore again",
                    ready.display(),
                    home.display()
                ),
                None => "the state directory is as it was; empty that database (`drop schema adjutant cascade`), and \
                         try an older backup"
                    .to_owned(),
            }),
            ..match **source {
                BackupError::Interrupted => Failure::interrupted(),
                _ => Failure::new(Exit::Failed, "FILLED", String::new()),
            }
        },
        BackupError::Aside { home, aside, .. } => Failure::new(Exit::Failed, "IO", error.to_string())
            .with_hint(format!(
                "nothing is lost: move `{}` to `{}` yourself",
                aside.display(),
                home.display()
            )),
        BackupError::Unflushed { .. } => Failure::new(Exit::Failed, "IO", error.to_string())
            .with_hint("`sync` makes the disk write what it has; nothing has to be done again"),
    }
}
