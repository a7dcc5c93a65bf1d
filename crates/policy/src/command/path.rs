//! Where an operand points, judged from its letters alone.
//!
//! Nothing here touches a disk: links are the business of the sandbox, which resolves beneath a descriptor. A pattern
//! counts as pointing everywhere one of its expansions could.

use std::path::{Component, Path, PathBuf};

use super::word::{Glyph, Word, has_glob};

/// A path taken apart, patterns kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) parts: Vec<Part>,
    /// `..` or `.` patterns occurred, so a change of directory through a link would matter.
    pub(super) climbs: bool,
}

/// One component of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part(Vec<Glyph>);

impl Part {
    fn literal(text: &str) -> Self {
        Self(text.chars().map(|c| Glyph { c, active: false }).collect())
    }

    pub(super) fn text(&self) -> String {
        self.0.iter().map(|g| g.c).collect()
    }

    pub(super) fn has_glob(&self) -> bool {
        has_glob(&self.0)
    }

    /// Whether this component is `name` or could expand to it.
    pub(super) fn could_be(&self, name: &str) -> bool {
        if self.has_glob() {
            let name: Vec<char> = name.chars().collect();
            let hidden = name.first() == Some(&'.');
            let dotted = self.0.first().is_some_and(|g| g.c == '.');
            (!hidden || dotted) && matches(&self.0, &name)
        } else {
            self.text() == name
        }
    }
}

/// Wildcard match; a bracket stands for any one character, which can only make a pattern look more dangerous.
fn matches(pattern: &[Glyph], name: &[char]) -> bool {
    // reached[i]: the pattern so far can consume exactly the first i characters.
    let mut reached = vec![false; name.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    let mut at = 0;
    while let Some(glyph) = pattern.get(at) {
        let mut next = vec![false; name.len() + 1];
        let bracket = (glyph.active && glyph.c == '[')
            .then(|| pattern.iter().skip(at + 2).position(|g| g.c == ']'))
            .flatten();
        let any_one = (glyph.active && glyph.c == '?') || bracket.is_some();
        for (index, _) in reached.iter().enumerate().filter(|(_, yes)| **yes) {
            if glyph.active && glyph.c == '*' {
                next.iter_mut().skip(index).for_each(|slot| *slot = true);
            } else if (any_one || name.get(index) == Some(&glyph.c))
                && let Some(slot) = next.get_mut(index + 1)
            {
                *slot = true;
            }
        }
        reached = next;
        at += bracket.map_or(1, |length| length + 3);
    }
    reached.last().copied().unwrap_or(false)
}

impl Place {
    /// The absolute place `word` names when the working directory is `cwd`.
    pub(super) fn of(word: &Word, cwd: &Path) -> Self {
        let mut place = Self {
            parts: Vec::new(),
            climbs: false,
        };
        if word.glyphs.first().is_none_or(|g| g.c != '/') {
            place.parts = parts_of(cwd);
        }
        for part in word.glyphs.split(|g| g.c == '/') {
            let text: String = part.iter().map(|g| g.c).collect();
            match text.as_str() {
                "" | "." => {}
                ".." => {
                    place.parts.pop();
                    place.climbs = true;
                }
                _ => place.parts.push(Part(part.to_vec())),
            }
        }
        place
    }

    pub(super) fn of_path(path: &Path) -> Self {
        Self {
            parts: parts_of(path),
            climbs: false,
        }
    }

    /// Whether every expansion lies at or beneath `root`.
    pub(super) fn is_beneath(&self, root: &Path) -> bool {
        let root = parts_of(root);
        // A hidden pattern such as `.*` can expand to `..`.
        let stays = self
            .parts
            .iter()
            .skip(root.len())
            .all(|part| !part.could_be(".."));
        stays
            && root.len() <= self.parts.len()
            && root
                .iter()
                .zip(&self.parts)
                .all(|(fixed, part)| !part.has_glob() && part.text() == fixed.text())
    }

    /// Whether some expansion lies at or beneath `root`.
    pub(super) fn may_be_beneath(&self, root: &Path) -> bool {
        let root = parts_of(root);
        root.len() <= self.parts.len()
            && root
                .iter()
                .zip(&self.parts)
                .all(|(fixed, part)| part.could_be(&fixed.text()))
    }

    /// Whether some expansion is `path` itself or a directory above it.
    pub(super) fn may_contain(&self, path: &Path) -> bool {
        let path = parts_of(path);
        self.parts.len() <= path.len()
            && path
                .iter()
                .zip(&self.parts)
                .all(|(fixed, part)| part.could_be(&fixed.text()))
    }

    /// Whether some expansion has `names` as neighbouring components anywhere.
    pub(super) fn may_pass(&self, names: &[&str]) -> bool {
        self.parts.windows(names.len()).any(|window| {
            let fixed = window.iter().any(|part| !part.has_glob());
            (fixed || names.len() == 1)
                && window
                    .iter()
                    .zip(names)
                    .all(|(part, name)| part.could_be(name))
        })
    }

    /// Whether the last component is a pattern without any letter or digit, which matches whatever there is.
    pub(super) fn ends_wide(&self) -> bool {
        self.parts
            .last()
            .is_some_and(|part| part.has_glob() && !part.0.iter().any(|g| g.c.is_alphanumeric()))
    }

    /// The place with a last component that stands for all entries taken away, as in `/*`.
    pub(super) fn emptied(&self) -> Option<Self> {
        let last = self.parts.last()?;
        let all =
            matches!(last.text().as_str(), "*" | ".*" | "{*,.*}" | ".[!.]*") && last.has_glob();
        all.then(|| Self {
            parts: self
                .parts
                .iter()
                .take(self.parts.len() - 1)
                .cloned()
                .collect(),
            climbs: self.climbs,
        })
    }

    /// Whether some component looks like the name of a secret.
    pub(super) fn looks_secret(&self, beyond: &Path) -> bool {
        let skip = if self.is_beneath(beyond) {
            parts_of(beyond).len()
        } else {
            0
        };
        self.parts.iter().skip(skip).any(is_secret_name)
            || self.may_pass(&[".git", "config"])
            || self.may_pass(&[".git", "credentials"])
    }
}

fn parts_of(path: &Path) -> Vec<Part> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(Part::literal(&name.to_string_lossy())),
            Component::ParentDir => {
                parts.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    parts
}

/// `path` without `.` and `..`, by letters.
pub(super) fn normalised(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

/// Names under which secrets are usually kept. Lower case.
const SECRET_NAMES: &[&str] = &[
    ".aws",
    ".azure",
    ".bash_history",
    ".docker",
    ".dockercfg",
    ".env",
    ".envrc",
    ".git-credentials",
    ".gnupg",
    ".htpasswd",
    ".kube",
    ".my.cnf",
    ".netrc",
    ".npmrc",
    ".password-store",
    ".pgpass",
    ".pypirc",
    ".python_history",
    ".ssh",
    ".vault-token",
    ".zsh_history",
    "_netrc",
    "authorized_keys",
    "credentials",
    "credentials.json",
    "credentials.toml",
    "gshadow",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "id_rsa",
    "kubeconfig",
    "secret.json",
    "secrets.json",
    "secrets.toml",
    "secrets.yaml",
    "secrets.yml",
    "shadow",
    "terraform.tfstate",
];

/// Endings of files that usually hold a secret. Lower case.
const SECRET_ENDINGS: &[&str] = &[
    ".pem",
    ".key",
    ".p12",
    ".pfx",
    ".jks",
    ".keystore",
    ".kdbx",
    ".ppk",
    ".tfstate",
    ".age",
    ".gpg",
];

/// Templates without values, in spite of their names.
const NOT_SECRET: &[&str] = &[".env.example", ".env.sample", ".env.template", ".env.dist"];

fn is_secret_name(part: &Part) -> bool {
    let name = part.text().to_lowercase();
    if NOT_SECRET.contains(&name.as_str()) && !part.has_glob() {
        return false;
    }
    let named = SECRET_NAMES.contains(&name.as_str())
        || SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending))
        || name.starts_with(".env.")
        || (name.starts_with("service-account") && name.ends_with(".json"));
    // `*` alone matches everything and means nothing; `id_*` and `.en?` mean what they match.
    let pointed = part.has_glob() && part.0.iter().any(|g| g.c.is_alphanumeric());
    let dotted = part.has_glob() && part.0.first().is_some_and(|g| g.c == '.');
    named
        || ((pointed || dotted)
            && (SECRET_NAMES.iter().any(|secret| part.could_be(secret))
                || SECRET_ENDINGS
                    .iter()
                    .any(|ending| part.could_be(&format!("server{ending}")))))
}

/// Entries of a home directory that decide who may log in, what starts by itself, or how tools behave.
const HOME_PROTECTED: &[&str] = &[
    ".aws",
    ".bash_aliases",
    ".bash_login",
    ".bash_logout",
    ".bash_profile",
    ".bashrc",
    ".cargo/config",
    ".cargo/config.toml",
    ".config/autostart",
    ".config/environment.d",
    ".config/fish",
    ".config/git",
    ".config/systemd",
    ".cshrc",
    ".docker",
    ".emacs",
    ".emacs.d",
    ".git-credentials",
    ".gitconfig",
    ".gnupg",
    ".inputrc",
    ".kube",
    ".local/bin",
    ".local/share/systemd",
    ".login",
    ".netrc",
    ".npmrc",
    ".pam_environment",
    ".pip/pip.conf",
    ".config/pip",
    ".profile",
    ".pypirc",
    ".ssh",
    ".tcshrc",
    ".tmux.conf",
    ".vimrc",
    ".vim",
    ".xinitrc",
    ".xprofile",
    ".xsession",
    ".xsessionrc",
    ".zlogin",
    ".zlogout",
    ".zprofile",
    ".zshenv",
    ".zshrc",
    "Library/LaunchAgents",
];

/// System places of the same kind.
const SYSTEM_PROTECTED: &[&str] = &[
    "/Library/LaunchAgents",
    "/Library/LaunchDaemons",
    "/bin",
    "/boot",
    "/dev",
    "/efi",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/sbin",
    "/sys",
    "/usr/bin",
    "/usr/lib",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/var/spool/at",
    "/var/spool/cron",
    "/System",
    "/private/etc",
];

/// Components that are protected wherever they are.
const PASSING_PROTECTED: &[&[&str]] = &[
    &[".git", "hooks"],
    &[".git", "config"],
    &[".ssh"],
    &["authorized_keys"],
    &["sudoers"],
    &["crontab"],
];

/// Special files a command may read and write freely.
pub(super) const HARMLESS_DEVICES: &[&str] =
    &["/dev/null", "/dev/stdout", "/dev/stderr", "/dev/stdin"];

/// Whether writing to `place` would change authentication, start-up, the scheduler or policy.
pub(super) fn is_protected(place: &Place, workspace: &Path, home: &Path) -> bool {
    let inside = place.is_beneath(workspace);
    let passes = PASSING_PROTECTED.iter().any(|names| place.may_pass(names));
    if inside {
        return passes && !only_by_wide_pattern(place);
    }
    passes
        || HOME_PROTECTED
            .iter()
            .any(|name| place.may_be_beneath(&home.join(name)))
        || SYSTEM_PROTECTED
            .iter()
            .any(|path| place.may_be_beneath(Path::new(path)))
}

/// A lone `*` in the workspace could be anything; that alone does not make it a protected place.
fn only_by_wide_pattern(place: &Place) -> bool {
    let fixed = Place {
        parts: place
            .parts
            .iter()
            .filter(|part| !(part.has_glob() && part.text() == "*"))
            .cloned()
            .collect(),
        climbs: place.climbs,
    };
    !PASSING_PROTECTED.iter().any(|names| fixed.may_pass(names))
}

#[cfg(test)]
mod tests {
    use super::super::word::Known;
    use super::*;

    fn place(raw: &str) -> Place {
        let known = Known {
            home: "/home/ada",
            cwd: "/home/ada/work",
        };
        Place::of(&Word::decode(raw, known), Path::new("/home/ada/work"))
    }

    #[test]
    fn patterns_point_wherever_they_could() {
        let root = Path::new("/home/ada/work");
        assert!(place("src/*.rs").is_beneath(root));
        assert!(place("src/../a").is_beneath(root));
        assert!(!place("../x").is_beneath(root));
        assert!(!place(".*").is_beneath(root));
        assert!(!place(".?/x").is_beneath(root));
        assert!(!place("/home/ada/workshop").is_beneath(root));
        assert!(place("/etc/sh*w").may_be_beneath(Path::new("/etc/shadow")));
        assert!(place("/e[t]c/shadow").may_be_beneath(Path::new("/etc/shadow")));
        assert!(!place("'/e[t]c/shadow'").may_be_beneath(Path::new("/etc/shadow")));
        assert!(place("/*").may_contain(Path::new("/home/ada")));
    }

    #[test]
    fn names_of_secrets_are_recognised_through_patterns() {
        let root = Path::new("/home/ada/work");
        for raw in [
            ".env",
            "a/server.key",
            "id_rsa",
            "id_*",
            ".en?",
            "*.pem",
            ".aws/credentials",
            "ID_RSA",
            ".env.local",
        ] {
            assert!(place(raw).looks_secret(root), "{raw}");
        }
        for raw in [
            "*.md",
            "*",
            "README.md",
            "keys.rs",
            ".env.example",
            "src/*.rs",
            "environment",
        ] {
            assert!(!place(raw).looks_secret(root), "{raw}");
        }
    }
}
