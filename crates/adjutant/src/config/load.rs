//! From layers to a checked tree: defaults, then the file, then the environment, then flags.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document;
use super::key::KeyPath;
use super::node::Node;
use super::problem::{ConfigError, Fault, Place, Problem};
use super::schema::Schema;
use super::variables::{self, Variables};

/// Largest configuration file that is read, in bytes. A file by hand stays far below; a wrong path (a log, a database)
/// does not fill the memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A tree of settings.
pub(crate) trait Tree:
    Serialize + DeserializeOwned + JsonSchema + Default + Send + Sync + 'static
{
    /// Values that parse but make no sense.
    fn check(&self) -> Vec<Finding>;
}

/// One value that parses but makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Its key.
    pub(crate) key: KeyPath,
    /// What is wrong and what would be right.
    pub(crate) said: String,
}

/// Where settings come from.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// The file; one that does not exist is an empty one.
    pub(crate) file: PathBuf,
    /// The environment.
    pub(crate) variables: Variables,
    /// Settings from the command line: dotted key and value.
    pub(crate) flags: Vec<(String, Value)>,
}

impl Sources {
    /// The usual ones: `ADJUTANT_CONFIG`, else `config.toml` in `home`.
    pub(crate) fn usual(home: &Path, variables: Variables) -> Self {
        let named = variables.get("ADJUTANT_CONFIG").filter(|it| !it.is_empty());
        let file = named.map_or_else(|| home.join("config.toml"), PathBuf::from);
        Self {
            file,
            variables,
            flags: Vec::new(),
        }
    }

    /// The environment of this process; names and values that are not Unicode cannot be settings and are left out.
    pub(crate) fn process_variables() -> Variables {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }
}

/// A checked tree that knows where its values came from.
#[derive(Debug)]
pub(crate) struct Loaded<T> {
    /// The settings in force.
    pub(crate) tree: T,
    /// What the layers said, with places.
    pub(crate) given: Node,
}

/// Reads and checks everything.
///
/// # Errors
/// Every problem that was found; no value is ever replaced by a default in silence.
pub(crate) fn load<T: Tree>(sources: &Sources) -> Result<Loaded<T>, ConfigError> {
    let text = read_file(&sources.file).map_err(|problem| ConfigError {
        problems: vec![problem],
    })?;
    load_text(&text, sources)
}

/// The same, with `text` in place of the file's.
pub(crate) fn load_text<T: Tree>(text: &str, sources: &Sources) -> Result<Loaded<T>, ConfigError> {
    let schema = Schema::of::<T>();
    let mut problems = Vec::new();
    let mut given = match document::read(&sources.file, text, &sources.variables) {
        Ok((node, unset)) => {
            problems.extend(unset);
            problems.extend(schema.check(&node));
            node
        }
        Err(problem) => {
            problems.push(problem);
            Node::empty()
        }
    };
    let (environment, unclear) = variables::layer(&sources.variables, &schema);
    let flags = flag_layer(&sources.flags, &mut problems);
    problems.extend(unclear);
    for layer in [environment, flags] {
        problems.extend(schema.check(&layer));
        given.merge(layer);
    }
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let tree = typed::<T>(&given).map_err(|problem| ConfigError {
        problems: vec![problem],
    })?;
    let findings = tree.check();
    if !findings.is_empty() {
        let problems = findings.into_iter().map(|finding| {
            let place = given.place_of(&finding.key);
            Problem {
                key: finding.key,
                place,
                fault: Fault::Nonsense { said: finding.said },
            }
        });
        return Err(ConfigError {
            problems: problems.collect(),
        });
    }
    Ok(Loaded { tree, given })
}

fn read_file(path: &Path) -> Result<String, Problem> {
    let fault = |said: String| Problem {
        key: KeyPath::root(),
        place: Place::File {
            path: path.to_owned(),
            line: 1,
            column: 1,
        },
        fault: Fault::Unreadable { said },
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(fault(error.to_string())),
        Ok(metadata) if FILE_BYTES_MAX < metadata.len() => {
            return Err(fault(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error
            .as_bytes()
            .get(..error.utf8_error().valid_up_to())
            .unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        Problem {
            key: KeyPath::root(),
            place: Place::File {
                path: path.to_owned(),
                line,
                column: 1,
            },
            fault: Fault::Unreadable {
                said: "not UTF-8 text".to_owned(),
            },
        }
    })
}

fn flag_layer(flags: &[(String, Value)], problems: &mut Vec<Problem>) -> Node {
    let mut layer = Node::empty();
    for (name, value) in flags {
        let place = Place::Flag { name: name.clone() };
        let key = KeyPath::parse(name);
        match (key, Node::from_json(value, &place)) {
            (Some(key), Some(node)) => layer.merge(Node::nested(key.segments(), node)),
            (key, _) => problems.push(Problem {
                key: key.unwrap_or_default(),
                place,
                fault: Fault::Nonsense {
                    said: "neither a key nor a value".to_owned(),
                },
            }),
        }
    }
    layer
}

/// The typed tree. What the schema cannot say (a duration's unit, a name's alphabet) is found here, with its place.
fn typed<T: Tree>(given: &Node) -> Result<T, Problem> {
    serde_path_to_error::deserialize(given.to_json()).map_err(|error| {
        let key = key_of(error.path());
        let node = given.at(&key);
        let place = node.map_or_else(|| given.place_of(&key), |node| node.place.clone());
        Problem {
            key,
            place,
            fault: Fault::Nonsense {
                said: error.into_inner().to_string(),
            },
        }
    })
}

fn key_of(path: &serde_path_to_error::Path) -> KeyPath {
    use serde_path_to_error::Segment;
    path.iter()
        .fold(KeyPath::root(), |key, segment| match segment {
            Segment::Seq { index } => key.with_index(*index),
            Segment::Map { key: name } => key.with(name),
            // A variant is no level of the file, and an unknown step adds nothing a person could look for.
            Segment::Enum { .. } | Segment::Unknown => key,
        })
}
