//! Recorded conversations of released clients, through the schema and through the models of every language.
//!
//! Every sample must be accepted by the schema, unless it is named below, and by the models of every language whose
//! compiler is here; a broken copy of each must be refused by all of them.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::tree;

/// Samples that the schema need not accept: kind, name, why.
const FOREIGN: &[(&str, &str, &str)] = &[
    (
        "connect",
        "params",
        "recorded to be refused: a second connect without parameters; or newer than what is served",
    ),
    ("params", "chat.history", "newer clients send `cursor`"),
    (
        "params",
        "chat.send",
        "recorded to be refused: without a key",
    ),
    (
        "params",
        "sessions.patch",
        "settings that this gateway does not have",
    ),
    (
        "result",
        "agent",
        "another gateway's answer: without what it cost",
    ),
    (
        "result",
        "agent.wait",
        "another gateway's answer: without where the run stands",
    ),
    (
        "result",
        "agents.list",
        "another gateway's answer: without descriptions",
    ),
    (
        "result",
        "chat.history",
        "another gateway's answer: without `hasMore`, and with its own identifiers",
    ),
    (
        "result",
        "models.list",
        "the recording was cut in the middle of the list",
    ),
    (
        "result",
        "sessions.create",
        "another gateway's answer: without `path`",
    ),
    (
        "result",
        "sessions.describe",
        "another gateway's answer: with its own identifiers",
    ),
    (
        "result",
        "sessions.list",
        "another gateway's answer: without `totalCount`, and with its own identifiers",
    ),
    (
        "result",
        "sessions.patch",
        "another gateway's answer: without the key in its entry",
    ),
    (
        "result",
        "sessions.reset",
        "another gateway's answer: without `path`",
    ),
    (
        "result",
        "status",
        "another gateway's answer: without when it started",
    ),
    (
        "event",
        "node.invoke.request",
        "another gateway's identifiers",
    ),
    (
        "event",
        "session.message",
        "another gateway's event: without when it happened",
    ),
    (
        "event",
        "sessions.changed",
        "another gateway's event: with its own identifiers, or without a session",
    ),
    (
        "params",
        "exec.approval.request",
        "null where the schema leaves members out; the program takes both",
    ),
    (
        "result",
        "chat.startup",
        "another gateway's answer: without its agents",
    ),
    (
        "result",
        "commands.list",
        "the recording was cut in the middle of the list",
    ),
    (
        "result",
        "cron.list",
        "an older gateway's answer: without its revision",
    ),
    (
        "result",
        "device.pair.approve",
        "another gateway's identifiers",
    ),
    (
        "result",
        "device.pair.list",
        "another gateway's answer: without fingerprints and reasons",
    ),
    (
        "result",
        "node.list",
        "the recording was cut in the middle of the list",
    ),
    (
        "result",
        "node.pair.approve",
        "another gateway's answer: without what is paired",
    ),
    (
        "result",
        "node.pair.list",
        "another gateway's answer: without what is new",
    ),
    (
        "result",
        "tools.catalog",
        "the recording was cut in the middle of the list",
    ),
];

#[derive(Debug, Clone)]
struct Sample {
    kind: &'static str,
    name: String,
    value: Value,
    file: String,
}

fn recordings() -> Vec<PathBuf> {
    let folder = tree::root().join("crates/gateway/tests/transcripts");
    let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|it| it.extension().is_some_and(|it| it == "jsonl"))
        .collect();
    files.sort();
    files
}

/// Every frame that was recorded, and what is inside those that the schema knows by name.
fn samples(schema: &Value) -> Vec<Sample> {
    let mut found = Vec::new();
    for path in recordings() {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut calls: BTreeMap<(String, String), String> = BTreeMap::new();
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let frame = &line["frame"];
            if !frame.is_object() {
                continue;
            }
            let mut take = |kind, name: &str, value: &Value| {
                let (name, value, file) = (name.to_owned(), value.clone(), file.clone());
                found.push(Sample {
                    kind,
                    name,
                    value,
                    file,
                });
            };
            take("frame", "frame", frame);
            let id = (line["conn"].to_string(), frame["id"].to_string());
            match frame["type"].as_str().unwrap() {
                "req" => {
                    let method = frame["method"].as_str().unwrap();
                    calls.insert(id, method.to_owned());
                    let params = frame.get("params").cloned().unwrap_or(json!({}));
                    if method == "connect" {
                        take("connect", "params", &params);
                    } else if schema["methods"].get(method).is_some() {
                        take("params", method, &params);
                    }
                }
                "res" if frame["ok"] == true => match calls.get(&id).map(String::as_str) {
                    Some("connect") => take("connect", "result", &frame["payload"]),
                    Some(method) if schema["methods"].get(method).is_some() => {
                        take("result", method, &frame["payload"]);
                    }
                    _ => {}
                },
                "event" => {
                    let name = frame["event"].as_str().unwrap();
                    if name == "connect.challenge" {
                        take("connect", "challenge", &frame["payload"]);
                    }
                    if schema["events"].get(name).is_some() {
                        take("event", name, &frame["payload"]);
                    }
                }
                _ => {}
            }
        }
    }
    found
}

struct Judge {
    schema: Value,
    validators: BTreeMap<(&'static str, String), Validator>,
}

impl Judge {
    fn new() -> Self {
        let text = fs::read_to_string(tree::root().join("schema/protocol.json")).unwrap();
        Self {
            schema: serde_json::from_str(&text).unwrap(),
            validators: BTreeMap::new(),
        }
    }

    fn part(&self, sample: &Sample) -> &Value {
        let name = sample.name.as_str();
        match sample.kind {
            "frame" => &self.schema["frames"],
            "params" => &self.schema["methods"][name]["params"],
            "result" => &self.schema["methods"][name]["result"],
            "event" => &self.schema["events"][name]["payload"],
            _ => &self.schema["connect"][name],
        }
    }

    /// What is wrong with a sample.
    fn wrong(&mut self, sample: &Sample) -> Option<String> {
        let key = (sample.kind, sample.name.clone());
        if !self.validators.contains_key(&key) {
            let mut part = self.part(sample).clone();
            part["$defs"] = self.schema["$defs"].clone();
            let validator = jsonschema::draft202012::new(&part).unwrap();
            self.validators.insert(key.clone(), validator);
        }
        let error = self.validators[&key].validate(&sample.value).err()?;
        Some(format!(
            "{} {} of {}: {error} at {}",
            sample.kind,
            sample.name,
            sample.file,
            error.instance_path()
        ))
    }

    /// A copy that the schema refuses: without its first required member, or with a word in `type` that means nothing.
    fn broken(&self, sample: &Sample) -> Option<Sample> {
        let part = self.part(sample);
        let name = part["$ref"].as_str()?.rsplit('/').next()?;
        let definition = &self.schema["$defs"][name];
        let mut broken = sample.clone();
        let members = broken.value.as_object_mut()?;
        if definition.get("oneOf").is_some() {
            members.insert("type".to_owned(), json!("nonsense"));
        } else {
            // Of a member that may be anything, not every language can tell that it is not there.
            let typed = |name: &&str| {
                let member = definition["properties"][*name].as_object();
                member.is_some_and(|it| {
                    ["type", "$ref", "oneOf", "const"]
                        .iter()
                        .any(|key| it.contains_key(*key))
                })
            };
            let mut required = definition["required"]
                .as_array()?
                .iter()
                .filter_map(Value::as_str);
            members.remove(required.find(typed)?)?;
        }
        Some(broken)
    }
}

/// Samples that are accepted, and a broken copy of one of each kind.
fn good_and_broken() -> (Vec<Sample>, Vec<Sample>) {
    let mut judge = Judge::new();
    let mut good = samples(&judge.schema);
    good.retain(|it| judge.wrong(it).is_none());
    let mut seen = BTreeSet::new();
    let mut broken = Vec::new();
    for sample in &good {
        if let Some(copy) = judge.broken(sample)
            && seen.insert((sample.kind, sample.name.clone()))
        {
            assert!(judge.wrong(&copy).is_some(), "{copy:?}");
            broken.push(copy);
        }
    }
    (good, broken)
}

#[test]
fn the_schema_accepts_every_recorded_sample_but_those_that_are_named() {
    let mut judge = Judge::new();
    let all = samples(&judge.schema);
    assert!(1_300 < all.iter().filter(|it| it.kind == "frame").count());
    let mut wrong = Vec::new();
    for sample in &all {
        let foreign = FOREIGN
            .iter()
            .any(|(kind, name, _)| *kind == sample.kind && *name == sample.name);
        if let Some(why) = judge.wrong(sample).filter(|_| !foreign) {
            wrong.push(why);
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Says on stderr, past the capture of the test runner, why nothing was tested.
fn skip(language: &str, why: &str) {
    writeln!(
        std::io::stderr().lock(),
        "SKIPPED models in {language}: {why}"
    )
    .unwrap();
}

/// Gives the samples to a program that answers a line for each, and compares.
fn decode(mut program: Command, folder: &Path) {
    let (good, broken) = good_and_broken();
    assert!(10 < broken.len());
    let file = folder.join("samples.jsonl");
    let mut text = String::new();
    for Sample {
        kind, name, value, ..
    } in good.iter().chain(&broken)
    {
        text.push_str(&json!({ "kind": kind, "name": name, "value": value }).to_string());
        text.push('\n');
    }
    fs::write(&file, text).unwrap();
    let out = program
        .stdin(fs::File::open(&file).unwrap())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(out.status.success(), "{:?}", out.status);
    let answers = String::from_utf8(out.stdout).unwrap();
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), good.len() + broken.len());
    for (sample, answer) in good.iter().zip(&answers) {
        assert_eq!(
            *answer, "ok",
            "{} {} of {}",
            sample.kind, sample.name, sample.file
        );
    }
    for (sample, answer) in broken.iter().zip(&answers[good.len()..]) {
        assert_ne!(
            *answer, "ok",
            "a broken {} {} passed",
            sample.kind, sample.name
        );
    }
}

fn runs(name: &str) -> bool {
    let asked = Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|it| it.success())
}

#[test]
fn typescript_compiles_and_decodes_every_sample() {
    let package = tree::root().join("web/packages/protocol");
    let compiler = package.join("node_modules/typescript/bin/tsc");
    if !runs("node") || !compiler.exists() {
        return skip(
            "TypeScript",
            "needs Node 20 and `npm ci` in web/packages/protocol (`cargo xtask test` does it)",
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let built = Command::new("node")
        .arg(compiler)
        .args(["--outDir", &folder.path().display().to_string()])
        .current_dir(&package)
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stdout)
    );
    fs::write(
        folder.path().join("package.json"),
        r#"{ "type": "module" }"#,
    )
    .unwrap();
    let mut program = Command::new("node");
    program.arg(folder.path().join("test/samples.js"));
    decode(program, folder.path());
}

/// The jars of the Kotlin package, wherever its virtual environment has them.
fn kotlin_jars(models: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(models.join(".venv/lib")).ok()?;
    let mut folders = versions.map(|it| {
        it.unwrap()
            .path()
            .join("site-packages/run_kotlin_kernel/jars")
    });
    folders.find(|it| it.exists())
}

#[test]
fn kotlin_compiles_and_decodes_every_sample() {
    let models = tree::root().join("apps/mobile/models/kotlin");
    let Some(jars) = kotlin_jars(&models).filter(|_| runs("java")) else {
        let why = "needs Java 17 and apps/mobile/models/kotlin/.venv (`cargo xtask test` makes it)";
        return skip("Kotlin", why);
    };
    let all = |keep: fn(&str) -> bool| {
        let jars = fs::read_dir(&jars).unwrap().map(|it| it.unwrap().path());
        let jars = jars.filter(|it| keep(&it.file_name().unwrap().to_string_lossy()));
        jars.map(|it| it.display().to_string())
            .collect::<Vec<_>>()
            .join(":")
    };
    let compiler = all(|_| true);
    let library =
        all(|it| it.starts_with("kotlin-stdlib") || it.starts_with("kotlinx-serialization"));
    let folder = tempfile::tempdir().unwrap();
    // The plugin's classes are among the compiler's; it only has to be told that they are one.
    let services = folder.path().join("plugin/META-INF/services");
    fs::create_dir_all(&services).unwrap();
    fs::write(
        services.join("org.jetbrains.kotlin.compiler.plugin.CompilerPluginRegistrar"),
        "org.jetbrains.kotlinx.serialization.compiler.extensions.SerializationComponentRegistrar\n",
    )
    .unwrap();
    let classes = folder.path().join("classes");
    let built = Command::new("java")
        .args([
            "-cp",
            &compiler,
            "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
            "-no-stdlib",
            "-no-reflect",
        ])
        .arg(format!(
            "-Xplugin={}",
            folder.path().join("plugin").display()
        ))
        .args(["-cp", &library, "-d", &classes.display().to_string()])
        .args([models.join("Protocol.kt"), models.join("Samples.kt")])
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let mut program = Command::new("java");
    program.args([
        "-cp",
        &format!("{library}:{}", classes.display()),
        "adjutant.protocol.SamplesKt",
    ]);
    decode(program, folder.path());
}

#[test]
fn swift_compiles_and_decodes_every_sample() {
    let models = tree::root().join("apps/mobile/models/swift");
    let folder = tempfile::tempdir().unwrap();
    // A compiler of another Debian runs inside its own tree: `toolchain.sh` writes the program that starts it there.
    let inside = models.join(".toolchain/run");
    let command = |program: &str| {
        let mut command = if inside.exists() {
            Command::new(&inside)
        } else {
            Command::new(program)
        };
        if inside.exists() {
            command.arg(program);
        }
        command.current_dir(folder.path());
        command
    };
    if !inside.exists() && !runs("swiftc") {
        return skip(
            "Swift",
            "needs `swiftc`, or apps/mobile/models/swift/toolchain.sh run once",
        );
    }
    for file in ["Protocol.swift", "Samples.swift"] {
        fs::copy(models.join(file), folder.path().join(file)).unwrap();
    }
    let built = command("swiftc")
        .args([
            "-swift-version",
            "6",
            "-parse-as-library",
            "-o",
            "samples",
            "Protocol.swift",
            "Samples.swift",
        ])
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    decode(command("./samples"), folder.path());
}
