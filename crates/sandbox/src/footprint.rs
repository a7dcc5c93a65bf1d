//! Memory that only the start needed: pages of our own program that were mapped while it read its configuration, migrated and
//! opened its doors, and that an idle gateway does not run again.

#![allow(unsafe_code)]

use std::ops::Range;

/// Unmaps the pages of our own code and constants; the kernel's cache keeps them, and whatever runs again is mapped again
/// at its next use. Returns how many bytes of address space that were.
///
/// # Errors
/// `/proc` cannot be read, or the kernel says no.
pub fn give_back_code() -> std::io::Result<usize> {
    let own = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let mut n_bytes = 0;
    for line in maps.lines() {
        let Some(range) = own.to_str().and_then(|own| pristine(line, own)) else {
            continue;
        };
        let len = range.len();
        // SAFETY: the range is a private mapping of our program file that was never writable (see `pristine`), so every page
        // of it is what the file says, and a page that is touched again is read from there again. `MADV_DONTNEED` changes
        // neither the mapping nor what it holds.
        let done = unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(range.start),
                len,
                libc::MADV_DONTNEED,
            )
        };
        if done != 0 {
            return Err(std::io::Error::last_os_error());
        }
        n_bytes += len;
    }
    Ok(n_bytes)
}

/// The addresses of a mapping of `own` that nobody can have written to: code, or the read-only beginning of the file.
/// Constants behind the code are left alone, because the loader has filled in addresses there.
fn pristine(line: &str, own: &str) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (addresses, access, offset) = (words.next()?, words.next()?, words.next()?);
    let path = line.find('/').and_then(|at| line.get(at..))?;
    let first = u64::from_str_radix(offset, 16).ok()? == 0;
    if path != own || !(access == "r-xp" || access == "r--p" && first) {
        return None;
    }
    let (from, to) = addresses.split_once('-')?;
    let from = usize::from_str_radix(from, 16).ok()?;
    let to = usize::from_str_radix(to, 16).ok()?;
    (from < to).then_some(from..to)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_what_was_never_writable_is_given_back() {
        let own = "/usr/bin/adjutant";
        let line = |access: &str, offset: &str, path: &str| {
            format!("55d0c0000000-55d0c0001000 {access} {offset} fd:00 1234    {path}")
        };
        let some = Some(0x55d0_c000_0000..0x55d0_c000_1000);
        assert_eq!(pristine(&line("r-xp", "00100000", own), own), some);
        assert_eq!(pristine(&line("r--p", "00000000", own), own), some);
        assert_eq!(pristine(&line("r--p", "00900000", own), own), None);
        assert_eq!(pristine(&line("rw-p", "00000000", own), own), None);
        assert_eq!(
            pristine(&line("r-xp", "00000000", "/usr/lib/libc.so.6"), own),
            None
        );
        assert_eq!(
            pristine("7ffd0000-7ffd1000 r-xp 00000000 00:00 0  [vdso]", own),
            None
        );
    }

    #[test]
    fn a_program_goes_on_after_giving_back_its_code() {
        assert!(give_back_code().unwrap() > 0);
        assert_eq!("still here".len(), 10);
    }
}
