//! How much one process tree may use: control groups where they can be had, resource limits always (S38).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Pid, Resource, Rlimit};

use adjutant_ports::sandbox::ProcessLimits;

/// Where a group for one process tree can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Groups {
    /// The unified hierarchy: one group holds all controllers.
    Unified(PathBuf),
    /// The old hierarchies, one directory each.
    Split {
        /// Below the `pids` controller.
        pids: PathBuf,
        /// Below the `memory` controller, if it is usable.
        memory: Option<PathBuf>,
    },
    /// None is writable for us.
    None,
}

impl Groups {
    /// Finds a place by making a group, setting its limits and removing it again.
    pub(crate) fn probe() -> Self {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let limits = ProcessLimits::default();
        let works = |groups: &Self| Leaf::make(groups, &limits).is_ok_and(|leaf| leaf.is_some());
        for base in unified_bases(&membership, &mounts) {
            let groups = Self::Unified(base);
            if works(&groups) {
                return groups;
            }
        }
        let Some(pids) = split_base("pids", &membership, &mounts) else {
            return Self::None;
        };
        let memory = split_base("memory", &membership, &mounts);
        let with_memory = Self::Split {
            pids: pids.clone(),
            memory,
        };
        let without = Self::Split { pids, memory: None };
        [with_memory, without]
            .into_iter()
            .find(works)
            .unwrap_or(Self::None)
    }

    /// Removes the groups that a process which was killed left behind.
    pub(crate) fn clear(&self) {
        let bases: Vec<&Path> = match self {
            Self::Unified(base) => vec![base],
            Self::Split { pids, memory } => std::iter::once(pids.as_path())
                .chain(memory.as_deref())
                .collect(),
            Self::None => Vec::new(),
        };
        for entry in bases.into_iter().flat_map(fs::read_dir).flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().and_then(maker).is_some_and(is_dead) {
                // One that is in use cannot be removed, so a mistake here costs nothing.
                fs::remove_dir(entry.path()).ok();
            }
        }
    }

    /// Whether the number of processes of a whole tree is bounded by a group.
    pub(crate) fn bound_pids(&self) -> bool {
        *self != Self::None
    }

    /// Whether the memory of a whole tree is bounded by a group.
    pub(crate) fn bound_memory(&self) -> bool {
        matches!(
            self,
            Self::Unified(_)
                | Self::Split {
                    memory: Some(_),
                    ..
                }
        )
    }
}

/// The process that made a group, from the group's name.
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix("adjutant-")?
        .split('-')
        .next()?
        .parse()
        .ok()
}

fn is_dead(pid: u32) -> bool {
    !Path::new("/proc").join(pid.to_string()).exists()
}

/// The unified hierarchy: our own group, and the one above it, where a delegated session keeps its siblings.
fn unified_bases(membership: &str, mounts: &str) -> Vec<PathBuf> {
    let own = membership.lines().find_map(|it| it.strip_prefix("0::"));
    let Some((own, mount)) = own.zip(mount_point(mounts, |kind, _| kind == "cgroup2")) else {
        return Vec::new();
    };
    let own = mount.join(own.trim_start_matches('/'));
    let above = own
        .parent()
        .filter(|it| it.starts_with(&mount))
        .map(Path::to_path_buf);
    std::iter::once(own)
        .chain(above)
        .filter(|it| it.join("cgroup.procs").exists())
        .collect()
}

fn split_base(controller: &str, membership: &str, mounts: &str) -> Option<PathBuf> {
    let own = membership.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers
            .split(',')
            .any(|it| it == controller)
            .then_some(path)
    })?;
    let has = |kind: &str, options: &str| {
        kind == "cgroup" && options.split(',').any(|it| it == controller)
    };
    let mount = mount_point(mounts, has)?;
    // Inside a container the path is told from the host's point of view and may not exist here.
    let own = mount.join(own.trim_start_matches('/'));
    Some(if own.is_dir() { own } else { mount })
}

/// First mount point whose type and super options satisfy `wanted`. Format: proc(5), mountinfo.
fn mount_point(mounts: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        wanted(kind, options).then(|| left.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// Groups that could not be removed because their last process was still dying.
static LEFTOVERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The groups of one process tree; removed when dropped.
#[derive(Debug)]
pub(crate) struct Leaf {
    dirs: Vec<PathBuf>,
}

impl Leaf {
    /// Makes the groups and sets the limits; `None` where there is no place for groups.
    pub(crate) fn make(groups: &Groups, limits: &ProcessLimits) -> io::Result<Option<Self>> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        sweep();
        let name = format!(
            "adjutant-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let mut leaf = Self { dirs: Vec::new() };
        let (pids, memory) = (limits.pids.to_string(), limits.memory_bytes.to_string());
        match groups {
            Groups::None => return Ok(None),
            Groups::Unified(base) => {
                let dir = leaf.add(base, &name)?;
                set(&dir, "pids.max", &pids)?;
                set(&dir, "memory.max", &memory)?;
                set_if_there(&dir, "memory.swap.max", "0")?;
                set_if_there(&dir, "memory.oom.group", "1")?;
            }
            Groups::Split {
                pids: base,
                memory: memory_base,
            } => {
                let dir = leaf.add(base, &name)?;
                set(&dir, "pids.max", &pids)?;
                if let Some(base) = memory_base {
                    let dir = leaf.add(base, &name)?;
                    set(&dir, "memory.limit_in_bytes", &memory)?;
                    set_if_there(&dir, "memory.memsw.limit_in_bytes", &memory)?;
                }
            }
        }
        Ok(Some(leaf))
    }

    /// Moves a process, and thereby everything it starts from now on, into the groups.
    pub(crate) fn admit(&self, pid: Pid) -> io::Result<()> {
        let pid = pid.as_raw_nonzero().to_string();
        self.dirs
            .iter()
            .try_for_each(|dir| set(dir, "cgroup.procs", &pid))
    }

    fn add(&mut self, base: &Path, name: &str) -> io::Result<PathBuf> {
        let dir = base.join(name);
        fs::create_dir(&dir)?;
        self.dirs.push(dir.clone());
        Ok(dir)
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        let busy: Vec<PathBuf> = self.dirs.drain(..).filter(|it| is_busy(it)).collect();
        if let Ok(mut leftovers) = LEFTOVERS.lock() {
            leftovers.extend(busy);
        }
    }
}

fn sweep() {
    if let Ok(mut leftovers) = LEFTOVERS.lock() {
        leftovers.retain(|it| is_busy(it));
    }
}

/// Tries to remove a group; true when it has to be tried again.
fn is_busy(dir: &Path) -> bool {
    fs::remove_dir(dir).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
}

fn set(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .open(dir.join(file))
        .and_then(|mut it| io::Write::write_all(&mut it, value.as_bytes()))
}

fn set_if_there(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    match set(dir, file, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Sets the resource limits of the first process inside; everything it starts inherits them.
///
/// Set from outside, after its user namespace exists: so the process count is that of the namespace alone, not of
/// everything our user runs.
pub(crate) fn limit_resources(pid: Pid, limits: &ProcessLimits) -> io::Result<()> {
    const OPEN_FILES: u64 = 1024;
    // All processors for the whole time: no honest process needs more, and one that nobody watches has an end.
    let processors = std::thread::available_parallelism().map_or(1, |it| it.get() as u64);
    let cpu_seconds = limits
        .wall
        .as_secs()
        .saturating_add(1)
        .saturating_mul(processors);
    let all = [
        (Resource::Core, 0),
        (Resource::Cpu, cpu_seconds),
        // Reserving address space is not using it, and runtimes reserve a lot; what they may write to is bounded.
        (Resource::Data, limits.memory_bytes),
        (Resource::Fsize, limits.file_bytes_max),
        (Resource::Memlock, 64 << 10),
        (Resource::Msgqueue, 0),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Nproc, u64::from(limits.pids)),
        (Resource::Rtprio, 0),
        (Resource::Nice, 0),
    ];
    for (resource, value) in all {
        lower(pid, resource, value)?;
    }
    Ok(())
}

fn lower(pid: Pid, resource: Resource, value: u64) -> io::Result<()> {
    // A ceiling that is lower already stays: raising it needs a privilege that we may not have.
    let hard = rustix::process::getrlimit(resource)
        .maximum
        .map_or(value, |it| it.min(value));
    let new = Rlimit {
        current: Some(hard),
        maximum: Some(hard),
    };
    rustix::process::prlimit(Some(pid), resource, new)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MOUNTS: &str = "\
30 29 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids
32 30 0:28 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn groups_of_a_dead_process_are_removed_and_those_of_a_living_one_stay() {
        let dir = tempfile::tempdir().unwrap();
        let living = format!("adjutant-{}-0", std::process::id());
        // Larger than any process number that Linux gives out.
        for name in ["adjutant-4194305-3", living.as_str(), "system.slice"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Groups::Unified(dir.path().into()).clear();
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [living.as_str(), "system.slice"]);
    }

    #[test]
    fn mount_points_are_found_by_type_and_controller() {
        let split =
            |name: &str| split_base(name, "9:pids:/nowhere\n8:cpu,cpuacct:/x\n0::/\n", MOUNTS);
        assert_eq!(split("pids"), Some(PathBuf::from("/sys/fs/cgroup/pids")));
        assert_eq!(split("cpuacct"), Some(PathBuf::from("/sys/fs/cgroup/cpu")));
        assert_eq!(split("memory"), None);
        assert_eq!(
            mount_point(MOUNTS, |kind, _| kind == "cgroup2"),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
    }
}
