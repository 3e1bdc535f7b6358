//! The pages of the process's memory.

/// Keeps the kernel from backing this process with huge pages, now and later. A fault on one clears two mebibytes, and waits
/// for the kernel, or a hypervisor, to find them in one piece: milliseconds, in which a core answers nobody. What is
/// won by them here is less than what can be measured.
pub fn stay_small() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn no_huge_page_backs_a_process_that_asked_for_small_ones() {
        super::stay_small();
        assert!(rustix::thread::transparent_huge_pages_are_disabled().unwrap());
    }
}
