//! What is wrong with a configuration, in words that lead to the place.

use std::fmt;
use std::path::PathBuf;

use super::key::KeyPath;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file; line and column count from 1, the column in characters.
    File {
        /// The file.
        path: PathBuf,
        /// Line.
        line: u32,
        /// Column.
        column: u32,
    },
    /// In the environment.
    Environment {
        /// The variable.
        name: String,
    },
    /// On the command line.
    Flag {
        /// The key it sets.
        name: String,
    },
    /// Nowhere: the built-in default.
    Default,
}

impl Place {
    /// The layer's name, as `config explain` shows it.
    pub(crate) fn layer(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Environment { .. } => "environment",
            Self::Flag { .. } => "flag",
            Self::Default => "default",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment { name } => write!(f, "environment variable {name}"),
            Self::Flag { name } => write!(f, "command line ({name})"),
            Self::Default => f.write_str("built-in default"),
        }
    }
}

/// What kind of mistake it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The text is not TOML.
    Syntax {
        /// The parser's words.
        said: String,
    },
    /// The key is written twice.
    Duplicate,
    /// No such key.
    UnknownKey {
        /// The nearest known key.
        nearest: Option<KeyPath>,
    },
    /// The value does not fit the key.
    WrongValue {
        /// What would fit.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The value fits the key and still makes no sense.
    Nonsense {
        /// What is wrong and what would be right.
        said: String,
    },
    /// `${NAME}` names a variable that is not set.
    UnsetVariable {
        /// The variable.
        name: String,
    },
    /// The file cannot be read.
    Unreadable {
        /// Why.
        said: String,
    },
}

/// One mistake and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The key; the root for mistakes that belong to no key.
    pub(crate) key: KeyPath,
    /// Where it is written.
    pub(crate) place: Place,
    /// What is wrong.
    pub(crate) fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, place, fault } = self;
        match fault {
            Fault::Syntax { said } => write!(f, "{place}: not valid TOML: {said}"),
            Fault::Duplicate => write!(f, "{place}: `{key}` is written twice"),
            Fault::UnknownKey {
                nearest: Some(nearest),
            } => {
                write!(
                    f,
                    "{place}: unknown key `{key}`\nhint: did you mean `{nearest}`?"
                )
            }
            Fault::UnknownKey { nearest: None } => write!(f, "{place}: unknown key `{key}`"),
            Fault::WrongValue { expected, found } => {
                write!(f, "{place}: `{key}` must be {expected}, found {found}")
            }
            Fault::Nonsense { said } => write!(f, "{place}: `{key}`: {said}"),
            Fault::UnsetVariable { name } => write!(
                f,
                "{place}: `{key}` uses `${{{name}}}`, which is not set\n\
                 hint: set {name}, or write `${{{name}:-fallback}}`"
            ),
            Fault::Unreadable { said } => write!(f, "{place}: cannot be read: {said}"),
        }
    }
}

/// A configuration that must not be used. The binary prints it and exits with 78.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// Every mistake that was found, in the order of the layers; never empty.
    pub(crate) problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.problems.iter().enumerate() {
            if place != 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
