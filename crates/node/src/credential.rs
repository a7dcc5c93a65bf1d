//! The device tokens gateways gave this node: one file, one line a gateway, for the owner only.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use adjutant_vault::Secret;

use crate::platform;

/// Bytes of the file.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Gateways remembered.
const GATEWAYS_MAX: usize = 32;

/// Tokens by gateway address.
pub(crate) struct Tokens {
    path: PathBuf,
    by_gateway: BTreeMap<String, Secret<String>>,
}

impl Tokens {
    /// Reads the file; nothing when there is none or others can read it.
    pub(crate) fn load(path: &Path) -> Self {
        let by_gateway = read(path).unwrap_or_default();
        Self {
            path: path.to_owned(),
            by_gateway: by_gateway
                .into_iter()
                .map(|(gateway, token)| (gateway, Secret::new(token)))
                .collect(),
        }
    }

    pub(crate) fn get(&self, gateway: &str) -> Option<&str> {
        self.by_gateway.get(gateway).map(|it| it.expose().as_str())
    }

    /// Keeps `token`. A node without a place for it asks to be paired again, so a failure is only logged.
    pub(crate) fn set(&mut self, gateway: &str, token: &str) {
        if self.get(gateway) == Some(token) {
            return;
        }
        if !self.by_gateway.contains_key(gateway) && GATEWAYS_MAX <= self.by_gateway.len() {
            self.by_gateway.pop_first();
        }
        let token = Secret::new(token.to_owned());
        self.by_gateway.insert(gateway.to_owned(), token);
        self.save();
    }

    pub(crate) fn forget(&mut self, gateway: &str) {
        if self.by_gateway.remove(gateway).is_some() {
            self.save();
        }
    }

    fn save(&self) {
        if let Err(error) = self.write() {
            tracing::warn!(path = %self.path.display(), %error, "the device token cannot be kept");
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let plain: BTreeMap<&str, &str> = self
            .by_gateway
            .iter()
            .map(|(gateway, token)| (gateway.as_str(), token.expose().as_str()))
            .collect();
        let text = Secret::new(serde_json::to_string(&plain)?);
        write_private(&self.path, text.expose().as_bytes())
    }
}

fn read(path: &Path) -> Option<BTreeMap<String, String>> {
    let meta = std::fs::metadata(path).ok()?;
    if platform::others_may_use(&meta) {
        tracing::warn!(path = %path.display(), "others can read the device tokens; they are not used");
        return None;
    }
    if FILE_BYTES_MAX < meta.len() {
        return None;
    }
    let text = Secret::new(std::fs::read_to_string(path).ok()?);
    serde_json::from_str(text.expose()).ok()
}

/// Replaces a file in one step, readable by the owner only.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut file = platform::for_owner(&mut options).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    // covers: S48
    #[cfg(unix)]
    #[test]
    fn tokens_are_kept_for_the_owner_only_and_an_exposed_file_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let mut tokens = Tokens::load(&path);
        tokens.set("wss://a/", "one");
        tokens.set("wss://b/", "two");
        tokens.forget("wss://a/");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let again = Tokens::load(&path);
        assert_eq!(
            (again.get("wss://a/"), again.get("wss://b/")),
            (None, Some("two"))
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Tokens::load(&path).get("wss://b/"), None);
    }
}
