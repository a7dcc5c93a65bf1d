//! Errors of the parts, in the words and exit codes of the command line.

use std::path::Path;

use adjutant_cli::{Exit, Failure};
use adjutant_gateway::ListenError;
use adjutant_ports::StoreError;
use adjutant_store::{LockError, OpenError, PostgresError};

use crate::config::ConfigError;
use crate::parts::PartsError;

/// A chain of errors as one sentence.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some errors show their cause themselves.
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

/// The configuration is wrong: exit 78, every problem with key, place and nearest key.
pub(crate) fn config(error: &ConfigError) -> Failure {
    Failure::new(Exit::Config, "CONFIG", error.to_string()).with_hint(
        "`adjutant config edit` opens the file; `adjutant config schema` lists every key",
    )
}

/// The parts could not be put together.
pub(crate) fn parts(home: &Path, error: &PartsError) -> Failure {
    match error {
        PartsError::Store(error) => open(error),
        PartsError::Database(error) => database(error),
        PartsError::Use(error) => store(home, error),
        PartsError::Providers(error) => Failure::new(Exit::Config, "CONFIG", chain(error)),
        PartsError::Tools(_) => Failure::new(Exit::Failed, "INTERNAL", chain(error)),
        PartsError::Io { path, source } => Failure::io(path.display(), source),
    }
}

/// The store could not be opened.
pub(crate) fn open(error: &OpenError) -> Failure {
    match error {
        OpenError::Locked(lock @ LockError::Held { .. }) => {
            Failure::new(Exit::Conflict, "CONFLICT", lock.to_string()).with_hint(
                "`adjutant gateway status` shows who; `adjutant gateway stop` ends it; or use another `ADJUTANT_HOME`",
            )
        }
        OpenError::Config(error) => Failure::new(Exit::Config, "CONFIG", error.to_string()),
        OpenError::Corrupt { .. } => Failure::new(Exit::Failed, "CORRUPT", chain(error))
            .with_hint("`adjutant doctor` says more; nothing was changed"),
        OpenError::Locked(_)
        | OpenError::Io { .. }
        | OpenError::Newer { .. }
        | OpenError::Foreign { .. }
        | OpenError::Sqlite { .. } => Failure::new(Exit::Failed, "STORE", chain(error)),
    }
}

/// The database cannot be used as a store. What it says names no user and no password.
pub(crate) fn database(error: &PostgresError) -> Failure {
    let failure = match error {
        PostgresError::Url { .. } | PostgresError::Tls { .. } | PostgresError::Config(_) => {
            Failure::new(Exit::Config, "CONFIG", chain(error))
        }
        _ => Failure::new(Exit::Failed, "STORE", chain(error)),
    };
    failure.with_hint("`store.database_url` names it; docs/guide/postgresql.md says what it needs")
}

/// The store does not work.
pub(crate) fn store(home: &Path, error: &StoreError) -> Failure {
    let failure = Failure::new(
        Exit::Failed,
        "STORE",
        format!("{}: {}", home.display(), chain(error)),
    );
    match error {
        StoreError::Degraded { .. } => {
            failure.with_hint("free space on the disk or make it writable; nothing was lost")
        }
        StoreError::Corrupt { .. } => failure.with_hint("`adjutant verify` names what is damaged"),
        _ => failure,
    }
}

/// No listener could be opened.
pub(crate) fn listen(error: &ListenError) -> Failure {
    match error {
        ListenError::PortTaken { port, .. } => Failure::new(Exit::Conflict, "PORT_TAKEN", error.to_string())
            .with_hint(format!(
                "if it is another gateway of yours, stop it with `adjutant gateway stop`; or choose another with `--port`: \
                 {}",
                port.saturating_add(1)
            )),
        ListenError::Config(_) | ListenError::Tls(_) => Failure::new(Exit::Config, "CONFIG", chain(error)),
        ListenError::Io { .. } => Failure::new(Exit::Failed, "LISTEN", chain(error)),
    }
}
