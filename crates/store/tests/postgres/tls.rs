//! TLS to a real server: what each `sslmode` accepts and refuses, and that it is what the guide says.
//!
//! The server has a certificate for `localhost` and 127.0.0.1 of an authority made here, and takes nothing but TLS over
//! TCP. A second server has none at all.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use adjutant_store::copy::{Database, status};
use adjutant_store::{PostgresError, PostgresOptions};

use crate::cluster::{done, initdb, is_root, programs, runtime, unprivileged};

/// A server of one test, with its folder.
struct Server {
    dir: PathBuf,
    port: u16,
    _folder: tempfile::TempDir,
}

/// An authority, and its certificate.
fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), certificate)
}

/// A certificate for these names, and its key.
fn certificate(names: &[&str], issuer: &Issuer<'_, KeyPair>) -> (String, String) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    (certificate.pem(), key.serialize_pem())
}

impl Server {
    /// None: there is no PostgreSQL to start.
    fn start(keys: Option<&(String, String)>) -> Option<Self> {
        let bin = programs()?;
        let folder = tempfile::tempdir().unwrap();
        // The user of the server has to reach its files.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let dir = folder.path().join("server");
        std::fs::create_dir(&dir).unwrap();
        if is_root() {
            done(Command::new("chown").arg("postgres:").arg(&dir));
        }
        let data = dir.join("data");
        initdb(&bin, &data);
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = port.local_addr().unwrap().port();
        let mut settings = format!(
            "\nlisten_addresses = '127.0.0.1'\nport = {number}\nunix_socket_directories = ''\nfsync = off\n"
        );
        let mut access = "host all all 127.0.0.1/32 trust\n";
        if let Some((certificate, key)) = keys {
            put(&data.join("server.crt"), certificate);
            put(&data.join("server.key"), key);
            settings.push_str("ssl = on\n");
            access = "hostssl all all 127.0.0.1/32 trust\n";
        }
        put(&data.join("pg_hba.conf"), access);
        let mut file = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
        write!(file, "{settings}").unwrap();
        put(&data.join("postgresql.conf"), &file);
        drop(port);
        done(
            unprivileged(&bin.join("pg_ctl"))
                .args(["-w", "-s", "-D"])
                .arg(&data)
                .arg("-l")
                .arg(dir.join("log"))
                .arg("start"),
        );
        Some(Self {
            dir,
            port: number,
            _folder: folder,
        })
    }

    fn url(&self, host: &str, rest: &str) -> String {
        format!("postgresql://postgres@{host}:{}/postgres{rest}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(bin) = programs() else { return };
        let stopped = unprivileged(&bin.join("pg_ctl"))
            .args(["-w", "-s", "-m", "immediate", "-D"])
            .arg(self.dir.join("data"))
            .arg("stop")
            .stdin(Stdio::null())
            .output();
        drop(stopped);
    }
}

/// A file that the server accepts as its own.
fn put(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    if is_root() {
        done(Command::new("chown").arg("postgres:").arg(path));
    }
}

/// What becomes of a connection: the TLS it has, or what was said.
fn connects(url: &str) -> Result<Option<String>, String> {
    let database = Database::Postgres(PostgresOptions::new(url));
    runtime()
        .block_on(status(&database))
        .map(|found| found.server.unwrap().tls)
        .map_err(|error| error.to_string())
}

#[track_caller]
fn is_encrypted(url: &str) {
    let tls = connects(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    assert!(tls.is_some_and(|it| it.starts_with("TLSv1.")), "{url}");
}

#[track_caller]
fn is_plain(url: &str) {
    assert_eq!(connects(url), Ok(None), "{url}");
}

#[track_caller]
fn is_refused(url: &str, why: &str) {
    let said = connects(url).expect_err(url);
    assert!(said.contains(why), "{url}: {said}");
}

// covers: S45
#[test]
fn each_sslmode_means_to_a_real_server_what_it_says() {
    let (issuer, trusted) = authority("the authority");
    let (stranger, other) = authority("somebody else");
    let keys = certificate(&["localhost", "127.0.0.1"], &issuer);
    let Some(server) = Server::start(Some(&keys)) else {
        eprintln!("skipped: no PostgreSQL here (sudo apt-get install postgresql)");
        return;
    };
    let files = tempfile::tempdir().unwrap();
    let root = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("sslrootcert={}", path.display())
    };
    let (ours, theirs) = (root("ours.pem", &trusted), root("theirs.pem", &other));
    let here = |rest: &str| server.url("127.0.0.1", rest);

    // A server that takes only TLS refuses plain text, and says so.
    is_refused(&here("?sslmode=disable"), "no encryption");
    // Nobody is asked for a name; nobody listens in.
    is_encrypted(&here(""));
    is_encrypted(&here("?sslmode=prefer"));
    is_encrypted(&here("?sslmode=require"));
    // With a root, `require` checks against it, as in libpq.
    is_encrypted(&here(&format!("?sslmode=require&{ours}")));
    is_refused(&here(&format!("?sslmode=require&{theirs}")), "certificate");
    for mode in ["verify-ca", "verify-full"] {
        is_encrypted(&here(&format!("?sslmode={mode}&{ours}")));
        is_encrypted(&server.url("localhost", &format!("?sslmode={mode}&{ours}")));
        is_refused(&here(&format!("?sslmode={mode}&{theirs}")), "certificate");
        // Without a root, those of the system count, and none of them knows this one.
        is_refused(&here(&format!("?sslmode={mode}")), "certificate");
    }
    let missing = here("?sslmode=verify-full&sslrootcert=/nowhere/root.pem");
    assert!(
        connects(&missing)
            .unwrap_err()
            .contains("/nowhere/root.pem")
    );
    let empty = root("empty.pem", "");
    let said = connects(&here(&format!("?sslmode=verify-full&{empty}"))).unwrap_err();
    assert!(
        said.contains("TLS") || said.contains("certificate"),
        "{said}"
    );

    // The same authority, another name.
    let named = certificate(&["db.example.com"], &issuer);
    let elsewhere = Server::start(Some(&named)).unwrap();
    let there = |rest: &str| elsewhere.url("127.0.0.1", rest);
    is_refused(
        &there(&format!("?sslmode=verify-full&{ours}")),
        "certificate",
    );
    is_encrypted(&there(&format!("?sslmode=verify-ca&{ours}")));
    is_encrypted(&there(&format!("?sslmode=require&{ours}")));
    is_refused(
        &there(&format!("?sslmode=verify-ca&{theirs}")),
        "certificate",
    );
    drop(stranger);
}

#[test]
fn a_server_without_tls_is_used_only_by_who_does_not_ask_for_it() {
    let Some(server) = Server::start(None) else {
        eprintln!("skipped: no PostgreSQL here (sudo apt-get install postgresql)");
        return;
    };
    let here = |rest: &str| server.url("127.0.0.1", rest);
    is_plain(&here(""));
    is_plain(&here("?sslmode=disable"));
    is_plain(&here("?sslmode=prefer"));
    for mode in ["require", "verify-ca", "verify-full"] {
        is_refused(&here(&format!("?sslmode={mode}")), "TLS");
    }
    // A URL that says less than it should is a mistake of the settings, not a silent downgrade.
    let options = PostgresOptions::new(here("?sslmode=perhaps"));
    let said = runtime().block_on(status(&Database::Postgres(options)));
    let error = said.unwrap_err();
    assert!(
        matches!(
            error,
            adjutant_store::copy::CopyError::Database(PostgresError::Url { .. })
        ),
        "{error}"
    );
}
