//! Which database the settings name, with its URL brought from where it is kept.

use crate::config::Config;
use crate::postgres::{PostgresError, PostgresOptions, holds_password};

/// The PostgreSQL database of these settings. None: the store is the SQLite file.
///
/// # Errors
/// [`PostgresError::Url`]: a reference leads nowhere, or a URL in the settings holds a password (S45).
pub fn database(
    config: &Config,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<PostgresOptions>, PostgresError> {
    let Some(reference) = &config.database_url else {
        return Ok(None);
    };
    let listen_url = config.database_listen_url.as_deref();
    Ok(Some(PostgresOptions {
        listen_url: listen_url.map(|it| url_of(it, env)).transpose()?,
        connections: config.database_connections,
        ..PostgresOptions::new(url_of(reference, env)?)
    }))
}

/// The URL that a reference leads to: `env:NAME`, `file:/path`, or a URL without a password.
///
/// # Errors
/// [`PostgresError::Url`]: it leads nowhere, or holds a password itself (S45).
pub fn url_of(
    reference: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, PostgresError> {
    let wrong = |reason: String| PostgresError::Url { reason };
    match reference.split_once(':') {
        Some(("env", name)) => env(name)
            .map(|it| it.trim().to_owned())
            .ok_or_else(|| wrong(format!("the variable `{name}` is not set"))),
        Some(("file", path)) => std::fs::read_to_string(path)
            .map(|it| it.trim().to_owned())
            .map_err(|error| wrong(format!("cannot read `{path}`: {error}"))),
        _ if holds_password(reference)? => Err(wrong(
            "a password does not belong into settings and command lines, where others can read it: put the URL into a \
             variable and write `env:NAME`, or into a file only you can read and write `file:/path`"
                .to_owned(),
        )),
        _ => Ok(reference.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn found(reference: &str) -> Result<Option<String>, String> {
        let config = Config {
            database_url: Some(reference.to_owned()),
            ..Config::default()
        };
        let env = |name: &str| (name == "DB").then(|| "postgresql://me:hunter2@db/x\n".to_owned());
        database(&config, &env)
            .map(|it| it.map(|it| it.url))
            .map_err(|error| error.to_string())
    }

    // covers: S45
    #[test]
    fn a_url_comes_from_where_it_is_kept_and_the_settings_hold_no_password() {
        assert_eq!(
            database(&Config::default(), &|_| None)
                .unwrap()
                .map(|it| it.url),
            None
        );
        let url = "postgresql://me:hunter2@db/x";
        assert_eq!(found("env:DB").unwrap().as_deref(), Some(url));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("url");
        std::fs::write(&path, format!("{url}\n")).unwrap();
        let kept = found(&format!("file:{}", path.display())).unwrap();
        assert_eq!(kept.as_deref(), Some(url));
        let plain = "postgresql://me@db/x";
        assert_eq!(found(plain).unwrap().as_deref(), Some(plain));
        for wrong in [url, "env:NOTHING", "file:/nowhere/hunter", "hunter2"] {
            let said = found(wrong).unwrap_err();
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
