//! `adjutant backup` and `adjutant restore` on this machine.

use std::path::PathBuf;

use adjutant_cli::{BackupDone, BackupOptions, Backups, Exit, Failure, RestoreDone};
use adjutant_ports::clock::Clock as _;
use async_trait::async_trait;

use super::{BackupError, Manifest, Workspaces, create, restore};
use crate::doors::SystemClock;
use crate::failures;
use crate::host::Machine;

#[async_trait]
impl Backups for Machine {
    async fn backup(&self, options: BackupOptions) -> Result<BackupDone, Failure> {
        let home = self.home()?;
        let now = SystemClock::new().now();
        let file = options.file.unwrap_or_else(|| {
            // The day and the second: two backups of a day are two files.
            let name: String = now
                .to_string()
                .chars()
                .take("2026-11-28T10:20:30".len())
                .map(|c| if c == ':' { '-' } else { c })
                .collect();
            PathBuf::from(format!("adjutant-{name}.tar"))
        });
        let workspaces = if options.without_workspaces {
            Workspaces::Without
        } else {
            Workspaces::With
        };
        let to = file.clone();
        let work = move || create(&home, &to, workspaces, &Manifest::new(now));
        let made = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Failure::new(Exit::Failed, "INTERNAL", error.to_string()))?
            .map_err(|error| failure(&error))?;
        Ok(BackupDone {
            file: std::path::absolute(&file).unwrap_or(file),
            files: made.files,
            bytes: made.bytes,
        })
    }

    fn in_the_way(&self) -> Result<Option<PathBuf>, Failure> {
        let home = self.home()?;
        Ok(home.exists().then_some(home))
    }

    async fn restore(&self, file: PathBuf) -> Result<RestoreDone, Failure> {
        let home = self.home()?;
        let back = restore(&home, &file)
            .await
            .map_err(|error| failure(&error))?;
        Ok(RestoreDone {
            home,
            files: back.files,
            made_at: back.manifest.at,
            made_by: back.manifest.version,
            aside: back.aside,
        })
    }
}

fn failure(error: &BackupError) -> Failure {
    match error {
        BackupError::Store(error) => failures::open(error),
        BackupError::NoStore { .. } => Failure::new(Exit::NotFound, "NOT_FOUND", error.to_string())
            .with_hint("`adjutant setup` makes one; `ADJUTANT_HOME` names another directory"),
        BackupError::Exists { .. } => Failure::new(Exit::Conflict, "CONFLICT", error.to_string())
            .with_hint("remove it, or name another file"),
        BackupError::Inside { .. } => Failure::new(Exit::Usage, "USAGE", error.to_string())
            .with_hint("name a file in another folder, best on another disk"),
        BackupError::Io { path, source } => Failure::io(path.display(), source),
        BackupError::Foreign { .. } => Failure::new(Exit::Failed, "FOREIGN", error.to_string())
            .with_hint("nothing was changed"),
        BackupError::Broken { .. } => Failure::new(Exit::Failed, "CORRUPT", error.to_string())
            .with_hint("nothing was changed; try an older backup"),
    }
}
