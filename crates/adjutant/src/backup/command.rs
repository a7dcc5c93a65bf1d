//! `adjutant backup` and `adjutant restore` on this machine.

use std::path::{Path, PathBuf};

use adjutant_cli::{
    BackupDone, BackupOptions, Backups, Exit, Failure, RestoreDone, RestoreOptions, RestorePlan,
};
use adjutant_ports::clock::Clock as _;
use async_trait::async_trait;

use super::error::{BackupError, failure};
use super::{Image, Manifest, Order, Workspaces, make, restore, rows};
use crate::daemon::{Life, life};
use crate::doors::SystemClock;
use crate::host::Machine;
use crate::{db, failures};

#[async_trait]
impl Backups for Machine {
    async fn backup(&self, options: BackupOptions) -> Result<BackupDone, Failure> {
        let (home, settings) = self.settings()?;
        let server = adjutant_store::database(&settings.current().tree.store, &db::variable)
            .map_err(|error| failures::database(&error))?;
        let shown = server.as_ref().map(adjutant_store::PostgresOptions::shown);
        let shown = shown
            .transpose()
            .map_err(|error| failures::database(&error))?;
        no_other_database(&home, shown.as_deref())?;
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
        let mut stop = std::pin::pin!(db::interrupted());
        let (manifest, store) = match server {
            Some(options) => {
                let saved = tokio::select! {
                    biased;
                    () = &mut stop => Err(BackupError::Interrupted),
                    saved = rows::save(&home, &file, options, now) => saved,
                };
                let (database, rows) = saved.map_err(|error| failure(&error))?;
                (Manifest::of_rows(now, database), Image::Rows(rows))
            }
            None => (Manifest::new(now), Image::File),
        };
        let database = manifest.database.clone();
        let order = Order {
            home,
            file: file.clone(),
            workspaces,
            manifest,
            store,
        };
        let made = make(order, stop).await.map_err(|error| failure(&error))?;
        Ok(BackupDone {
            file: std::path::absolute(&file).unwrap_or(file),
            files: made.files,
            bytes: made.bytes,
            database,
        })
    }

    fn in_the_way(&self) -> Result<Option<PathBuf>, Failure> {
        let home = self.home()?;
        Ok(home.exists().then_some(home))
    }

    async fn restore_plan(&self, options: &RestoreOptions) -> Result<RestorePlan, Failure> {
        let home = self.home()?;
        let would = restore::rehearse(&home, &options.file, typed(options)?, db::interrupted)
            .await
            .map_err(|error| failure(&error))?;
        Ok(RestorePlan {
            home,
            files: would.files,
            made_at: would.manifest.at,
            made_by: would.manifest.version,
            database: would.database,
            settings: would.settings,
            replaces: would.aside.is_some(),
        })
    }

    async fn restore(&self, options: RestoreOptions) -> Result<RestoreDone, Failure> {
        let home = self.home()?;
        let back = restore::restore(&home, &options.file, typed(&options)?, db::interrupted)
            .await
            .map_err(|error| failure(&error))?;
        let overruled_by = back.database.as_deref().and_then(|at| self.elsewhere(at));
        Ok(RestoreDone {
            home,
            files: back.files,
            made_at: back.manifest.at,
            made_by: back.manifest.version,
            database: back.database,
            settings: back.settings,
            overruled_by,
            aside: back.aside,
        })
    }
}

impl Machine {
    /// The database that the settings in force name, if that is not `at`: the environment, or a file outside of the state
    /// directory, has the last word.
    fn elsewhere(&self, at: &str) -> Option<String> {
        let (_, settings) = self.settings().ok()?;
        let named = adjutant_store::database(&settings.current().tree.store, &db::variable).ok()?;
        let named = match named {
            Some(options) => options.shown().ok()?,
            None => "the SQLite file".to_owned(),
        };
        (named != at).then_some(named)
    }
}

/// The database that was named. What is wrong with it is told before anything is unpacked.
fn typed(options: &RestoreOptions) -> Result<Option<&str>, Failure> {
    let named = options.database.as_deref();
    named.map(db::typed).transpose()?;
    Ok(named)
}

/// A gateway may have been started over another database than the settings name: their rows are not what is wanted.
fn no_other_database(home: &Path, ours: Option<&str>) -> Result<(), Failure> {
    let Life::Up {
        said: Some(said), ..
    } = life(home)
    else {
        return Ok(());
    };
    let theirs = said.database.as_deref();
    if theirs == ours {
        return Ok(());
    }
    let name = |it: Option<&str>| it.map_or("the SQLite file".to_owned(), |it| format!("`{it}`"));
    let message = format!(
        "the gateway here works on {}, and the settings name {}: a backup would hold the wrong rows",
        name(theirs),
        name(ours)
    );
    Err(Failure::new(Exit::Conflict, "CONFLICT", message).with_hint(
        "`adjutant config set store.database_url …` names what `--database-url` named; or stop the gateway",
    ))
}
