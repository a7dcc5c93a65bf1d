//! The settings of this installation, behind the door that `config.*` methods use.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use adjutant_ports::config::{ConfigChange, ConfigDoor, ConfigFault, Explained};

use super::edit;
use super::key::KeyPath;
use super::load::{self, Loaded, Sources, Tree};
use super::node::{Kind, Node};
use super::problem::{ConfigError, Place};
use super::replace;
use super::schema::Schema;

/// What is shown in place of a literal secret.
const HIDDEN: &str = "(hidden)";

/// Settings with their sources. One per process.
#[derive(Debug)]
pub(crate) struct Settings<T> {
    sources: Sources,
    backups: PathBuf,
    schema: Schema,
    defaults: Value,
    loaded: Mutex<Arc<Loaded<T>>>,
}

impl<T: Tree> Settings<T> {
    /// Reads and checks every layer. Backups of the file go to `<home>/backups/config/`.
    ///
    /// # Errors
    /// Every problem that was found: print it and exit with 78.
    pub(crate) fn open(sources: Sources, home: &std::path::Path) -> Result<Self, ConfigError> {
        let loaded = load::load(&sources)?;
        Ok(Self {
            sources,
            backups: home.join("backups").join("config"),
            schema: Schema::of::<T>(),
            defaults: json_of(&T::default()),
            loaded: Mutex::new(Arc::new(loaded)),
        })
    }

    /// The checked tree with its places, as of the last read.
    pub(crate) fn current(&self) -> Arc<Loaded<T>> {
        Arc::clone(&self.guard())
    }

    /// The text of the file as it is now; empty when there is none.
    ///
    /// # Errors
    /// [`ConfigFault::Io`].
    pub(crate) fn text(&self) -> Result<String, ConfigFault> {
        match std::fs::read_to_string(&self.sources.file) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(ConfigFault::Io {
                reason: error.to_string(),
            }),
        }
    }

    /// Replaces the whole text, as an editor does. The base hash is that of the text the editor began with.
    ///
    /// # Errors
    /// Any [`ConfigFault`]; the old file and tree stay in force.
    pub(crate) fn replace(&self, text: &str, base_hash: &str) -> Result<ConfigChange, ConfigFault> {
        self.change(Some(base_hash), |_old| Ok(text.to_owned()))
    }

    /// The same for somebody who holds the text they began with instead of its hash.
    ///
    /// # Errors
    /// Any [`ConfigFault`]; the old file and tree stay in force.
    pub(crate) fn replace_seen(&self, seen: &str, text: &str) -> Result<ConfigChange, ConfigFault> {
        self.replace(text, &hash_of(seen))
    }

    /// The type of the value at `key`, in one word of JSON Schema; `object` for a section.
    pub(crate) fn kind(&self, key: &str) -> String {
        let schema = KeyPath::parse(key).and_then(|path| self.schema.at(&path));
        let word = schema.and_then(|it| it.get("type")).map(|kind| match kind {
            Value::Array(kinds) => kinds
                .iter()
                .filter_map(Value::as_str)
                .find(|k| *k != "null")
                .unwrap_or("string")
                .to_owned(),
            other => other.as_str().unwrap_or("string").to_owned(),
        });
        word.unwrap_or_else(|| "string".to_owned())
    }

    /// How many keys the file, the environment and the flags set together.
    pub(crate) fn keys_set(&self) -> u64 {
        fn leaves(value: &Value) -> u64 {
            match value {
                Value::Object(members) => members.values().map(leaves).sum(),
                _ => 1,
            }
        }
        leaves(&self.current().given.to_json())
    }

    fn guard(&self) -> MutexGuard<'_, Arc<Loaded<T>>> {
        // A panic while the lock was held cannot leave half a tree: the value is replaced whole.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(
        &self,
        base_hash: Option<&str>,
        edit: impl FnOnce(&str) -> Result<String, ConfigFault>,
    ) -> Result<ConfigChange, ConfigFault> {
        let io = |error: std::io::Error| ConfigFault::Io {
            reason: error.to_string(),
        };
        let mut current = self.guard();
        let _lock = replace::Lock::take(&self.sources.file).map_err(io)?;
        let old = self.text()?;
        if let Some(expected) = base_hash
            && expected != hash_of(&old)
        {
            return Err(ConfigFault::Conflict {
                expected: expected.to_owned(),
                found: hash_of(&old),
            });
        }
        let new = edit(&old)?;
        let loaded =
            load::load_text::<T>(&new, &self.sources).map_err(|error| ConfigFault::Invalid {
                reason: error.to_string(),
            })?;
        let keys = self.changed_keys(&json_of(&current.tree), &json_of(&loaded.tree));
        if new != old {
            if !old.is_empty() {
                let hash = hash_of(&old);
                replace::back_up(&self.backups, &old, &hash).map_err(io)?;
            }
            replace::replace(&self.sources.file, &new).map_err(io)?;
        }
        *current = Arc::new(loaded);
        let needs_restart: Vec<String> = keys
            .iter()
            .filter(|key| self.schema.needs_restart(key))
            .map(ToString::to_string)
            .collect();
        Ok(ConfigChange {
            keys: keys.iter().map(ToString::to_string).collect(),
            needs_restart,
            hash: hash_of(&new),
        })
    }

    fn changed_keys(&self, old: &Value, new: &Value) -> Vec<KeyPath> {
        let mut keys = Vec::new();
        differences(old, new, &KeyPath::root(), &mut keys);
        keys
    }

    fn known(&self, key: &str) -> Result<KeyPath, ConfigFault> {
        let unknown = |path: Option<KeyPath>| ConfigFault::UnknownKey {
            key: key.to_owned(),
            nearest: path
                .and_then(|path| self.schema.nearest(&path))
                .map(|it| it.to_string()),
        };
        let path = KeyPath::parse(key).ok_or_else(|| unknown(None))?;
        match self.schema.at(&path) {
            Some(_) => Ok(path),
            None => Err(unknown(Some(path))),
        }
    }

    /// The value at `key` as it may be shown: secrets and replaced variables as they were written.
    fn shown(&self, loaded: &Loaded<T>, key: &KeyPath) -> Value {
        let mut value = value_at(&json_of(&loaded.tree), key);
        self.mask(&mut value, loaded.given.at(key), key);
        value
    }

    fn mask(&self, value: &mut Value, given: Option<&Node>, key: &KeyPath) {
        let member =
            |name: &str| given.and_then(|node| node.at(&KeyPath::from(vec![name.to_owned()])));
        match value {
            Value::Object(members) => {
                for (name, value) in members.iter_mut() {
                    self.mask(value, member(name), &key.with(name));
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter_mut().enumerate() {
                    self.mask(value, member(&format!("[{index}]")), &key.with_index(index));
                }
            }
            Value::String(text) => {
                let raw = given.and_then(|node| match &node.kind {
                    Kind::Text { raw, .. } => Some(raw.clone()),
                    _ => None,
                });
                let is_reference = raw.as_ref().is_some_and(|raw| raw.contains("${"));
                if let (Some(raw), true) = (raw, is_reference) {
                    *text = raw;
                } else if self.schema.is_secret(key)
                    && !text.is_empty()
                    && !text.starts_with("vault:")
                {
                    HIDDEN.clone_into(text);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

impl<T: Tree> ConfigDoor for Settings<T> {
    fn get(&self, key: Option<&str>) -> Result<Value, ConfigFault> {
        let path = key.map_or_else(|| Ok(KeyPath::root()), |key| self.known(key))?;
        Ok(self.shown(&self.current(), &path))
    }

    fn explain(&self, key: &str) -> Result<Explained, ConfigFault> {
        let path = self.known(key)?;
        let loaded = self.current();
        let place = loaded
            .given
            .at(&path)
            .map_or(Place::Default, |node| node.place.clone());
        let (file, line) = match &place {
            Place::File { path, line, .. } => (Some(path.display().to_string()), Some(*line)),
            Place::Environment { .. } | Place::Flag { .. } | Place::Default => (None, None),
        };
        Ok(Explained {
            key: path.to_string(),
            value: self.shown(&loaded, &path),
            layer: place.layer().to_owned(),
            file,
            line,
            default: value_at(&self.defaults, &path),
            docs: self.schema.docs(&path),
            restart: self.schema.needs_restart(&path),
        })
    }

    fn set(
        &self,
        key: &str,
        value: Option<Value>,
        base_hash: Option<&str>,
    ) -> Result<ConfigChange, ConfigFault> {
        let path = self.known(key)?;
        self.change(base_hash, |old| {
            let edited = match &value {
                Some(value) => edit::set(old, &path, value),
                None => edit::unset(old, &path),
            };
            edited.map_err(|error| ConfigFault::Invalid {
                reason: error.to_string(),
            })
        })
    }

    fn schema(&self) -> Value {
        schemars::generate::SchemaSettings::draft2020_12()
            .into_generator()
            .into_root_schema_for::<T>()
            .to_value()
    }

    fn hash(&self) -> String {
        // A file that cannot be read has no hash a caller could have seen.
        self.text().map(|text| hash_of(&text)).unwrap_or_default()
    }

    fn path(&self) -> String {
        self.sources.file.display().to_string()
    }
}

fn json_of<T: Tree>(tree: &T) -> Value {
    serde_json::to_value(tree).expect("a tree of settings has string keys and finite numbers only")
}

fn value_at(tree: &Value, key: &KeyPath) -> Value {
    let found = key.segments().iter().try_fold(tree, |value, segment| {
        match segment
            .strip_prefix('[')
            .and_then(|it| it.strip_suffix(']'))
        {
            Some(index) => value.get(index.parse::<usize>().ok()?),
            None => value.get(segment),
        }
    });
    found.cloned().unwrap_or(Value::Null)
}

fn differences(old: &Value, new: &Value, at: &KeyPath, keys: &mut Vec<KeyPath>) {
    let (Value::Object(mine), Value::Object(theirs)) = (old, new) else {
        if old != new {
            keys.push(at.clone());
        }
        return;
    };
    for (name, value) in mine {
        differences(
            value,
            theirs.get(name).unwrap_or(&Value::Null),
            &at.with(name),
            keys,
        );
    }
    for (name, value) in theirs.iter().filter(|(name, _)| !mine.contains_key(*name)) {
        differences(&Value::Null, value, &at.with(name), keys);
    }
}

/// A fingerprint of the file for "has it changed since": FNV-1a over 128 bits. It guards against accidents between
/// two writers who may both write anyway, not against an attacker.
fn hash_of(text: &str) -> String {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = text.bytes().fold(OFFSET, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(PRIME)
    });
    format!("{hash:032x}")
}
