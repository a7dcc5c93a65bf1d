//! A dotted key and how it is written.

use std::fmt;

/// Where a setting sits in the tree. List positions are segments of the form `[2]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct KeyPath(Vec<String>);

impl KeyPath {
    /// The whole tree.
    pub(crate) fn root() -> Self {
        Self::default()
    }

    /// Reads a dotted key; quoted segments are allowed, as in TOML.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let keys = toml_edit::Key::parse(text).ok()?;
        Some(Self(
            keys.into_iter().map(|key| key.get().to_owned()).collect(),
        ))
    }

    /// The segments, outermost first.
    pub(crate) fn segments(&self) -> &[String] {
        &self.0
    }

    /// The last segment.
    pub(crate) fn last(&self) -> Option<&str> {
        self.0.last().map(String::as_str)
    }

    /// Everything but the last segment.
    pub(crate) fn parent(&self) -> Self {
        Self(
            self.0
                .split_last()
                .map(|(_, head)| head.to_vec())
                .unwrap_or_default(),
        )
    }

    /// One level deeper.
    pub(crate) fn with(&self, segment: &str) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment.to_owned());
        Self(segments)
    }

    /// The element of a list.
    pub(crate) fn with_index(&self, index: usize) -> Self {
        self.with(&format!("[{index}]"))
    }
}

impl From<Vec<String>> for KeyPath {
    fn from(segments: Vec<String>) -> Self {
        Self(segments)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            let is_index = segment.starts_with('[') && segment.ends_with(']');
            if place != 0 && !is_index {
                f.write_str(".")?;
            }
            if is_index {
                f.write_str(segment)?;
            } else {
                f.write_str(&toml_edit::Key::new(segment.clone()).display_repr())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_it_is_written() {
        for text in ["gateway.port", "providers.\"my.own\".base_url", "a"] {
            assert_eq!(
                KeyPath::parse(text).map(|key| key.to_string()).as_deref(),
                Some(text)
            );
        }
        assert_eq!(KeyPath::parse("a..b"), None);
        assert_eq!(
            KeyPath::root()
                .with("tools")
                .with_index(2)
                .with("x")
                .to_string(),
            "tools[2].x"
        );
    }
}
