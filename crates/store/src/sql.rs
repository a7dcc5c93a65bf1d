//! Statements and rows: a thin layer that keeps every statement prepared and every column typed.

use std::fmt::Display;
use std::str::FromStr;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use adjutant_domain::need::Needs;
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::StoreError;

use crate::error::Done;

/// Prepared statements, by their text.
pub(crate) trait Sql {
    /// Runs a statement; how many rows it changed.
    fn exec(&self, sql: &str, params: impl Params) -> Done<usize>;
    /// The first row, if any.
    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Done<Option<T>>;
    /// Every row.
    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Done<Vec<T>>;
}

impl Sql for Connection {
    fn exec(&self, sql: &str, params: impl Params) -> Done<usize> {
        note(sql);
        Ok(self.prepare_cached(sql)?.execute(params)?)
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Done<Option<T>> {
        note(sql);
        Ok(self
            .prepare_cached(sql)?
            .query_row(params, map)
            .optional()?)
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Done<Vec<T>> {
        note(sql);
        let mut statement = self.prepare_cached(sql)?;
        let rows = statement.query_map(params, map)?;
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
    }
}

/// Every statement that tests ran, so that a test can ask for their plans.
#[cfg(test)]
pub(crate) static NOTED: std::sync::Mutex<std::collections::BTreeSet<String>> =
    std::sync::Mutex::new(std::collections::BTreeSet::new());

#[cfg(test)]
fn note(sql: &str) {
    // The check of everything reads everything.
    if std::thread::current().name() == Some(crate::sqlite::VERIFY_THREAD) {
        return;
    }
    NOTED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .insert(sql.to_owned());
}

#[cfg(not(test))]
fn note(_: &str) {}

/// A value as JSON text.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Failed {
        reason: "cannot be written as JSON".to_owned(),
        source: Some(Box::new(error)),
    })
}

/// What a run needs as its column: null for nothing.
pub(crate) fn needs_column(needs: &Needs) -> Result<Option<String>, StoreError> {
    (!needs.is_empty()).then(|| json(needs)).transpose()
}

/// A value from JSON text that we wrote.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt {
        reason: format!("a row cannot be read: {error}"),
    })
}

fn conversion<E: std::error::Error + Send + Sync + 'static>(
    index: usize,
    error: E,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
}

/// Typed columns.
pub(crate) mod col {
    use super::*;

    /// An identifier or a name.
    pub(crate) fn id<T>(row: &Row<'_>, index: usize) -> rusqlite::Result<T>
    where
        T: FromStr,
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        row.get_ref(index)?
            .as_str()?
            .parse()
            .map_err(|error| conversion(index, error))
    }

    /// An identifier or a name, or null.
    pub(crate) fn opt_id<T>(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<T>>
    where
        T: FromStr,
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        match row.get_ref(index)?.as_str_or_null()? {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|error| conversion(index, error)),
        }
    }

    /// A value kept as JSON.
    pub(crate) fn json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
        serde_json::from_str(row.get_ref(index)?.as_str()?)
            .map_err(|error| conversion(index, error))
    }

    /// A value kept as JSON, or null.
    pub(crate) fn opt_json<T: DeserializeOwned>(
        row: &Row<'_>,
        index: usize,
    ) -> rusqlite::Result<Option<T>> {
        match row.get_ref(index)?.as_str_or_null()? {
            None => Ok(None),
            Some(text) => serde_json::from_str(text)
                .map(Some)
                .map_err(|error| conversion(index, error)),
        }
    }

    /// A closed enum that serde writes as one word.
    pub(crate) fn word<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
        let text = row.get_ref(index)?.as_str()?;
        serde_json::from_value(serde_json::Value::String(text.to_owned()))
            .map_err(|error| conversion(index, error))
    }

    /// A moment.
    pub(crate) fn at(row: &Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
        row.get(index).map(Timestamp::from_millis)
    }

    /// A moment, or null.
    pub(crate) fn opt_at(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Timestamp>> {
        Ok(row
            .get::<_, Option<i64>>(index)?
            .map(Timestamp::from_millis))
    }
}

/// A closed enum as the one word that serde writes.
pub(crate) fn word<T: Serialize>(value: &T) -> Result<String, StoreError> {
    let text = json(value)?;
    Ok(text.trim_matches('"').to_owned())
}

/// Optional identifiers as columns.
pub(crate) fn opt<T: Display>(value: Option<&T>) -> Option<String> {
    value.map(ToString::to_string)
}

/// What a person typed as a query for the text index: every word quoted, so that nothing in it is an operator.
pub(crate) fn text_query(words: &str, joined: Joined) -> Option<String> {
    let quoted: Vec<String> = words
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(QUERY_WORDS_MAX)
        .map(|word| format!("\"{word}\""))
        .collect();
    let between = match joined {
        Joined::All => " ",
        Joined::Any => " OR ",
    };
    (!quoted.is_empty()).then(|| quoted.join(between))
}

/// Words of a query that count.
const QUERY_WORDS_MAX: usize = 32;

/// How the words of a query belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    /// Each of them.
    All,
    /// Any of them.
    Any,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_person_types_is_an_operator_of_the_text_index() {
        let query = text_query("a\" OR b* NEAR(c) -d", Joined::All);
        assert_eq!(
            query.as_deref(),
            Some("\"a\" \"OR\" \"b\" \"NEAR\" \"c\" \"d\"")
        );
        assert_eq!(text_query(" *\"- ", Joined::Any), None);
    }
}
