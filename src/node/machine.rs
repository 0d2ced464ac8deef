//! What the machine has, and what this process takes of it.

use std::fs::read_to_string;
use std::io;
use std::path::Path;

/// Where the file systems of control groups are mounted: version 2, and the memory controller of version 1.
const CGROUP_2: &str = "/sys/fs/cgroup";
const CGROUP_1: &str = "/sys/fs/cgroup/memory";

/// Memory of this process that is resident, in bytes.
///
/// # Errors
/// Where the system does not tell.
pub(crate) fn resident_bytes() -> io::Result<u64> {
    let statm = read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| io::Error::other("/proc/self/statm has another form"))?;
    Ok(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// Memory that this process may take at most, in bytes: the machine's, or less where its control group has a limit.
/// `None` where the system does not tell.
pub(crate) fn memory_bytes() -> Option<u64> {
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|file| read_to_string(file).ok());
    // A group without a limit says "max", or a number above everything.
    let limits = limits.filter_map(|text| text.trim().parse().ok());
    limits.chain(machine).min()
}

/// Bytes that may still be written where a directory lies.
///
/// # Errors
/// Where the directory is not, or its file system does not tell.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let free = rustix::fs::statvfs(dir)?;
    Ok(free.f_bavail.saturating_mul(free.f_frsize))
}

/// File descriptors that are open, and how many may be; 0 where the system does not tell.
pub(crate) fn open_files() -> (u64, u64) {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64);
    let limits = read_to_string("/proc/self/limits").unwrap_or_default();
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let most = most.and_then(|line| line.split_whitespace().next()?.parse().ok());
    // The look itself opens one.
    (open.saturating_sub(1), most.unwrap_or(0))
}

/// Bytes of all files in a directory and those in it.
pub(crate) fn directory_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => directory_bytes(&entry.path()),
        // Files come and go.
        metadata => metadata.map_or(0, |metadata| metadata.len()),
    });
    bytes.sum()
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The files that may limit the groups listed, and the groups around them.
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => (CGROUP_2, "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => (CGROUP_1, "memory.limit_in_bytes"),
            _ => continue,
        };
        let around = Path::new(path).ancestors().filter_map(Path::to_str);
        files.extend(around.map(|path| format!("{root}{}/{file}", path.trim_end_matches('/'))));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_and_its_disk_are_measured() {
        let (resident, memory) = (resident_bytes().unwrap(), memory_bytes().unwrap());
        assert!((1 << 20..memory).contains(&resident), "{resident} of {memory}");
        assert!(free_bytes(Path::new("/")).is_ok() && free_bytes(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn limits_are_looked_for_in_the_group_and_all_around_it() {
        assert_eq!(
            limit_files("0::/system.slice/warren\n"),
            [
                "/sys/fs/cgroup/system.slice/warren/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            limit_files("9:cpu:/x\n4:hugetlb,memory:/x\nnonsense"),
            ["/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
    }

    #[test]
    fn the_machines_memory_is_read_in_kilobytes() {
        assert_eq!(total("MemFree:  1 kB\nMemTotal:       24 kB\n"), Some(24 * 1024));
        assert_eq!(total("MemTotal: many"), None);
    }
}
