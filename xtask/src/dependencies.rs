//! What the project may link: licences, banned crates, one of each big thing. `deny.toml` says the same to cargo-deny.

use crate::metadata::{Metadata, Package};

/// Licences under which we may ship.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not be linked (a `*` at the end means every name that begins so), and why.
const BANNED: &[(&str, &str)] = &[
    (
        "aws-lc-*",
        "a second cryptographic library, in C, and 40 seconds of every clean build",
    ),
    (
        "openssl",
        "a second TLS back end that depends on what the machine has installed",
    ),
    (
        "openssl-sys",
        "a second TLS back end that depends on what the machine has installed",
    ),
    (
        "openssl-src",
        "a second TLS back end that depends on what the machine has installed",
    ),
    (
        "native-tls",
        "a second TLS back end that depends on what the machine has installed",
    ),
    ("rsa", "its decryption leaks timing (RUSTSEC-2023-0071)"),
];

/// Crates of which there must be exactly one version.
const SINGLE: &[&str] = &[
    "hyper",
    "libsqlite3-sys",
    "reqwest",
    "ring",
    "rustls",
    "tokio",
];

/// The first binding that bundles SQLite 3.51.3, which ends a corruption of databases in WAL mode.
const SQLITE_BINDING_MIN: (u64, u64) = (0, 37);

/// Everything about the graph that we do not want.
pub(crate) fn check(metadata: &Metadata) -> Vec<String> {
    let product = metadata.product();
    let mut wrong = Vec::new();
    wrong.extend(metadata.all().iter().filter_map(licence));
    wrong.extend(product.iter().filter_map(|package| banned(package)));
    wrong.extend(SINGLE.iter().filter_map(|name| single(name, &product)));
    wrong.extend(sqlite(&product));
    wrong.extend(tls(&product));
    wrong.sort();
    wrong.dedup();
    wrong
}

fn licence(package: &Package) -> Option<String> {
    let said = package.license.as_deref().unwrap_or("none");
    let fits = allowed(said);
    (!fits).then(|| {
        format!(
            "licence: {} {} is under `{said}`",
            package.name, package.version
        )
    })
}

/// Whether an SPDX expression leaves a choice that we may take: one alternative of every `AND`ed part.
fn allowed(expression: &str) -> bool {
    // The old form `MIT/Apache-2.0` means the same as `OR`.
    let text = expression.replace('/', " OR ");
    Expression { rest: &text }.either()
}

/// A reader of the grammar that crates use: names, `AND`, `OR`, `WITH` and parentheses.
struct Expression<'a> {
    rest: &'a str,
}

impl Expression<'_> {
    fn either(&mut self) -> bool {
        let mut fits = self.all();
        while self.eat("OR") {
            let other = self.all();
            fits = fits || other;
        }
        fits
    }

    fn all(&mut self) -> bool {
        let mut fits = self.one();
        while self.eat("AND") {
            let other = self.one();
            fits = fits && other;
        }
        fits
    }

    fn one(&mut self) -> bool {
        if self.eat("(") {
            let fits = self.either();
            return self.eat(")") && fits;
        }
        let mut name = self.name();
        if self.eat("WITH") {
            name = format!("{name} WITH {}", self.name());
        }
        LICENCES.contains(&name.as_str())
    }

    fn name(&mut self) -> String {
        let text = self.rest.trim_start();
        let end = text
            .find(|c: char| c.is_whitespace() || "()".contains(c))
            .unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        self.rest = rest;
        name.to_owned()
    }

    fn eat(&mut self, word: &str) -> bool {
        match self.rest.trim_start().strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

fn banned(package: &Package) -> Option<String> {
    let (_, why) = BANNED
        .iter()
        .find(|(pattern, _)| match pattern.strip_suffix('*') {
            Some(start) => package.name.starts_with(start),
            None => package.name == *pattern,
        })?;
    Some(format!(
        "banned: {} {}: {why}",
        package.name, package.version
    ))
}

fn single(name: &str, product: &[&Package]) -> Option<String> {
    let versions: Vec<&str> = product
        .iter()
        .filter(|it| it.name == name)
        .map(|it| it.version.as_str())
        .collect();
    (1 < versions.len()).then(|| format!("twice: {name} in versions {}", versions.join(", ")))
}

fn sqlite(product: &[&Package]) -> Option<String> {
    let Some(binding) = product.iter().find(|it| it.name == "libsqlite3-sys") else {
        return Some("sqlite: libsqlite3-sys is not in the graph".to_owned());
    };
    let mut numbers = binding
        .version
        .split('.')
        .map(|part| part.parse::<u64>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (version < SQLITE_BINDING_MIN).then(|| {
        format!(
            "sqlite: libsqlite3-sys {} bundles a SQLite before 3.51.3",
            binding.version
        )
    })
}

fn tls(product: &[&Package]) -> Option<String> {
    const BACK_ENDS: &[&str] = &[
        "rustls",
        "openssl",
        "native-tls",
        "boring",
        "s2n-tls",
        "schannel",
    ];
    let found: Vec<&str> = product
        .iter()
        .map(|it| it.name.as_str())
        .filter(|name| BACK_ENDS.contains(name))
        .collect();
    (found != ["rustls"])
        .then(|| format!("tls: exactly one back end, rustls, is wanted: {found:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::metadata;

    #[test]
    fn the_graph_has_no_foreign_licence_no_banned_crate_and_one_of_each_big_thing() {
        assert_eq!(check(&metadata::read().unwrap()), Vec::<String>::new());
    }

    #[test]
    fn the_linked_sqlite_has_no_wal_corruption() {
        let metadata = metadata::read().unwrap();
        let count = metadata
            .product()
            .iter()
            .filter(|it| it.name == "libsqlite3-sys")
            .count();
        assert_eq!(count, 1);
    }

    #[test]
    fn licence_expressions_are_understood() {
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(allowed(good), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "AGPL-3.0-only",
            "none",
            "",
            "(MIT OR GPL-2.0) AND GPL-3.0",
        ] {
            assert!(!allowed(bad), "{bad}");
        }
    }
}
