#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use adjutant_ports::files::{
    FileError, FileKind, FileScope, Files, WalkLimits, WriteEffect, WriteMode,
};

use super::Roots;

struct House {
    dir: tempfile::TempDir,
    files: Roots,
}

impl House {
    /// `ws` is the workspace, `more` is allowed, `ws/state` is protected, `else` is somebody else's.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["ws/sub", "ws/state/db", "more", "else"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("ws/sub/a.txt"), "hello").unwrap();
        fs::write(dir.path().join("ws/state/db/token"), "secret").unwrap();
        fs::write(dir.path().join("more/b.txt"), "more").unwrap();
        fs::write(dir.path().join("else/c.txt"), "other").unwrap();
        let files = Roots::new(
            &dir.path().join("ws"),
            &[dir.path().join("more")],
            &[dir.path().join("ws/state")],
        )
        .unwrap();
        Self { dir, files }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn read(&self, path: &str) -> Result<String, FileError> {
        self.files
            .read(path, 1 << 20)
            .map(|it| String::from_utf8(it.bytes.to_vec()).unwrap())
    }

    fn write(&self, path: &str) -> Result<WriteEffect, FileError> {
        self.files
            .write(path, b"new", WriteMode::CreateOrReplace)
            .map(|it| it.effect)
    }
}

#[test]
fn relative_and_absolute_paths_beneath_the_roots_are_read() {
    let house = House::new();
    assert_eq!(house.read("sub/a.txt").unwrap(), "hello");
    assert_eq!(house.read("./sub/../sub//a.txt").unwrap(), "hello");
    assert_eq!(house.read(&house.text("ws/sub/a.txt")).unwrap(), "hello");
    assert_eq!(house.read(&house.text("more/b.txt")).unwrap(), "more");
    let cut = house.files.read("sub/a.txt", 2).unwrap();
    assert_eq!(
        (&cut.bytes[..], cut.total_bytes, cut.is_truncated()),
        (&b"he"[..], 5, true)
    );
}

// covers: S39, D24
#[test]
fn every_way_to_the_outside_is_refused() {
    let house = House::new();
    symlink(house.path("else"), house.path("ws/out")).unwrap();
    symlink("../else/c.txt", house.path("ws/out.txt")).unwrap();
    symlink("/proc/self/environ", house.path("ws/environ")).unwrap();
    for path in [
        "..",
        "../else/c.txt",
        "sub/../../else/c.txt",
        "/etc/passwd",
        "/",
        "out/c.txt",
        "out.txt",
        "environ",
        &house.text("else/c.txt"),
        &house.text("ws/../else/c.txt"),
        "/proc/self/environ",
        "/dev/null",
    ] {
        assert!(
            matches!(house.read(path), Err(FileError::Outside { .. })),
            "read {path}: {:?}",
            house.read(path)
        );
        assert!(house.write(path).is_err(), "write {path}");
        assert!(house.files.list(path, 10).is_err(), "list {path}");
        assert!(
            !matches!(path, "out/c.txt") || house.files.remove(path).is_err(),
            "remove {path}"
        );
    }
    assert_eq!(
        fs::read_to_string(house.path("else/c.txt")).unwrap(),
        "other"
    );
}

// covers: S39, S35
#[test]
fn protected_paths_are_refused_under_every_name() {
    let house = House::new();
    symlink("state/db", house.path("ws/innocent")).unwrap();
    for path in [
        "state/db/token",
        "state",
        "state/new",
        "./sub/../state/db/token",
        "innocent/token",
    ] {
        assert!(
            matches!(house.read(path), Err(FileError::Denied { .. })),
            "{path}"
        );
        assert!(house.write(path).is_err(), "{path}");
        assert!(house.files.stat(path).is_err(), "{path}");
        assert!(house.files.remove(path).is_err(), "{path}");
    }
    // Moving the protected directory does not unprotect it: it is known by what it is.
    fs::rename(house.path("ws/state"), house.path("ws/moved")).unwrap();
    assert!(matches!(
        house.read("moved/db/token"),
        Err(FileError::Denied { .. })
    ));
    let names: Vec<_> = house
        .files
        .walk(".", &WalkLimits::default())
        .unwrap()
        .entries;
    assert!(
        names.iter().all(|it| !it.path.contains("moved")),
        "{names:?}"
    );
}

#[test]
fn a_workspace_inside_a_protected_directory_works_and_a_further_directory_there_does_not() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("state/ws")).unwrap();
    fs::create_dir_all(dir.path().join("state/db")).unwrap();
    let denied = [dir.path().join("state")];
    let files = Roots::new(&dir.path().join("state/ws"), &[], &denied).unwrap();
    files.write("x", b"1", WriteMode::CreateNew).unwrap();
    assert!(files.read("../db", 1).is_err());
    assert!(Roots::new(&dir.path().join("state"), &[], &denied).is_err());
    assert!(
        Roots::new(
            &dir.path().join("state/ws"),
            &[dir.path().join("state/db")],
            &denied
        )
        .is_err()
    );
}

// covers: S39
#[cfg(target_os = "linux")]
#[test]
fn pipes_devices_sockets_and_directories_are_not_read() {
    let house = House::new();
    let fifo = house.path("ws/pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(house.path("ws/socket")).unwrap();
    for path in ["pipe", "socket"] {
        assert!(
            matches!(house.read(path), Err(FileError::Special { .. })),
            "{path}"
        );
        assert!(
            matches!(house.write(path), Err(FileError::Special { .. })),
            "{path}"
        );
        assert_eq!(house.files.stat(path).unwrap().kind, FileKind::Special);
    }
    assert!(matches!(
        house.read("sub"),
        Err(FileError::IsDirectory { .. })
    ));
    assert!(matches!(
        house.read("."),
        Err(FileError::IsDirectory { .. })
    ));
    assert!(matches!(
        house.write("sub"),
        Err(FileError::IsDirectory { .. })
    ));
    assert!(matches!(
        house.read("sub/a.txt/x"),
        Err(FileError::NotDirectory { .. })
    ));
    assert!(matches!(
        house.read("none"),
        Err(FileError::NotFound { .. })
    ));
    assert!(matches!(house.read("a\0b"), Err(FileError::BadPath { .. })));
}

// covers: S39
#[cfg(target_os = "linux")]
#[test]
fn the_files_of_the_kernel_are_refused_even_as_a_root() {
    assert!(matches!(
        Roots::new(Path::new("/proc"), &[], &[]),
        Err(FileError::Denied { .. })
    ));
    let everything = Roots::new(Path::new("/"), &[], &[]).unwrap();
    for path in [
        "proc/self/environ",
        "/proc/1/cmdline",
        "sys/kernel",
        "dev/../proc/version",
    ] {
        assert!(
            matches!(everything.read(path, 10), Err(FileError::Denied { .. })),
            "{path}"
        );
    }
    assert!(matches!(
        everything.read("dev/zero", 10),
        Err(FileError::Special { .. })
    ));
}

#[test]
fn links_beneath_the_roots_are_read_through_but_never_written_through() {
    let house = House::new();
    symlink("sub/a.txt", house.path("ws/link.txt")).unwrap();
    symlink(house.path("more"), house.path("ws/link")).unwrap();
    assert_eq!(house.read("link.txt").unwrap(), "hello");
    assert_eq!(house.read("link/b.txt").unwrap(), "more");
    assert!(matches!(
        house.write("link.txt"),
        Err(FileError::Link { .. })
    ));
    assert!(matches!(
        house.write("link/b.txt"),
        Err(FileError::Link { .. })
    ));
    assert_eq!(house.files.stat("link.txt").unwrap().kind, FileKind::Link);
    house.files.remove("link.txt").unwrap();
    assert_eq!(house.read("sub/a.txt").unwrap(), "hello");
    symlink("loop", house.path("ws/loop")).unwrap();
    assert!(matches!(house.read("loop"), Err(FileError::Link { .. })));
}

// covers: S39
#[test]
fn a_file_with_a_second_name_is_not_written() {
    let house = House::new();
    fs::hard_link(house.path("else/c.txt"), house.path("ws/second.txt")).unwrap();
    assert!(matches!(
        house.write("second.txt"),
        Err(FileError::HardLinked { .. })
    ));
    assert_eq!(
        fs::read_to_string(house.path("else/c.txt")).unwrap(),
        "other"
    );
}

// covers: R22
#[test]
fn writing_creates_directories_keeps_permissions_and_leaves_no_temporary_file() {
    let house = House::new();
    let written = house
        .files
        .write("deep/er/x.txt", b"one", WriteMode::CreateNew)
        .unwrap();
    assert_eq!(written.effect, WriteEffect::Created);
    assert_eq!(
        written.path,
        house.files.display_root().join("deep/er/x.txt")
    );
    assert!(matches!(
        house
            .files
            .write("deep/er/x.txt", b"", WriteMode::CreateNew),
        Err(FileError::Exists { .. })
    ));
    assert!(matches!(
        house.files.write("none/y", b"", WriteMode::Replace),
        Err(FileError::NotFound { .. })
    ));
    assert!(!house.path("ws/none").exists());
    let file = house.path("ws/deep/er/x.txt");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4751)).unwrap();
    assert_eq!(house.write("deep/er/x.txt").unwrap(), WriteEffect::Replaced);
    assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o751
    );
    assert_eq!(house.files.list("deep/er", 10).unwrap().entries.len(), 1);
}

#[test]
fn a_listing_is_sorted_cut_at_its_bound_and_leaves_protected_paths_out() {
    let house = House::new();
    let paths = |it: adjutant_ports::files::Listing| {
        it.entries.into_iter().map(|it| it.path).collect::<Vec<_>>()
    };
    for name in ["b", "a", "c"] {
        house.write(&format!("many/{name}")).unwrap();
    }
    assert_eq!(paths(house.files.list("", 10).unwrap()), ["many", "sub"]);
    assert_eq!(
        paths(house.files.list("many", 10).unwrap()),
        ["a", "b", "c"]
    );
    let cut = house.files.list("many", 2).unwrap();
    assert!(cut.truncated);
    assert_eq!(paths(cut), ["a", "b"]);
    house.write(".git/config").unwrap();
    let all = paths(house.files.walk(".", &WalkLimits::default()).unwrap());
    assert_eq!(
        all,
        [
            ".git",
            "many",
            "many/a",
            "many/b",
            "many/c",
            "sub",
            "sub/a.txt"
        ]
    );
    let shallow = WalkLimits {
        depth_max: 1,
        ..WalkLimits::default()
    };
    assert_eq!(
        paths(house.files.walk(".", &shallow).unwrap()),
        [".git", "many", "sub"]
    );
}

#[test]
fn only_files_links_and_empty_directories_are_removed() {
    let house = House::new();
    assert!(matches!(
        house.files.remove("sub"),
        Err(FileError::NotEmpty { .. })
    ));
    house.files.remove("sub/a.txt").unwrap();
    house.files.remove("sub").unwrap();
    assert!(matches!(
        house.files.remove("."),
        Err(FileError::Denied { .. })
    ));
    assert!(matches!(
        house.files.remove("sub"),
        Err(FileError::NotFound { .. })
    ));
}

#[test]
fn the_factory_opens_the_scope() {
    let house = House::new();
    let scope = FileScope {
        workspace: house.path("ws"),
        allowed_dirs: vec![],
        denied: vec![],
    };
    let files = super::open(&scope).unwrap();
    assert_eq!(files.stat("sub/a.txt").unwrap().bytes, 5);
    let missing = FileScope {
        workspace: house.path("nowhere"),
        ..scope
    };
    assert!(matches!(
        super::open(&missing),
        Err(FileError::NotFound { .. })
    ));
}

/// A second thread swaps a directory for a link to the outside as fast as it can.
// covers: S39, D24
#[test]
fn a_race_with_links_never_leads_outside() {
    let house = House::new();
    fs::write(house.path("else/a.txt"), "other").unwrap();
    fs::write(house.path("else/w.txt"), "other").unwrap();
    fs::write(house.path("ws/sub/w.txt"), "mine").unwrap();
    symlink(house.path("else"), house.path("ws/bait")).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let names = [
                house.path("ws/sub"),
                house.path("ws/bait"),
                house.path("ws/spare"),
            ];
            let [sub, bait, spare] = &names;
            while !over.load(Ordering::Relaxed) {
                fs::rename(sub, spare).unwrap();
                fs::rename(bait, sub).unwrap();
                fs::rename(sub, bait).unwrap();
                fs::rename(spare, sub).unwrap();
            }
        });
        let mut n_read = 0;
        let end = std::time::Instant::now() + std::time::Duration::from_millis(300);
        while std::time::Instant::now() < end {
            if let Ok(text) = house.read("sub/a.txt") {
                assert_ne!(text, "other");
                n_read += 1;
            }
            // Refused whenever the link stands there; the files outside are looked at below.
            house
                .files
                .write("sub/w.txt", b"w", WriteMode::Replace)
                .ok();
        }
        over.store(true, Ordering::Relaxed);
        assert!(0 < n_read);
    });
    assert_eq!(
        fs::read_to_string(house.path("else/w.txt")).unwrap(),
        "other"
    );
}
