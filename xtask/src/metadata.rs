//! The dependency graph as cargo sees it.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::tree;

/// Members that help development and are no part of the product.
const NOT_SHIPPED: &[&str] = &["xtask", "adjutant-sim", "adjutant-lab"];

/// What `cargo metadata` says, as far as we read it.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

/// One package.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Package {
    id: String,
    /// Name.
    pub(crate) name: String,
    /// Version.
    pub(crate) version: String,
    /// Licence expression.
    pub(crate) license: Option<String>,
    /// What its manifest asks for.
    dependencies: Vec<Wish>,
}

#[derive(Debug, Clone, Deserialize)]
struct Wish {
    name: String,
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

/// What an import is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Part of the product.
    Product,
    /// For tests and benchmarks only.
    Tests,
}

/// Asks cargo. Reads the lock file and changes nothing.
pub(crate) fn read() -> Result<Metadata> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_unset| "cargo".to_owned());
    let host = host(&cargo)?;
    let out = Command::new(&cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            &host,
        ])
        .current_dir(tree::root())
        .output()
        .context("running cargo metadata")?;
    ensure!(
        out.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).context("reading the answer of cargo metadata")
}

fn host(cargo: &str) -> Result<String> {
    let out = Command::new(cargo)
        .arg("-vV")
        .output()
        .context("asking cargo for its version")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("cargo -vV names no host")
}

impl Metadata {
    /// Our own packages with the names of what their manifests import.
    pub(crate) fn ours(&self) -> Vec<(&str, Vec<(&str, Use)>)> {
        let purpose = |wish: &Wish| match wish.kind.as_deref() {
            Some("dev") => Use::Tests,
            _ => Use::Product,
        };
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
            .map(|package| {
                let wishes = package.dependencies.iter();
                let imports = wishes
                    .map(|wish| (wish.name.as_str(), purpose(wish)))
                    .collect();
                (package.name.as_str(), imports)
            })
            .collect()
    }

    /// Every package that is built into the product or run while building it; test-only ones are left out.
    pub(crate) fn product(&self) -> Vec<&Package> {
        let nodes: BTreeMap<&str, &Node> = self
            .resolve
            .nodes
            .iter()
            .map(|node| (node.id.as_str(), node))
            .collect();
        let is_shipped = |package: &&Package| {
            self.workspace_members.contains(&package.id)
                && !NOT_SHIPPED.contains(&package.name.as_str())
        };
        let mut open: Vec<&str> = self
            .packages
            .iter()
            .filter(is_shipped)
            .map(|it| it.id.as_str())
            .collect();
        let mut seen = std::collections::BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let edges = nodes
                .get(id)
                .map(|node| node.deps.as_slice())
                .unwrap_or_default();
            let shipped = edges.iter().filter(|edge| {
                edge.dep_kinds
                    .iter()
                    .any(|kind| kind.kind.as_deref() != Some("dev"))
            });
            open.extend(shipped.map(|edge| edge.pkg.as_str()));
        }
        self.packages
            .iter()
            .filter(|it| seen.contains(it.id.as_str()))
            .collect()
    }

    /// Every package of the graph, tests included.
    pub(crate) fn all(&self) -> &[Package] {
        &self.packages
    }
}
